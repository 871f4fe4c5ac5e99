package plumtree

import (
	"slices"
	"testing"

	"github.com/starlingmesh/starling/overlay/proto"
)

func (w *world) line() {
	for i := range len(w.nodes) - 1 {
		w.connect(i, i+1)
	}
}

func (w *world) ring() {
	w.line()
	w.connect(len(w.nodes)-1, 0)
}

// regular makes a random graph in which every node has k links.
func (w *world) regular(k int) {
	n := len(w.nodes)
	for {
		var ends []int
		for i := range n {
			for range k {
				ends = append(ends, i)
			}
		}
		var pairs [][2]int
		seen := map[[2]int]bool{}
		w.rng.Shuffle(len(ends), func(i, j int) { ends[i], ends[j] = ends[j], ends[i] })
		bad := 0
		for len(ends) >= 2 && bad < 1000 {
			i := 1 + w.rng.IntN(len(ends)-1)
			a, b := min(ends[0], ends[i]), max(ends[0], ends[i])
			if a == b || seen[[2]int{a, b}] {
				bad++
				w.rng.Shuffle(len(ends), func(i, j int) { ends[i], ends[j] = ends[j], ends[i] })
				continue
			}
			seen[[2]int{a, b}] = true
			pairs = append(pairs, [2]int{a, b})
			ends = slices.Delete(ends, i, i+1)[1:]
		}
		if len(ends) > 0 {
			continue
		}
		for _, p := range pairs {
			w.connect(p[0], p[1])
		}
		return
	}
}

// flood is the hops of the farthest node from i: what a broadcast needs at least.
func (w *world) flood(i int) int {
	dist := map[int]int{i: 0}
	for queue := []int{i}; len(queue) > 0; queue = queue[1:] {
		for _, l := range w.linksOf(queue[0]) {
			other := l.ends[0] + l.ends[1] - queue[0]
			if _, ok := dist[other]; !ok {
				dist[other] = dist[queue[0]] + 1
				queue = append(queue, other)
			}
		}
	}
	far := 0
	for _, d := range dist {
		far = max(far, d)
	}
	return far
}

func (w *world) linksOf(i int) []*link {
	var list []*link
	for id := proto.LinkID(1); id <= w.last; id++ {
		if l := w.links[id]; l.up && (l.ends[0] == i || l.ends[1] == i) {
			list = append(list, l)
		}
	}
	return list
}

func (w *world) lastHop(id proto.MsgID) int {
	far := 0
	for _, n := range w.nodes {
		far = max(far, int(n.got[id].hops))
	}
	return far
}

func TestTheGraphsAreWhatTheyAreCalled(t *testing.T) {
	w := newWorld(t, 1, 64, Default())
	w.regular(5)
	for i := range w.nodes {
		if len(w.linksOf(i)) != 5 {
			t.Fatalf("node %d has %d links", i, len(w.linksOf(i)))
		}
	}
	if far := w.flood(0); far < 3 || far > 6 {
		t.Fatalf("the farthest is %d hops away", far)
	}
}
