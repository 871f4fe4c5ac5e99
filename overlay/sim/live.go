package sim

import (
	"fmt"
	"slices"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// These say in words what is still missing, or nothing.

// Settled: every node that runs is in one component with all others, has links
// enough, and knows exactly the living.
func (w *World) Settled() string { return w.SettledAmong(w.Up()) }

// Up is every node that runs and is not stopped.
func (w *World) Up() []*Node {
	var all []*Node
	for _, n := range w.Nodes {
		if n.state == up && n.core != nil {
			all = append(all, n)
		}
	}
	return all
}

// SettledAmong demands it of some nodes, with all others dead to them.
func (w *World) SettledAmong(some []*Node) string {
	if words := w.LinksEnough(some); words != "" {
		return words
	}
	return w.SettledBut(some)
}

// SettledBut is SettledAmong without the number of links.
func (w *World) SettledBut(some []*Node) string {
	for _, missing := range []func([]*Node) string{w.oneOfAName, w.oneComponent, w.deadForgotten, w.equalDirectories} {
		if words := missing(some); words != "" {
			return words
		}
	}
	return ""
}

// oneOfAName: D3.
func (w *World) oneOfAName(some []*Node) string {
	bearer := make(map[string]*Node, len(some))
	for _, n := range some {
		if o := bearer[n.Name]; o != nil {
			return fmt.Sprintf("D3: %v and %v both live", o, n)
		}
		bearer[n.Name] = n
	}
	return ""
}

// oneComponent: H10.
func (w *World) oneComponent(some []*Node) string {
	if len(some) == 0 {
		return ""
	}
	in := w.members(some)
	seen := make([]bool, len(w.Nodes))
	seen[some[0].Index] = true
	queue, reached := []*Node{some[0]}, 0
	for len(queue) > 0 {
		n := queue[0]
		queue, reached = queue[1:], reached+1
		for _, id := range n.core.Active() {
			if o, ok := in[id]; ok && !seen[o.Index] && slices.Contains(o.core.Active(), n.ID) {
				seen[o.Index] = true
				queue = append(queue, o)
			}
		}
	}
	if reached < len(some) {
		var apart []string
		for _, n := range some {
			if !seen[n.Index] {
				apart = append(apart, n.String())
			}
		}
		return fmt.Sprintf("H10: %d of %d nodes are apart from %s: %v", len(some)-reached, len(some), some[0], apart)
	}
	return ""
}

// members are some nodes, by ID; looked up only.
func (w *World) members(some []*Node) map[peer.ID]*Node {
	in := make(map[peer.ID]*Node, len(some))
	for _, n := range some {
		in[n.ID] = n
	}
	return in
}

// LinksEnough: H11.
func (w *World) LinksEnough(some []*Node) string {
	want := min(w.cfg.Core.Views.Floor, len(some)-1)
	for _, n := range some {
		if got := len(n.core.Active()); got < want {
			return fmt.Sprintf("H11: %v has %d links, want %d", n, got, want)
		}
	}
	return ""
}

// Symmetric: H9. Who has a member is a member of its.
func (w *World) Symmetric(some []*Node) string {
	in := w.members(some)
	for _, n := range some {
		for _, id := range n.core.Active() {
			if o, ok := in[id]; ok && !slices.Contains(o.core.Active(), n.ID) {
				return fmt.Sprintf("H9: %v has %v as a member, and not the other way round", n, o)
			}
		}
	}
	return ""
}

// ViewChanges is how many members came into each node's view since it started.
func (w *World) ViewChanges(some []*Node) []int {
	counts := make([]int, len(some))
	for i, n := range some {
		counts[i] = w.checks.views.of[n.Index].entered
	}
	return counts
}

// deadForgotten: H12.
func (w *World) deadForgotten(some []*Node) string {
	in := w.members(some)
	for _, n := range some {
		for _, id := range append(n.core.Active(), n.core.Passive()...) {
			if in[id] == nil {
				o := w.checks.byID[id]
				return fmt.Sprintf("H12: %v still has %v in its views; a member: %v", n, o, slices.Contains(n.core.Active(), id))
			}
		}
	}
	return ""
}

// equalDirectories: D7. All have the same entries, and take exactly each other
// for alive.
func (w *World) equalDirectories(some []*Node) string {
	if len(some) == 0 {
		return ""
	}
	in := w.members(some)
	var first []proto.Member
	var lives []bool // those of first, in truth
	for m := range some[0].core.Members() {
		first, lives = append(first, m), append(lives, in[m.Entry.ID] != nil)
	}
	for _, n := range some {
		i, alive := 0, 0
		for m := range n.core.Members() {
			if i == len(first) || !sameKnown(&first[i], &m) {
				return fmt.Sprintf("D7: %v and %v differ in %s %d.%d down %d", some[0], n, m.Entry.Name, m.Entry.Incarnation, m.Entry.Version, m.Down)
			}
			living := m.Status == proto.StatusAlive
			if living != lives[i] {
				return fmt.Sprintf("D7: %v takes %v for %v (%s)", n, w.checks.byID[m.Entry.ID], m.Status, m.Why)
			}
			if living {
				alive++
			}
			i++
		}
		if i < len(first) || alive != len(some) {
			return fmt.Sprintf("D7: %v knows %d of %d living, and %d of %d in all", n, alive, len(some), i, len(first))
		}
	}
	return ""
}

// sameKnown compares what is not derived.
func sameKnown(a, b *proto.Member) bool {
	return a.Entry.ID == b.Entry.ID && !a.Entry.Newer(b.Entry) && !b.Entry.Newer(a.Entry) && a.Down == b.Down
}

// Tells whether a node has told its applications that another is up.
func (w *World) Tells(n, about *Node) bool {
	of := w.checks.directory.of[n.Index].others
	return about.Index < len(of) && of[about.Index].up
}
