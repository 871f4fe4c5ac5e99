package directory

import (
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// cluster is a settled world of 64 nodes with five links each.
func cluster(t *testing.T, seed uint64) *world {
	t.Helper()
	w := newWorld(t, seed, 64, regular(seed, 64, 5), nil)
	w.settle(5 * time.Second)
	w.run(5*time.Second + time.Duration(w.rng.Int64N(int64(time.Second)))) // in step with nobody's pings
	w.floor = 4
	return w
}

func seeds(t *testing.T, story func(t *testing.T, seed uint64)) {
	t.Helper()
	for seed := range uint64(2) {
		story(t, seed)
	}
}

func TestEverybodyIsKnownSoonAfterTheLinksStand(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		w := newWorld(t, seed, 64, regular(seed, 64, 5), nil)
		t.Logf("seed %d: settled in %v", seed, w.settle(3*time.Second))
		w.audit()
		w.run(2 * time.Second)
		clear(w.sent)
		w.run(20 * time.Second)
		total := 0
		for _, n := range w.sent {
			total += n
		}
		perNode := float64(total) / 64 / 20
		t.Logf("seed %d: quiet: %.1f messages a second and node: %v", seed, perNode, w.sent)
		if perNode > 15 {
			t.Errorf("%.1f messages a second and node when quiet, want at most 15", perNode)
		}
		for _, n := range w.nodes {
			for _, c := range n.told {
				if c.Kind != proto.ChangeUp && c.Kind != proto.ChangeUpdated {
					t.Fatalf("node %d was told %v of %s", n.i, c.Kind, c.Member.Entry.Name)
				}
			}
		}
	})
}

func TestAKilledNodeIsKnownDownToAllWithin1500ms(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		w := cluster(t, seed)
		victim := w.nodes[seed]
		w.kill(victim)
		took := w.runUntil(1500*time.Millisecond, func() bool { return w.everybody(victim, proto.StatusDown) })
		t.Logf("seed %d: %v", seed, took)
		w.run(5 * time.Second)
		for _, n := range w.nodes {
			if n != victim && (n.tellings(victim.id, proto.ChangeDown) != 1 || n.d.Living() != 63) {
				t.Fatalf("node %d was told %d times, knows %d living", n.i, n.tellings(victim.id, proto.ChangeDown), n.d.Living())
			}
		}
		w.audit()
	})
}

func TestAStoppedNodeIsKnownDownToAllWithin6s(t *testing.T) {
	for _, size := range []int{2, 3, 4, 6, 16, 64} {
		seeds(t, func(t *testing.T, seed uint64) {
			edges := mesh(size)
			if size > 6 {
				edges = regular(seed, size, 5)
			}
			w := newWorld(t, seed, size, edges, nil)
			w.settle(5 * time.Second)
			w.run(3*time.Second + time.Duration(w.rng.Int64N(int64(time.Second))))
			victim := w.nodes[seed%uint64(size)]
			w.stop(victim)
			took := w.runUntil(6*time.Second, func() bool { return w.everybody(victim, proto.StatusDown) })
			t.Logf("%d nodes, seed %d: %v", size, seed, took)
		})
	}
}

func TestAResumedNodeAccusesNobodyAndComesBack(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		for _, pause := range []time.Duration{time.Second, 3 * time.Second, 10 * time.Second, 120 * time.Second} {
			w := cluster(t, seed)
			victim := w.nodes[seed]
			before := victim.d.Self().Incarnation
			w.stop(victim)
			w.run(pause)
			certified := w.certifiedEver(victim)
			if want := pause > 6*time.Second; certified != want {
				t.Fatalf("after %v certified: %v, want %v", pause, certified, want)
			}
			opinions := victim.d.counter
			w.resume(victim)
			took := w.settle(5 * time.Second)
			t.Logf("seed %d: stopped for %v, back after %v", seed, pause, took)
			w.run(10 * time.Second)
			if victim.d.counter != opinions {
				t.Errorf("stopped for %v, it had an opinion after it was resumed", pause)
			}
			want := before
			if certified {
				want++
			}
			if got := victim.d.Self().Incarnation; got != want {
				t.Errorf("stopped for %v: incarnation %d, want %d", pause, got-before, want-before)
			}
			for _, n := range w.nodes {
				if n != victim && w.certifiedEver(n) {
					t.Errorf("node %d was certified down", n.i)
				}
				downs := 0
				if certified && n != victim {
					downs = 1
				}
				if n.tellings(victim.id, proto.ChangeDown) != downs || n.tellings(victim.id, proto.ChangeUp) != downs+1 {
					t.Errorf("node %d was told down %d, up %d times", n.i, n.tellings(victim.id, proto.ChangeDown), n.tellings(victim.id, proto.ChangeUp))
				}
			}
			w.audit()
		}
	})
}

func TestHalvesThatWereApartAgreeAgain(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		w := cluster(t, seed)
		left := func(n *node) bool { return n.i < 32 }
		w.cut = func(a, b *node) bool { return left(a) != left(b) }
		took := w.runUntil(30*time.Second, func() bool {
			for _, n := range w.nodes {
				if n.d.Living() != 32 {
					return false
				}
			}
			return true
		})
		t.Logf("seed %d: apart after %v", seed, took)
		w.run(60*time.Second - took)
		w.cut = func(_, _ *node) bool { return false }
		t.Logf("seed %d: equal %v after the links were back", seed, w.settle(5*time.Second))
		w.audit()
	})
}

func TestOneBadLinkDownsNobody(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		for _, kind := range []string{"lost", "reset"} {
			w := cluster(t, seed)
			bad := func(a, b *node) bool {
				e := w.edges[seed]
				return (a.i == e[0] && b.i == e[1]) || (a.i == e[1] && b.i == e[0])
			}
			if kind == "lost" {
				w.cut = bad
			} else {
				w.breakLinks(bad)
			}
			w.run(60 * time.Second)
			for _, n := range w.nodes {
				if w.certifiedEver(n) {
					t.Errorf("%s: node %d was certified down", kind, n.i)
				}
				if n.d.Living() != 64 {
					t.Errorf("%s: node %d knows %d living", kind, n.i, n.d.Living())
				}
			}
		}
	})
}

func TestAnIsolatedNodeCertifiesNobodyForAMinute(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		w := cluster(t, seed)
		alone := w.nodes[seed]
		w.cut = func(a, b *node) bool { return a == alone || b == alone }
		w.runUntil(6*time.Second, func() bool { return w.everybody(alone, proto.StatusDown) })
		w.run(55 * time.Second)
		if got := alone.d.Living(); got != 64 {
			t.Fatalf("isolated for a minute, it knows %d living, want 64", got)
		}
		w.cut = func(_, _ *node) bool { return false }
		t.Logf("seed %d: back after %v", seed, w.settle(5*time.Second))
		for _, n := range w.nodes {
			if n != alone && w.certifiedEver(n) {
				t.Errorf("node %d was certified down", n.i)
			}
		}
		w.audit()
	})
}

func TestANodeThatStaysAloneBelievesItInTheEnd(t *testing.T) {
	w := newWorld(t, 1, 8, mesh(8), nil)
	w.settle(5 * time.Second)
	alone := w.nodes[0]
	w.cut = func(a, b *node) bool { return a == alone || b == alone }
	w.run(60 * time.Second)
	if alone.d.Living() != 8 {
		t.Fatalf("%d living after a minute", alone.d.Living())
	}
	took := w.runUntil(180*time.Second, func() bool { return alone.d.Living() == 1 })
	t.Logf("alone in its own view after %v more", took)
	w.cut = func(_, _ *node) bool { return false }
	w.settle(10 * time.Second)
}

func TestAMemberWhoseNeighboursAllDiedWithItIsFound(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		w := cluster(t, seed)
		victim := w.nodes[seed]
		gone := []*node{victim}
		for _, c := range victim.list() {
			if c.kind == proto.LinkOverlay {
				gone = append(gone, c.far(victim))
			}
		}
		for _, n := range gone {
			w.kill(n)
		}
		took := w.runUntil(10*time.Second, func() bool {
			for _, n := range gone {
				if !w.everybody(n, proto.StatusDown) {
					return false
				}
			}
			return true
		})
		t.Logf("seed %d: all %d known down after %v", seed, len(gone), took)
		w.run(5 * time.Second)
		w.audit()
	})
}

func TestHalfOfAllNodesDyingIsKnownSoon(t *testing.T) {
	w := cluster(t, 3)
	for _, n := range w.nodes[:32] {
		w.kill(n)
	}
	took := w.runUntil(15*time.Second, func() bool {
		for _, n := range w.nodes[32:] {
			if n.d.Living() != 32 {
				return false
			}
		}
		return true
	})
	t.Logf("32 of 64 known down after %v", took)
}

func TestWhoLeftStaysLeft(t *testing.T) {
	w := cluster(t, 5)
	goer := w.nodes[9]
	before := goer.d.self.export()
	w.leave(goer)
	took := w.runUntil(time.Second, func() bool { return w.everybody(goer, proto.StatusLeft) })
	t.Logf("known to all after %v", took)
	w.run(20 * time.Second)
	for _, n := range w.nodes {
		if n == goer {
			continue
		}
		if n.tellings(goer.id, proto.ChangeLeft) != 1 || n.tellings(goer.id, proto.ChangeSuspect) != 0 || n.tellings(goer.id, proto.ChangeDown) != 0 {
			t.Fatalf("node %d: %+v", n.i, n.told)
		}
		// Not even a later word in its name brings it back.
		e := *before.Entry
		e.Incarnation, e.Version = e.Incarnation+1, 1
		w.step(n, func(out *proto.Out) {
			n.d.Delivered(w.now, goer.id, proto.DirectoryBody{Records: []proto.Record{{Entry: &e}}}, out)
		})
		if n.status(goer) != proto.StatusLeft {
			t.Fatalf("node %d sees it %v", n.i, n.status(goer))
		}
	}
}

func TestAStallOfTwelveHoursEndsTheProcess(t *testing.T) {
	w := newWorld(t, 1, 6, mesh(6), nil)
	w.settle(5 * time.Second)
	w.stop(w.nodes[0])
	w.run(time.Minute)
	// Only this one sleeps on; the others need not live through the night.
	var out proto.Out
	w.nodes[0].d.Wake(w.now.Add(12*time.Hour), &out)
	if f, ok := out.List[0].(proto.Fatal); !ok || len(out.List) != 1 || f.Why[:16] != "stopped too long" {
		t.Fatalf("got %v", out.List)
	}
	if !w.nodes[0].d.Deadline().IsZero() || len(w.nodes[0].d.Roster().Members) != 1 {
		t.Fatal("it kept its directory")
	}
}
