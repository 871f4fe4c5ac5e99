package sim

import (
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// These are bounds in virtual time, asserted exactly.

// calm makes a world of n nodes that start at once from a few contacts.
func calm(t *testing.T, seed uint64, n, contacts int) *World {
	t.Helper()
	cfg := Calm(seed)
	if *SeedFlag != 0 {
		cfg.Log = func(line string) { t.Log(line) }
	}
	w := New(cfg)
	for range n {
		w.Start()
	}
	var addrs []string
	for i := range contacts {
		addrs = append(addrs, w.Nodes[i].Addr())
	}
	for _, node := range w.Nodes {
		node.Contacts(addrs...)
	}
	return w
}

// settled is calm, and waits until it is one cluster that has been quiet a while.
func settled(t *testing.T, seed uint64, n int) *World {
	t.Helper()
	w := calm(t, seed, n, 3)
	if took, ok := w.Until(10*time.Second, func() bool { return w.Settled() == "" }); !ok {
		t.Fatalf("seed %d: not settled after %v: %s %s", seed, took, w.Settled(), w.Failed())
	}
	w.Run(5 * time.Second)
	ok(t, w)
	return w
}

// ok fails the test if anything in the world failed.
func ok(t *testing.T, w *World) {
	t.Helper()
	if w.Failed() != "" {
		t.Fatalf("seed %d: %s", w.cfg.Seed, w.Failed())
	}
}

// seeds runs a test for some seeds, or for the one that was asked for.
func seeds(t *testing.T, n uint64, test func(t *testing.T, seed uint64)) {
	t.Helper()
	if *SeedFlag != 0 {
		test(t, *SeedFlag)
		return
	}
	for seed := uint64(1); seed <= n; seed++ {
		test(t, seed)
	}
}

// within waits for what must happen.
func within(t *testing.T, w *World, limit time.Duration, what func() string) time.Duration {
	t.Helper()
	took, done := w.Until(limit, func() bool { return what() == "" })
	ok(t, w)
	if !done {
		t.Fatalf("seed %d: after %v: %s", w.cfg.Seed, took, what())
	}
	return took
}

// toldAs says who has not yet told its applications that n is up, or is not.
func toldAs(w *World, n *Node, up bool) string {
	for _, o := range w.Up() {
		if o != n && w.Tells(o, n) != up {
			return o.String() + " has not been told about " + n.String()
		}
	}
	return ""
}

func TestSixtyFourNodesFromThreeContactsAreOneClusterWithinTenSeconds(t *testing.T) {
	seeds(t, 5, func(t *testing.T, seed uint64) {
		w := calm(t, seed, 64, 3)
		took := within(t, w, 10*time.Second, w.Settled)
		for _, n := range w.Nodes {
			if got := len(n.core.Active()); got > 5 {
				t.Errorf("seed %d: %v has %d links", seed, n, got)
			}
		}
		t.Logf("seed %d: %v", seed, took)
	})
}

func TestAKilledNodeIsKnownToAllWithinOneAndAHalfSeconds(t *testing.T) {
	seeds(t, 8, func(t *testing.T, seed uint64) {
		w := settled(t, seed, 64)
		victim := w.Nodes[seed%64]
		w.Crash(victim)
		t.Logf("seed %d: %v", seed, within(t, w, 1500*time.Millisecond, func() string { return toldAs(w, victim, false) }))
	})
}

func TestAStoppedNodeIsKnownToAllWithinSixSecondsAndComesBackAccusingNobody(t *testing.T) {
	seeds(t, 8, func(t *testing.T, seed uint64) {
		w := settled(t, seed, 64)
		victim := w.Nodes[(7*seed)%64]
		w.Pause(victim)
		down := within(t, w, 6*time.Second, func() string { return toldAs(w, victim, false) })
		w.Run(10 * time.Second)
		ok(t, w)
		accusations := 0
		victim.Tap = func(m proto.Message) { accusations += accused(m, victim) }
		w.Resume(victim)
		back := within(t, w, 10*time.Second, func() string { return toldAs(w, victim, true) + w.Settled() })
		w.Run(20 * time.Second)
		ok(t, w)
		if accusations > 0 {
			t.Errorf("seed %d: the node that was stopped accused others %d times", seed, accusations)
		}
		if words := w.Settled(); words != "" {
			t.Errorf("seed %d: %s", seed, words)
		}
		t.Logf("seed %d: down after %v, back after %v", seed, down, back)
	})
}

// accused counts the opinions of a node against others in what it sends.
func accused(m proto.Message, by *Node) int {
	var records []proto.Record
	switch m := m.(type) {
	case proto.SyncRecords:
		records = m.Records
	case proto.Gossip:
		if b, ok := m.Body.(proto.DirectoryBody); ok {
			records = b.Records
		}
	default:
	}
	n := 0
	for _, r := range records {
		for _, o := range r.Opinions {
			if o.Accuse && o.Author == by.ID {
				n++
			}
		}
	}
	return n
}

func TestACallerThatIsCutOffGetsUnreachableForAllByItsBudget(t *testing.T) {
	seeds(t, 5, func(t *testing.T, seed uint64) {
		for _, before := range []time.Duration{0, 10 * time.Millisecond, 2 * time.Second} {
			w := settled(t, seed, 16)
			caller := w.Nodes[3]
			w.Partition([]*Node{caller})
			w.Run(before)
			call := caller.Ask(proto.Selector{}, 2*time.Second, 32, 0)
			w.Run(2*time.Second + lateBy)
			ok(t, w)
			if !call.Done {
				t.Fatalf("seed %d: not done", seed)
			}
			counts := call.Verdicts()
			if counts["unreachable"] != 15 || counts["replied"] != 1 {
				t.Errorf("seed %d, cut %v before: %v", seed, before, counts)
			}
		}
	})
}

func TestAMulticallOverSixtyFourGetsSixtyFourReplies(t *testing.T) {
	seeds(t, 3, func(t *testing.T, seed uint64) {
		w := settled(t, seed, 64)
		slowest := time.Duration(0)
		for _, n := range w.Nodes {
			call := n.Ask(proto.Selector{}, 2*time.Second, 32, 0)
			took := within(t, w, 2*time.Second, func() string {
				if !call.Done {
					return "not done"
				}
				return ""
			})
			slowest = max(slowest, took)
			if counts := call.Verdicts(); counts["replied"] != 64 {
				t.Fatalf("seed %d: %v: %v", seed, n, counts)
			}
		}
		t.Logf("seed %d: the slowest took %v", seed, slowest)
	})
}

func TestAMulticallWithAStoppedNodeGetsTheOthersAtOnceAndThatOneByItsBudget(t *testing.T) {
	seeds(t, 5, func(t *testing.T, seed uint64) {
		w := settled(t, seed, 64)
		stopped, caller := w.Nodes[5], w.Nodes[(9+seed)%64]
		w.Pause(stopped)
		w.Run(300 * time.Millisecond)
		call := caller.Ask(proto.Selector{}, 2*time.Second, 32, 0)
		took := within(t, w, time.Second, func() string {
			if got := call.Verdicts()["replied"]; got < 63 {
				return "too few replies"
			}
			return ""
		})
		within(t, w, 2*time.Second, func() string {
			if !call.Done {
				return "not done"
			}
			return ""
		})
		t.Logf("seed %d: 63 after %v, then %v", seed, took, call.Verdicts())
	})
}
