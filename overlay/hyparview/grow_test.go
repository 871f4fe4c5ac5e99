package hyparview

import (
	"testing"
	"time"
)

func TestFiveNodesBecomeAFullMesh(t *testing.T) {
	for seed := range uint64(100) {
		w := newWorld(t, seed)
		w.teach = true
		all := w.startMany(5)
		for _, n := range all {
			n.contacts(all...)
		}
		w.runUntil("a full mesh of five", 2*time.Second, w.fullMesh)
		before := w.changes
		w.run(5 * time.Minute)
		if !w.fullMesh() || w.changes != before {
			t.Fatalf("seed %d: the mesh did not stay: %d changes\n%s", seed, w.changes-before, w.picture())
		}
	}
}

func TestSixtyFourNodesFromThreeContactsBecomeOne(t *testing.T) {
	worst, changes, dials := time.Duration(0), 0, 0
	for seed := range uint64(20) {
		w := newWorld(t, seed)
		all := w.startMany(64)
		for _, n := range all {
			n.contacts(all[:3]...)
		}
		took := w.runUntil("one healthy component of 64", 10*time.Second, w.healthy)
		worst = max(worst, took)
		changes, dials = max(changes, w.changes), max(dials, w.dials)
	}
	t.Logf("worst %v, at most %d view changes, %d dials", worst, changes, dials)
}
