package kube

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/strategies/kubernetes"
)

// A lookout is what one node sees: the strategy under a Manager as in a sidecar, with notes of all that either says. Nobody
// tells the Manager that peers live, unless the test does: what the strategy withdraws is lost once the grace is over.
type lookout struct {
	w        *world
	manager  *discovery.Manager
	strategy discovery.Strategy

	mu        sync.Mutex           // guards the rest
	contacts  map[string]bool      // first addresses of the contacts of now
	seenAt    map[string]time.Time // when an address became a contact
	vouched   map[string]string    // what the strategy vouches for: address by key
	living    map[string]bool      // addresses that must not go: see want and leaving
	lost      []string
	withdrawn []string
	failures  []error
	told      bytes.Buffer  // the log
	news      chan struct{} // closed when the contacts change
}

// Write takes the log.
func (l *lookout) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told.Write(text)
}

// config is what a sidecar of the Service would have, reaching the API server at url.
func (w *world) config(kubeconfig string) kubernetes.Config {
	c := kubernetes.Default()
	c.Kubeconfig, c.Services, c.Port = kubeconfig, []string{service}, "starling"
	return c
}

// look begins to look, until the test ends.
func (w *world) look(c kubernetes.Config) *lookout {
	w.t.Helper()
	return w.lookBy(func(log *slog.Logger) discovery.Source {
		s, err := kubernetes.New(c, nil, log)
		w.must("make the strategy", err)
		return discovery.Source{Name: "kubernetes", Strategy: s, Refresh: s.Refresh, Describe: s.Describe, SelfOptional: true}
	})
}

// lookBy looks by any source.
func (w *world) lookBy(by func(*slog.Logger) discovery.Source) *lookout {
	w.t.Helper()
	l := &lookout{
		w: w, contacts: map[string]bool{}, seenAt: map[string]time.Time{}, vouched: map[string]string{}, living: map[string]bool{},
		news: make(chan struct{}),
	}
	log := slog.New(slog.NewTextHandler(l, nil))
	source := by(log)
	l.strategy, source.Strategy = source.Strategy, watched{l}
	settings := discovery.Default()
	settings.Grace = grace
	settings.Self, settings.SelfAddrs, settings.Contacts = "self", []string{"10.99.0.1:7827"}, l.take
	var err error
	l.manager, err = discovery.New([]discovery.Source{source}, settings, log)
	w.must("make the manager", err)
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = l.manager.Run(ctx) }) // always nil
	w.t.Cleanup(func() {
		stop()
		wg.Wait()
		if w.t.Failed() {
			w.t.Logf("the log:\n%s", l.log())
		}
	})
	return l
}

// watched notes what the strategy says before the Manager hears it.
type watched struct{ l *lookout }

func (s watched) Run(ctx context.Context, sink discovery.Sink) error {
	err := s.l.strategy.Run(ctx, tap{s.l, sink})
	if err != nil && ctx.Err() == nil {
		s.l.fail(err)
	}
	return err
}

type tap struct {
	l *lookout
	discovery.Sink
}

func (t tap) Fail(err error) {
	t.l.fail(err)
	t.Sink.Fail(err)
}

func (t tap) Observe(o discovery.Observation) {
	t.l.note(o)
	t.Sink.Observe(o)
}

func (l *lookout) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, err)
}

func (l *lookout) note(o discovery.Observation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	add := func(list []discovery.Candidate) {
		for _, c := range list {
			l.vouched[c.Key] = c.Addrs[0]
		}
	}
	switch o := o.(type) {
	case discovery.Complete:
		clear(l.vouched)
		add(o.Candidates)
	case discovery.Partial:
		add(o.Candidates)
	case discovery.Delta:
		for _, key := range o.Withdrawn {
			delete(l.vouched, key)
		}
		add(o.Upserts)
	}
	now := map[string]bool{}
	for _, addr := range l.vouched {
		now[addr] = true
	}
	for addr := range l.living {
		if !now[addr] && !slices.Contains(l.withdrawn, addr) {
			l.withdrawn = append(l.withdrawn, addr)
		}
	}
}

// take takes the contacts that the Manager offers.
func (l *lookout) take(list []discovery.Contact) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.contacts
	l.contacts = map[string]bool{}
	for _, c := range list {
		addr := c.Addrs[0]
		l.contacts[addr] = true
		if !before[addr] {
			l.seenAt[addr] = time.Now()
		}
	}
	for addr := range l.living {
		if !l.contacts[addr] && !slices.Contains(l.lost, addr) {
			l.lost = append(l.lost, addr)
		}
	}
	close(l.news)
	l.news = make(chan struct{})
}

// want waits until the contacts are these pods, and then keeps an eye on each of them.
func (l *lookout) want(pods ...pod) {
	l.w.t.Helper()
	l.wantWithin(patience+grace, pods...)
}

func (l *lookout) wantWithin(most time.Duration, pods ...pod) {
	l.w.t.Helper()
	want := map[string]bool{}
	for _, p := range pods {
		want[p.addr()] = true
	}
	l.w.await(fmt.Sprintf("%d contacts", len(pods)), most, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if maps.Equal(l.contacts, want) {
			maps.Copy(l.living, want)
			return nil
		}
		return fmt.Errorf("there are %d contacts, want %d; %s", len(l.contacts), len(want), differences(l.contacts, want))
	})
}

func differences(have, want map[string]bool) string {
	var text []string
	for _, addr := range slices.Sorted(maps.Keys(have)) {
		if !want[addr] {
			text = append(text, "too many: "+addr)
		}
	}
	for _, addr := range slices.Sorted(maps.Keys(want)) {
		if !have[addr] {
			text = append(text, "missing: "+addr)
		}
	}
	return strings.Join(text[:min(len(text), 6)], ", ")
}

// leaving says that these pods are about to go, so it is no loss.
func (l *lookout) leaving(pods ...pod) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range pods {
		delete(l.living, p.addr())
	}
}

// live tells the Manager what an overlay would: these are members, and answer.
func (l *lookout) live(pods ...pod) {
	for _, p := range pods {
		l.manager.Up("node-"+p.name, []string{p.addr()})
	}
}

// wantNobodyLost is what each of the tests is for: the strategy has not even said that somebody is gone.
func (l *lookout) wantNobodyLost() {
	l.w.t.Helper()
	l.wantNobodyForgotten()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.withdrawn) > 0 {
		l.w.t.Errorf("withdrawn: %v", l.withdrawn)
	}
}

// wantNobodyForgotten wants all that were contacts to have been so all the time.
func (l *lookout) wantNobodyForgotten() {
	l.w.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.w.t.Logf("peers lost: %d (of %d; withdrawn by the strategy: %d, failures told: %d)", len(l.lost), len(l.living), len(l.withdrawn), len(l.failures))
	if len(l.lost) > 0 {
		l.w.t.Errorf("lost: %v", l.lost)
	}
}

// wantFailure waits for a failure of the class since so many; it returns how many there are then.
func (l *lookout) wantFailure(class discovery.Class, since int) int {
	l.w.t.Helper()
	n := 0
	l.w.await("a failure is told: "+class.String(), 2*patience, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		n = len(l.failures)
		for _, err := range l.failures[since:] {
			if discovery.ClassOf(err) == class {
				return nil
			}
		}
		return fmt.Errorf("failures: %v", l.failures[since:])
	})
	return n
}

func (l *lookout) failed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.failures)
}

func (l *lookout) log() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told.String()
}

// became is when an address became a contact.
func (l *lookout) became(addr string) (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok := l.seenAt[addr]
	return at, ok && l.contacts[addr]
}
