package dns

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starlingmesh/starling/discovery"
	strategy "github.com/starlingmesh/starling/strategies/dns"
)

// slack is how much longer than its bound a test waits: a busy machine is late, a broken promise never comes.
const slack = 10

// A world is the strategy under a Manager, and who was offered to an overlay. The overlay sees nobody unless told by alive:
// then nothing but the strategy and the Manager keep a peer.
type world struct {
	*discovery.Manager
	t testing.TB

	mu      sync.Mutex      // guards the rest
	known   map[string]bool // who was ever offered
	left    map[string]bool // who may go
	offered map[string]bool // who is offered now
	lost    []string        // who was offered, and then was not, and had not left
}

// podPort is where the nodes would listen.
const podPort = "7827"

// config is the strategy's for some servers. It looks each second, whatever a TTL says.
func config(servers ...*server) strategy.Config {
	cfg := strategy.Default()
	cfg.Names, cfg.Port, cfg.ResolvConf = []string{"pods." + origin}, 7827, ""
	for _, s := range servers {
		cfg.Nameservers = append(cfg.Nameservers, s.addr)
	}
	cfg.MinRefresh, cfg.MaxRefresh = 500*time.Millisecond, time.Second
	cfg.Timeout = 500 * time.Millisecond
	return cfg
}

// discover runs a Manager until the test ends, and then tells how many peers were lost.
func discover(t testing.TB, cfg strategy.Config, grace time.Duration) *world {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := strategy.New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, known: map[string]bool{}, left: map[string]bool{}}
	mcfg := discovery.Default()
	mcfg.Self, mcfg.Grace, mcfg.Contacts = "self", grace, w.contacts
	source := discovery.Source{Name: "dns", Strategy: s, SelfOptional: true, Refresh: s.Refresh}
	if w.Manager, err = discovery.New([]discovery.Source{source}, mcfg, log); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		t.Logf("peers lost: %d (of %d found)", len(w.lost), len(w.known))
		if len(w.lost) > 0 {
			t.Errorf("lost %s", strings.Join(w.lost, ", "))
		}
	})
	return w
}

func (w *world) contacts(list []discovery.Contact) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.offered = map[string]bool{}
	for _, c := range list {
		for _, a := range c.Addrs {
			w.offered[a] = true
		}
	}
	for a := range w.known {
		if !w.offered[a] && !w.left[a] && !slices.Contains(w.lost, a) {
			w.lost = append(w.lost, a)
		}
	}
	maps.Copy(w.known, w.offered)
}

// at are the addresses of hosts as contacts have them.
func at(hosts ...string) (addrs []string) {
	for _, h := range hosts {
		addrs = append(addrs, h+":"+podPort)
	}
	return addrs
}

// alive tells the Manager what an overlay would: these live.
func (w *world) alive(addrs []string) {
	for _, a := range addrs {
		w.Up("node-"+a, []string{a})
	}
}

// gone says that these have left for good: they need not be offered.
func (w *world) gone(addrs ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range addrs {
		w.left[a] = true
	}
}

// await waits until so returns nil and prints how long that took; ten times the bound is the end.
func (w *world) await(what string, bound time.Duration, so func() error) {
	w.t.Helper()
	began, end := time.Now(), time.After(slack*bound)
	ticks := time.NewTicker(5 * time.Millisecond)
	defer ticks.Stop()
	for {
		err := so()
		if err == nil {
			took := time.Since(began)
			w.t.Logf("%s: %v (bound %v)", what, took.Round(time.Millisecond), bound)
			return
		}
		select {
		case <-ticks.C:
		case <-end:
			w.t.Fatalf("%s: not within %d x %v: %v", what, slack, bound, err)
		}
	}
}

// awaitOffered waits until exactly these are offered.
func (w *world) awaitOffered(bound time.Duration, addrs []string) {
	w.t.Helper()
	w.await(fmt.Sprintf("exactly %d are offered", len(addrs)), bound, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, a := range addrs {
			if !w.offered[a] {
				return fmt.Errorf("%s is not offered", a)
			}
		}
		if len(w.offered) != len(addrs) {
			return fmt.Errorf("%d are offered", len(w.offered))
		}
		return nil
	})
}

// health is how the source fares.
func (w *world) health() discovery.Health { return w.Snapshot().Sources[0] }

// awaitFailing waits until the source has failed for so long, lastly with why.
func (w *world) awaitFailing(lasts time.Duration, why string) {
	w.t.Helper()
	w.await(fmt.Sprintf("the source fails for %v with %q", lasts, why), lasts+5*time.Second, func() error {
		h := w.health()
		if h.State != discovery.StateFailing || time.Since(h.FailingSince) < lasts || !strings.Contains(h.LastError, why) {
			return fmt.Errorf("state %s since %v: %s", h.State, h.FailingSince, h.LastError)
		}
		return nil
	})
}

// awaitState waits for the source to be in a state.
func (w *world) awaitState(s discovery.State, bound time.Duration) {
	w.t.Helper()
	w.await(fmt.Sprintf("the source is %s", s), bound, func() error {
		if h := w.health(); h.State != s {
			return fmt.Errorf("it is %s: %s%s", h.State, h.LastError, h.HeldWhy)
		}
		return nil
	})
}

// awaitLooks waits for so many more answers.
func (w *world) awaitLooks(n uint64, bound time.Duration) {
	w.t.Helper()
	before := w.health().Observations
	w.await(fmt.Sprintf("%d more answers", n), bound, func() error {
		if got := w.health().Observations - before; got < n {
			return fmt.Errorf("%d", got)
		}
		return nil
	})
}

// playOn lets the source be asked for so long, which must be answered in the end.
func (w *world) playOn(long time.Duration) {
	w.t.Helper()
	before, began := w.health().Observations, time.Now()
	w.await(fmt.Sprintf("more answers for %v", long), long+look, func() error {
		if n := w.health().Observations - before; time.Since(began) < long || n == 0 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	w.t.Logf("%d more answers", w.health().Observations-before)
}
