package plumtree

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/starlingmesh/starling/overlay/proto"
)

// draw lets a property choose: flaps of links, of which at most broken are
// broken at once, and broadcasts in between.
func (w *world) draw(t *rapid.T, broken, senders int, ids *[]proto.MsgID) {
	type pair struct{ a, b int }
	var down []pair
	var up []proto.LinkID
	for id := proto.LinkID(1); id <= w.last; id++ {
		up = append(up, id)
	}
	mend := func() {
		w.run(4 * time.Millisecond) // both ends know of the break
		up = append(up, w.connect(down[0].a, down[0].b))
		down = down[1:]
	}
	for range rapid.IntRange(1, 40).Draw(t, "steps") {
		switch rapid.IntRange(0, 3).Draw(t, "what") {
		case 0, 1:
			*ids = append(*ids, w.say(rapid.IntRange(0, senders-1).Draw(t, "who"), rapid.Uint8Range(0, 1).Draw(t, "stream")))
		case 2:
			w.run(time.Duration(rapid.SampledFrom([]int{1, 3, 20, 100, 400, 2000}).Draw(t, "wait")) * 300 * time.Microsecond)
		case 3:
			if len(down) == broken {
				mend()
				continue
			}
			i := rapid.IntRange(0, len(up)-1).Draw(t, "link")
			l := w.links[up[i]]
			up[i] = up[len(up)-1]
			up = up[:len(up)-1]
			down = append(down, pair{l.ends[0], l.ends[1]})
			w.cut(l.id)
		}
	}
	for len(down) > 0 {
		mend()
	}
}

// P4: while one link of a triangle at a time breaks and comes back, with what
// it carried lost, everybody gets everything, in order, once and as it was said.
func TestFlapsOfATriangleLoseNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, rapid.Uint64().Draw(t, "seed"), 3, Default())
		w.ring()
		w.run(2 * time.Second)
		var ids []proto.MsgID
		w.draw(t, 1, 3, &ids)
		w.run(10 * time.Second)
		w.wantEverywhere(ids...)
		w.wantNoGaps()
		w.checkAll()
	})
}

// P2, P3, P9, P10 are asserted by the world at every delivery, whatever breaks.
func TestWhateverBreaksNothingComesTwiceOrOutOfOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, rapid.Uint64().Draw(t, "seed"), 7, Default())
		w.accounts = true
		w.ring()
		w.connect(0, 3)
		w.connect(2, 5)
		w.run(2 * time.Second)
		var ids []proto.MsgID
		w.draw(t, 9, 7, &ids)
		w.run(10 * time.Second)
		w.checkAll()
		for i, n := range w.nodes {
			for _, id := range ids {
				k := key{id.Origin, id.Stream}
				if _, ok := n.got[id]; !ok && id.Stream != proto.DirStream && id.Seq >= n.from[k] && n.gaps[k] == 0 {
					t.Fatalf("P10: node %d misses %v and was told of no gap", i, id)
				}
			}
		}
	})
}
