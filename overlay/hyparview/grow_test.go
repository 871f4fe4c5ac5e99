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

func TestSixNodesOfOneContactAreAFullMeshToo(t *testing.T) {
	for seed := range uint64(50) {
		w := newWorld(t, seed)
		w.teach = true
		all := w.startMany(6)
		for _, n := range all {
			n.contacts(all[0])
		}
		w.runUntil("a full mesh of six", 3*time.Second, w.fullMesh)
	}
}

func TestAMeshThatLostALinkMendsIt(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(t, seed)
		w.teach = true
		all := w.startMany(5)
		for _, n := range all {
			n.contacts(all...)
		}
		w.runUntil("a full mesh", 2*time.Second, w.fullMesh)
		w.cutLink(all[1], all[3], time.Second)
		w.run(3 * time.Second)
		if w.fullMesh() {
			t.Fatal("asked again within the cool-down")
		}
		w.runUntil("a mended mesh", 15*time.Second, w.fullMesh)
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
		worst = max(worst, w.runUntil("one healthy component of 64", 5*time.Second, w.healthy))
		changes, dials = max(changes, w.changes), max(dials, w.dials)
	}
	t.Logf("worst %v, at most %d view changes and %d dials", worst, changes, dials)
}

func TestNineNodesWithOneContactAreOne(t *testing.T) {
	for seed := range uint64(50) {
		w := newWorld(t, seed)
		all := w.startMany(9)
		for _, n := range all {
			n.contacts(all[0])
		}
		w.runUntil("one component of nine", 3*time.Second, w.connected)
		w.runUntil("a healthy one", 30*time.Second, w.healthy)
	}
}

func TestANewcomerFindsPlacesAmongFullNodes(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(t, seed)
		all := w.startMany(6)
		for _, n := range all {
			n.contacts(all...)
		}
		w.runUntil("a full mesh", time.Minute, w.fullMesh)
		for range 10 {
			n := w.start()
			n.contacts(all[:3]...)
			w.runUntil("the newcomer has its links", 30*time.Second, w.healthy)
		}
	}
}

func TestHalfTheClusterDiesAndTheRestMends(t *testing.T) {
	for seed := range uint64(10) {
		w := grown(t, seed, 64)
		for i, n := range w.nodes {
			if i%2 == 1 {
				w.crash(n)
			}
		}
		w.runUntil("healthy again", 10*time.Second, w.healthy)
	}
}

func TestFourFifthsDieAndContactsMendTheRest(t *testing.T) {
	for seed := range uint64(10) {
		w := grown(t, seed, 60)
		for i, n := range w.nodes {
			if i%5 != 0 {
				w.crash(n)
			}
		}
		living := w.living()
		w.runUntil("healthy again", 60*time.Second, func() bool {
			for _, n := range living {
				if n.wanted > 0 { // discovery answers
					n.wanted = 0
					n.contacts(living...)
				}
			}
			return w.healthy()
		})
	}
}

// H12: even where no directory tells who died, the dead leave all views.
func TestTheDeadAreForgotten(t *testing.T) {
	for seed := range uint64(2) {
		w := grown(t, seed, 48)
		dead := w.nodes[7]
		w.crash(dead)
		w.run(10 * time.Minute)
		for _, n := range w.living() {
			if n.active.Has(dead.info.ID) || n.passive.Has(dead.info.ID) {
				t.Errorf("seed %d: node %d still knows the dead", seed, n.i)
			}
		}
	}
}

// H13: once the views are whole they rest.
func TestAQuietClusterRests(t *testing.T) {
	w := grown(t, 3, 65)
	w.run(time.Minute)
	before, dials := w.changes, w.dials
	w.run(5 * time.Minute)
	if perNode := float64(w.changes-before) / 65 / 5; perNode > 1 {
		t.Errorf("%.1f view changes a minute and node", perNode)
	}
	if perNode := float64(w.dials-dials) / 65 / 5; perNode > 10 {
		t.Errorf("%.1f dials a minute and node", perNode)
	}
}

func TestAFlappingLinkTroublesNobodyElse(t *testing.T) {
	w := newWorld(t, 5)
	w.teach = true
	all := w.startMany(5)
	for _, n := range all {
		n.contacts(all...)
	}
	w.runUntil("a full mesh", 2*time.Second, w.fullMesh)
	before := w.changes
	for range 30 * 60 / 2 { // half an hour
		w.run(2 * time.Second)
		if _, ok := all[0].Link(all[1].info.ID); ok {
			w.cutLink(all[0], all[1], time.Second)
		}
	}
	// Cool-downs double to a minute: two changes on each side a minute at most.
	if n := w.changes - before; n > 4*30 {
		t.Errorf("%d view changes in half an hour", n)
	}
	if got := all[2].active.Len(); got != 4 {
		t.Errorf("a bystander has %d links", got)
	}
}

func TestTheSameSeedGivesTheSameHistory(t *testing.T) {
	run := func() (string, int) {
		w := grown(t, 11, 30)
		w.crash(w.nodes[4])
		w.run(time.Minute)
		return w.picture(), w.messages
	}
	a, n := run()
	b, m := run()
	if a != b || n != m {
		t.Fatal("two runs of one seed differ")
	}
}

// grown is a healthy world of n nodes.
func grown(t *testing.T, seed uint64, n int) *world {
	t.Helper()
	w := newWorld(t, seed)
	all := w.startMany(n)
	for _, m := range all {
		m.contacts(all[:3]...)
	}
	w.runUntil("healthy", 30*time.Second, w.healthy)
	w.run(30 * time.Second) // a few shuffles fill the passive views
	return w
}
