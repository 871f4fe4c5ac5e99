package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// script is a strategy that does what the test says.
type script struct {
	do   chan func(Sink) error // an error makes Run return it
	runs atomic.Int32
	asks atomic.Int32
}

var errStop = errors.New("return nil")

func newScript() *script { return &script{do: make(chan func(Sink) error)} }

func (s *script) Run(ctx context.Context, sink Sink) error {
	s.runs.Add(1)
	for {
		select {
		case <-ctx.Done():
			return nil
		case f := <-s.do:
			if err := f(sink); errors.Is(err, errStop) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
}

func (s *script) observe(o Observation) {
	s.do <- func(sink Sink) error { sink.Observe(o); return nil }
	synctest.Wait()
}

func (s *script) fail(err error) {
	s.do <- func(sink Sink) error { sink.Fail(err); return nil }
	synctest.Wait()
}

func (s *script) crash(err error) {
	s.do <- func(Sink) error { return err }
	synctest.Wait()
}

func (s *script) source(name string) Source {
	return Source{Name: name, Strategy: s, Refresh: func() { s.asks.Add(1) }}
}

// running is a Manager in a bubble, and what it said.
type running struct {
	*Manager
	mu       sync.Mutex // guards the rest
	contacts [][]Contact
	log      bytes.Buffer
	stop     func()
}

func (r *running) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

func (r *running) logged(what string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Count(r.log.String(), what)
}

func (r *running) times() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.contacts)
}

func (r *running) last() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.contacts) == 0 {
		return "none"
	}
	var keys []string
	for _, c := range r.contacts[len(r.contacts)-1] {
		keys = append(keys, c.Key)
	}
	slices.Sort(keys)
	return strings.Join(keys, " ")
}

func run(t *testing.T, edit func(*Config), sources ...Source) *running {
	t.Helper()
	r := &running{}
	cfg := Default()
	cfg.Self, cfg.SelfAddrs = "self", []string{addr("self")}
	cfg.Contacts = func(cs []Contact) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.contacts = append(r.contacts, cs)
	}
	if edit != nil {
		edit(&cfg)
	}
	m, err := New(sources, cfg, slog.New(slog.NewTextHandler(r, nil)))
	if err != nil {
		t.Fatal(err)
	}
	r.Manager = m
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
	t.Cleanup(r.stop)
	synctest.Wait()
	return r
}

// bubble runs a test in fake time, which fails if anything is left running.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func wait(d time.Duration) {
	time.Sleep(d) // fake time
	synctest.Wait()
}

func TestContactsAreToldOnceThingsSettle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScript()
		r := run(t, nil, s.source("one"))
		s.observe(Partial{Candidates: peers("a")})
		s.observe(Partial{Candidates: peers("b")})
		wait(350 * time.Millisecond) // the start's jitter and the debounce
		if r.last() != "a b" || r.times() != 1 {
			t.Errorf("told %d times, last %q, want once a b", r.times(), r.last())
		}
		s.observe(Partial{Candidates: peers("a b")})
		wait(time.Second)
		if r.times() != 1 {
			t.Error("told again though nothing changed")
		}
		s.observe(Partial{Candidates: peers("c")})
		wait(99 * time.Millisecond)
		if r.last() != "a b" {
			t.Errorf("told %q before the debounce", r.last())
		}
		wait(time.Millisecond)
		if r.last() != "a b c" {
			t.Errorf("told %q after the debounce", r.last())
		}
	})
}

func TestTheOverlaysNewsWaitLonger(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScript()
		r := run(t, nil, s.source("one"))
		s.observe(Partial{Candidates: peers("a b")})
		wait(350 * time.Millisecond)
		r.Up("node-a", []string{addr("a")})
		wait(999 * time.Millisecond)
		if r.times() != 1 {
			t.Errorf("told %d times within a second of the news, want once before it", r.times())
		}
		wait(time.Millisecond)
		if r.times() != 2 {
			t.Errorf("told %d times a second after the news, want 2", r.times())
		}
	})
}

// observeThousand has a source name n0 to n999.
func (s *script) observeThousand() (names []string) {
	for i := range 1000 {
		names = append(names, fmt.Sprintf("n%d", i))
	}
	s.observe(Complete{Candidates: peers(strings.Join(names, " "))})
	return names
}

// Choosing among a thousand takes milliseconds: whoever did so for each dial, as the lonely dial on and on, could do little else.
func TestAThousandContactsThatDoNotAnswerAreNotChosenAnewForEachDial(t *testing.T) {
	for _, isolated := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			s := newScript()
			r := run(t, nil, s.source("one"))
			names := s.observeThousand()
			wait(time.Second)
			r.Isolated(isolated)
			synctest.Wait()
			before := r.times()
			for i := range 6000 { // a minute of a hundred dials a second
				r.Dialed(addr(names[i%len(names)]), "", errors.New("refused"))
				wait(10 * time.Millisecond)
			}
			if n := r.times() - before; n < 5 || n > 7 {
				t.Errorf("isolated %v: told %d times in a minute of dials, want 6", isolated, n)
			}
			s.observe(Complete{Candidates: peers("a")}) // but what a source says is told at once
			wait(100 * time.Millisecond)
			if !strings.Contains(" "+r.last()+" ", " a ") {
				t.Errorf("isolated %v: the new one is not a contact after the debounce", isolated)
			}
		})
	}
}

// A rollout of a thousand pods, ten a second, is followed each second; what comes alone is told after the debounce.
func TestARolloutOfAThousandIsFollowedEachSecondAndALoneChangeAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScript()
		r := run(t, nil, s.source("one"))
		s.observeThousand()
		wait(10 * time.Second)
		before := r.times()
		for i := range 600 {
			s.observe(Partial{Candidates: peers(fmt.Sprintf("next%d", i))})
			wait(100 * time.Millisecond)
		}
		if n := r.times() - before; n < 30 || n > 60 { // the more there are, the slower
			t.Errorf("told %d times in a minute of changes, want one every one to two seconds", n)
		}
		wait(10 * time.Second)
		s.observe(Partial{Candidates: peers("alone")})
		wait(100 * time.Millisecond)
		if !strings.Contains(" "+r.last()+" ", " alone ") {
			t.Error("the lone one is not a contact after the debounce")
		}
	})
}

func TestASlowConsumerGetsTheNewestAndHoldsUpNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, gate := newScript(), make(chan struct{})
		var got [][]Contact
		r := run(t, func(c *Config) {
			c.Contacts = func(cs []Contact) {
				<-gate
				got = append(got, cs)
			}
		}, s.source("one"))
		for _, names := range []string{"a", "a b", "a b c", "a b c d"} {
			s.observe(Partial{Candidates: peers(names)})
			wait(time.Second)
		}
		if n := len(r.Snapshot().Candidates); n != 4 {
			t.Errorf("%d candidates, want 4 though nobody listens", n)
		}
		close(gate)
		wait(time.Second)
		if len(got) != 2 || len(got[1]) != 4 {
			t.Errorf("the consumer got %d sets, want the one it had and the newest", len(got))
		}
		got[1][0].Addrs[0] = "scribble"
		if strings.Contains(r.published[0].Addrs[0], "scribble") {
			t.Error("the consumer's slice is not its own")
		}
	})
}

func TestAStrategyThatStopsIsRestartedWithBackoffAndKeepsItsWord(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScript()
		r := run(t, nil, s.source("one"))
		s.observe(Complete{Candidates: peers("a")})
		for range 8 {
			s.crash(Classed(Auth, "403"))
			wait(37 * time.Second)
		}
		if s.runs.Load() != 9 {
			t.Fatalf("ran %d times, want 9", s.runs.Load())
		}
		s.crash(errStop) // without an error, too
		wait(37 * time.Second)
		h := r.Snapshot().Sources[0]
		if h.Restarts != 9 || h.Failures["auth"] != 8 || h.Failures["unavailable"] != 1 || h.State != StateFailing || h.FailingSince.IsZero() {
			t.Errorf("health is %+v", h)
		}
		if r.last() != "a" {
			t.Errorf("contacts are %q, want a", r.last())
		}
		if r.logged("stopped, restarting") != 9 || r.logged("what it said before is kept") != 1 {
			t.Errorf("log is %s", r.log.String())
		}
		s.observe(Complete{Candidates: peers("a")})
		wait(time.Second)
		if r.logged("is well again") != 1 {
			t.Error("the recovery was not logged")
		}
	})
}

func TestTheIsolatedAskAllSourcesAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		one, two := newScript(), newScript()
		r := run(t, nil, one.source("one"), two.source("two"), Source{Name: "three", Strategy: newScript()})
		one.observe(Partial{Candidates: peers("a")})
		wait(time.Second)
		told := r.times()
		r.Isolated(true)
		synctest.Wait()
		if one.asks.Load() != 1 || two.asks.Load() != 1 || r.times() != told+1 {
			t.Errorf("asked %d and %d times, told %d, want once each at once", one.asks.Load(), two.asks.Load(), r.times()-told)
		}
		wait(time.Minute)
		if n := one.asks.Load(); n < 5 || n > 8 {
			t.Errorf("asked %d times in a minute, want about 6", n)
		}
		r.Isolated(false)
		n := one.asks.Load()
		wait(time.Minute)
		if one.asks.Load() != n {
			t.Error("asks on though it is no longer isolated")
		}
	})
}

func TestTheOverlaysWordReachesTheContacts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScript()
		r := run(t, nil, s.source("one"))
		s.observe(Complete{Candidates: peers("a b c")})
		r.Up("node-a", []string{addr("a")})
		r.Up("node-b", []string{addr("b")})
		r.Dialed(addr("c"), "", errors.New("refused"))
		s.observe(Complete{Candidates: peers("b c")})
		wait(time.Minute)
		if r.last() != "a b c" {
			t.Errorf("contacts are %q, want a b c: a lives", r.last())
		}
		r.Down("node-a")
		wait(time.Second)
		if r.last() != "b c" {
			t.Errorf("contacts are %q, want b c", r.last())
		}
		r.Left("node-b")
		wait(time.Second)
		if r.last() != "c" {
			t.Errorf("contacts are %q, want c", r.last())
		}
		wait(time.Minute)
		if r.last() != "b c" {
			t.Errorf("contacts are %q, want b c a minute later", r.last())
		}
	})
}

func TestASourceWithoutUsIsReportedOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScript()
		r := run(t, nil, s.source("one"))
		for range 30 {
			s.observe(Complete{Candidates: peers("a")})
			wait(10 * time.Second)
		}
		if n := r.logged("does not list this node"); n != 1 || !r.Snapshot().Sources[0].SelfMissing {
			t.Errorf("logged %d times, want once", n)
		}
	})
}

func TestADoubtIsSettledByAskingAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScript()
		src := s.source("one") // pushes, and repeats itself when asked only
		var r *running
		ask := make(chan struct{}, 1)
		src.Refresh = func() { ask <- struct{}{} }
		r = run(t, nil, src)
		s.observe(Complete{Candidates: peers("a b")})
		wait(time.Second)
		s.observe(Complete{})
		began := time.Now()
		for r.last() != "" {
			<-ask
			s.observe(Complete{})
			wait(time.Second)
			if time.Since(began) > time.Minute {
				t.Fatalf("contacts are still %q", r.last())
			}
		}
		if d := time.Since(began); d < 30*time.Second {
			t.Errorf("believed after %v, before the grace", d)
		}
		if r.logged("suspicious answer") != 1 {
			t.Error("the doubt was not logged")
		}
	})
}

func TestWhatMakesNoSenseIsRefusedByName(t *testing.T) {
	strategy := newScript()
	for want, f := range map[string]func(*Config, *Source){
		"grace: 0s":                func(c *Config, _ *Source) { c.Grace = 0 },
		"debounce: -1ns":           func(c *Config, _ *Source) { c.Debounce = -1 },
		"start_jitter: 1h":         func(c *Config, _ *Source) { c.StartJitter = hour },
		"candidates_max: 0":        func(c *Config, _ *Source) { c.CandidatesMax = 0 },
		"contacts_max: 99999":      func(c *Config, _ *Source) { c.ContactsMax = 99999 },
		`own address "x"`:          func(c *Config, _ *Source) { c.SelfAddrs = []string{"x"} },
		`name "" is empty`:         func(_ *Config, s *Source) { s.Name = "" },
		`name "cache" is empty or`: func(_ *Config, s *Source) { s.Name = "cache" },
		`"a": no strategy`:         func(_ *Config, s *Source) { s.Strategy = nil },
		`removal: "soon"`:          func(_ *Config, s *Source) { s.Removal = "soon" },
	} {
		cfg, s := Default(), Source{Name: "a", Strategy: strategy}
		if _, err := New([]Source{s}, cfg, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		f(&cfg, &s)
		if _, err := New([]Source{s}, cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}
