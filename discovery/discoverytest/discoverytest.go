// Package discoverytest is the suite that every strategy passes: what the
// contract in package discovery demands, tried on a source that the test can
// change, break and mend. It never looks inside a strategy.
package discoverytest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/starlingmesh/starling/discovery"
)

// Harness is a strategy with a source that the suite rules. The strategy should
// look again within 100 ms; Refresh is used if it is there.
type Harness struct {
	Strategy discovery.Strategy
	Refresh  func()

	// Set makes the source hold exactly these peers ("ip:port"). Required, unless
	// the source cannot change; then Fixed is what it holds.
	Set   func(addrs ...string)
	Fixed []string
	// Break makes the source fail, in turn in each of the ways that matter for
	// the strategy; the suite calls it with 0, 1, … below BreakWays. Mend ends it.
	Break     func(way int)
	BreakWays int
	Mend      func()
	// Close ends what the harness itself has started since it was built, before
	// the suite looks for what the strategy left running. Nil if that is nothing.
	Close func()
}

// patience is how long the suite waits for what must come.
const patience = 15 * time.Second

var (
	three = []string{"10.1.2.1:7000", "10.1.2.2:7000", "10.1.2.3:7000"}
	four  = append(slices.Clone(three), "10.1.2.4:7000")
)

// Run runs the suite. build is called for each test, and cleans up by t.Cleanup.
func Run(t *testing.T, build func(t *testing.T) Harness) {
	t.Helper()
	tests := []struct {
		name string
		test func(*testing.T, *world)
	}{
		{"ItReportsWhatTheSourceHolds", reports},
		{"KeysAndAddressesAreSound", isSound},
		{"KeysStayTheSameOverRoundsAndRestarts", keysAreStable},
		{"WhatWasHandedOverIsNotShared", sharesNothing},
		{"ABrokenSourceIsAFailureAndNotAnEmptySet", failsWell},
		{"ASourceBrokenFromTheStartIsAFailureAndNotAnEmptySet", failsWellFromTheStart},
		{"ItReturnsWhenItsContextEndsAndLeavesNothing", leavesNothing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := build(t)
			w := &world{t: t, Harness: h, news: make(chan struct{}, 1)}
			if h.Set == nil && len(h.Fixed) == 0 {
				t.Fatal("a harness needs Set or Fixed")
			}
			// What the harness itself runs is not the strategy's.
			ignore := goleak.IgnoreCurrent()
			tt.test(t, w)
			w.stop()
			if h.Close != nil {
				h.Close()
			}
			if err := goleak.Find(ignore); err != nil {
				t.Errorf("the strategy left something running: %v", err)
			}
		})
	}
}

func reports(t *testing.T, w *world) {
	want := w.set(three)
	w.start()
	w.waitFor("all that the source holds", func() bool { return w.holds(want) })
	if w.Set == nil {
		return
	}
	w.set(four)
	w.waitFor("a peer that was added", func() bool { return w.holds(four) })
}

func isSound(t *testing.T, w *world) {
	want := w.set(three)
	w.start()
	w.waitFor("all that the source holds", func() bool { return w.holds(want) })
	w.mu.Lock()
	defer w.mu.Unlock()
	keys := map[string]bool{}
	for _, c := range w.last {
		if c.Key == "" || keys[c.Key] {
			t.Errorf("key %q is empty or not unique", c.Key)
		}
		keys[c.Key] = true
		if len(c.Addrs) == 0 {
			t.Errorf("candidate %q has no address", c.Key)
		}
		for _, a := range c.Addrs {
			if canonical, err := discovery.ParseAddr(a); err != nil || canonical != a {
				t.Errorf("address %q: want the canonical %q (%v)", a, canonical, err)
			}
		}
	}
}

func keysAreStable(t *testing.T, w *world) {
	want := w.set(three)
	w.start()
	w.waitFor("all that the source holds", func() bool { return w.holds(want) })
	first := w.keys()
	w.stop()
	w.start()
	w.waitFor("a report after a restart", func() bool { return w.holds(want) })
	if again := w.keys(); !slices.Equal(first, again) {
		t.Errorf("keys were %q and are %q after a restart", first, again)
	}
}

// sharesNothing scribbles over each observation (the sink does), so a strategy
// that kept one hands the scribble on.
func sharesNothing(t *testing.T, w *world) {
	want := w.set(three)
	w.start()
	for range 3 {
		w.waitFor("a clean report after another was scribbled upon", func() bool { return w.holds(want) })
		w.mu.Lock()
		w.last = nil
		w.mu.Unlock()
		if w.Refresh == nil && w.Set == nil {
			break
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.scribbled {
		t.Error("a report held what the sink wrote into an earlier one")
	}
}

func failsWell(t *testing.T, w *world) {
	if w.Break == nil {
		t.Skip("the source cannot fail")
	}
	for way := range w.BreakWays {
		want := w.set(three)
		w.start()
		w.waitFor("all that the source holds", func() bool { return w.holds(want) })
		w.reset()
		w.Break(way)
		w.waitFor("a failure", func() bool { return w.failed != "" })
		w.mu.Lock()
		if w.withdrew {
			t.Errorf("way %d: a broken source withdrew peers (failure: %s)", way, w.failed)
		}
		w.mu.Unlock()
		w.Mend()
		w.reset()
		w.waitFor("a report after the source was mended", func() bool { return w.holds(want) })
		w.stop()
	}
}

func failsWellFromTheStart(t *testing.T, w *world) {
	if w.Break == nil {
		t.Skip("the source cannot fail")
	}
	for way := range w.BreakWays {
		w.set(three)
		w.Break(way)
		w.reset()
		w.start()
		w.waitFor("a failure", func() bool { return w.failed != "" })
		w.mu.Lock()
		if w.complete > 0 {
			t.Errorf("way %d: a source that could not be asked gave a complete picture", way)
		}
		w.mu.Unlock()
		w.Mend()
		w.stop()
	}
}

func leavesNothing(t *testing.T, w *world) {
	w.set(three)
	w.start()
	w.stop() // at once, perhaps within its first look
	w.start()
	w.waitFor("a report", func() bool { return len(w.last) > 0 })
	w.stop()
	if w.Break != nil {
		w.Break(0)
		w.start()
		w.waitFor("a failure", func() bool { return w.failed != "" })
		w.stop()
		w.Mend()
	}
}

// world is a harness, the strategy running in it, and what it said.
type world struct {
	Harness
	t *testing.T

	news    chan struct{} // capacity 1: look again
	cancel  context.CancelFunc
	stopped chan struct{} // closed when Run has returned

	mu        sync.Mutex            // guards the rest
	last      []discovery.Candidate // the latest picture
	complete  int                   // complete observations
	withdrew  bool                  // somebody of three is missing from a picture
	scribbled bool
	failed    string
	over      bool // Run has returned
}

const scribble = "scribbled"

func (w *world) set(addrs []string) []string {
	if w.Set == nil {
		return w.Fixed
	}
	w.Set(addrs...)
	return addrs
}

func (w *world) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last, w.failed, w.withdrew, w.complete = nil, "", false, 0
}

func (w *world) start() {
	w.mu.Lock()
	w.over = false
	w.last, w.failed = nil, ""
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel, w.stopped = cancel, make(chan struct{})
	go func() {
		err := w.Strategy.Run(ctx, w)
		w.mu.Lock()
		w.over = true
		if ctx.Err() == nil && err != nil {
			w.failed = err.Error() // "restart me" is a failure, too
		}
		w.mu.Unlock()
		w.tell()
		close(w.stopped)
	}()
}

func (w *world) stop() {
	if w.cancel == nil {
		return
	}
	w.cancel()
	w.cancel = nil
	select {
	case <-w.stopped:
	case <-time.After(patience):
		w.t.Fatalf("Run did not return within %v of the end of its context", patience)
	}
}

func (w *world) tell() {
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// waitFor waits until ok, which is called with mu held.
func (w *world) waitFor(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		w.mu.Lock()
		done := ok()
		w.mu.Unlock()
		if done {
			return
		}
		if w.Refresh != nil {
			w.Refresh()
		}
		select {
		case <-w.news:
		case <-again.C:
		case <-deadline.C:
			w.t.Fatalf("waited %v for %s; have %v, failure %q", patience, what, w.last, w.failed)
		}
	}
}

// holds needs mu.
func (w *world) holds(want []string) bool {
	var have []string
	for _, c := range w.last {
		have = append(have, c.Addrs...)
	}
	return !slices.ContainsFunc(want, func(a string) bool { return !slices.Contains(have, a) })
}

func (w *world) keys() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var keys []string
	for _, c := range w.last {
		keys = append(keys, c.Key)
	}
	slices.Sort(keys)
	return keys
}

// Observe takes an observation as the contract allows: it belongs to the sink,
// which does its worst with it.
func (w *world) Observe(o discovery.Observation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		w.t.Error("Observe was called after Run had returned")
	}
	var given []discovery.Candidate
	switch o := o.(type) {
	case discovery.Complete:
		given = o.Candidates
		w.last = nil
		w.complete++
	case discovery.Partial:
		given = o.Candidates
	case discovery.Delta:
		given = o.Upserts
		w.last = slices.DeleteFunc(w.last, func(c discovery.Candidate) bool { return slices.Contains(o.Withdrawn, c.Key) })
	default:
		w.t.Errorf("observation of type %T", o)
	}
	for i, c := range given {
		w.last = slices.DeleteFunc(w.last, func(old discovery.Candidate) bool { return old.Key == c.Key })
		if c.Key == scribble || slices.Contains(c.Addrs, scribble) || c.Labels[scribble] != "" {
			w.scribbled = true
		}
		mine := c
		mine.Addrs = slices.Clone(c.Addrs)
		w.last = append(w.last, mine)
		for j := range c.Addrs {
			c.Addrs[j] = scribble
		}
		if c.Labels != nil {
			c.Labels[scribble] = scribble
		}
		given[i].Key = scribble
	}
	if _, partial := o.(discovery.Partial); !partial && w.Set != nil && !w.holds(three) {
		w.withdrew = true
	}
	w.tell()
}

// Fail takes a failure.
func (w *world) Fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		w.t.Error("Fail was called after Run had returned")
	}
	if err == nil || strings.TrimSpace(err.Error()) == "" {
		w.t.Error("a failure must say what failed")
		return
	}
	w.failed = err.Error()
	_ = discovery.ClassOf(err)
	w.tell()
}
