package e2e

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/starlingmesh/starling/cmd/starling/flock"
	"github.com/starlingmesh/starling/cmd/starling/flock/flocktest"
	"github.com/starlingmesh/starling/e2e/netns"
	"github.com/starlingmesh/starling/rpc/client"
)

func TestMain(m *testing.M) {
	if err := netns.Prepare(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	flocktest.Main(m)
}

const (
	failure = 6 * time.Second  // until the others call a silent one down
	heal    = 11 * time.Second // 10 s and one interval of discovery
	budget  = 2 * time.Second
)

// wantReplies wants a multicall from each of some birds to be answered by exactly so many.
func wantReplies(t *testing.T, w *flocktest.World, from []*flock.Bird, replies int, within time.Duration) {
	t.Helper()
	w.Await(fmt.Sprintf("%s to %s are answered by %d", from[0].Name, from[len(from)-1].Name, replies), within, func() error {
		for _, b := range from {
			a, err := b.Client().Multicall(t.Context(), flock.EchoMethod, client.Text("hello"), client.Timeout(budget))
			if err != nil { // a hundred sidecars that have just met may starve this one
				return fmt.Errorf("%s: %w", b.Name, err)
			}
			if a.Summary.Replied != replies {
				return fmt.Errorf("%s: %d asked, %d replied: %+v", b.Name, a.Summary.Asked, a.Summary.Replied, a.Verdicts)
			}
		}
		return nil
	})
}

// Fault 8: the halves lose each other without a word, live on, and find each other again.
func TestAPartitionHeals(t *testing.T) {
	n := newNetwork(t, 8)
	w := flocktest.Started(t, n.options())
	left, right := w.Birds()[:4], w.Birds()[4:]
	wantReplies(t, w, w.Birds(), 8, time.Second)

	for round := 1; round <= 2; round++ {
		n.Cut("left", "right")
		began := time.Now()
		a := w.Multicall(left[0], client.Timeout(budget))
		w.WantVerdicts(a, right, client.Unreachable, client.TimedOut, client.Down, client.Lost)
		w.Took("one verdict for each of both halves", began, budget)
		w.Await("the left know the left", 2*failure, func() error { return w.Complete(4, right...) })
		w.Await("the right know the right", 2*failure, func() error { return w.Complete(4, left...) })
		if err := w.OneComponent(5, right...); err != nil {
			t.Error(err)
		}
		wantReplies(t, w, left, 4, time.Second)
		wantReplies(t, w, right, 4, time.Second)

		n.Mend()
		began = time.Now()
		w.Await("all know all again", heal, func() error { return w.Complete(8) })
		w.Await("and are one component", heal, func() error { return w.OneComponent(5) })
		w.Took(fmt.Sprintf("healed, round %d", round), began, heal)
		wantReplies(t, w, w.Birds(), 8, time.Second)
	}
}

// Fault 5: one cable is pulled behind the switch. Both ends drop their half-open links, and nothing of them stays.
func TestHalfOpenLinksAreDroppedByBothEnds(t *testing.T) {
	n := newNetwork(t, 6)
	w := flocktest.Started(t, n.options())
	alone := w.Bird(6)
	others := w.Except(alone)
	news := w.Listen(others...)
	wantReplies(t, w, w.Birds(), 6, time.Second)
	before := map[string]int{}
	for _, b := range w.Birds() {
		before[b.Name] = descriptors(t, b)
	}

	n.host(alone.Name).Pull()
	began := time.Now()
	a := w.Multicall(others[0], client.Timeout(budget))
	w.Took("verdicts while one is silent", began, budget)
	w.WantVerdicts(a, []*flock.Bird{alone}, client.Unreachable, client.TimedOut)
	w.AwaitEvent(news, "down", alone.Name, failure-time.Since(began))
	w.Await("it holds no link any more", failure, func() error {
		list, _, err := alone.Client().Members(t.Context())
		for _, m := range list {
			if m.Linked {
				return fmt.Errorf("still linked to %s", m.Name)
			}
		}
		return err
	})
	b := w.Multicall(alone, client.Timeout(budget))
	for _, v := range b.Verdicts {
		if v.Name != alone.Name && v.Verdict != client.Unreachable && v.Verdict != client.Down {
			t.Errorf("the lone one about %s: %+v", v.Name, v)
		}
	}
	w.WantEvents(news, "down", "", 1) // nobody but the silent one was called down

	n.host(alone.Name).Plug()
	w.Await("it is back", heal, func() error { return w.Complete(6) })
	wantReplies(t, w, w.Birds(), 6, time.Second)
	w.WantEvents(news, "down", "", 1)
	w.Await("descriptors are as before", failure, func() error {
		for _, b := range w.Birds() {
			if now := descriptors(t, b); now > before[b.Name]+4 { // a probe may be under way
				return fmt.Errorf("%s has %d, before it had %d", b.Name, now, before[b.Name])
			}
		}
		return nil
	})
}

// descriptors is how many a sidecar has open.
func descriptors(t *testing.T, b *flock.Bird) int {
	t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", b.PID()))
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}
