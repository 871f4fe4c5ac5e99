package plumtree

import (
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// starved has every message wait up to 400 ms for a processor that others hold.
func (w *world) starved() {
	w.delay = func() time.Duration { return time.Duration(w.rng.Int64N(int64(400 * time.Millisecond))) }
}

// Nobody measured a round trip yet, so requests are made far too early and
// whoever is asked often waits itself: late is not lost.
func TestABurstAmongStarvedNodesReachesEverybody(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine, and long under the race detector")
	}
	w := newWorld(t, 1, 64, Default())
	w.regular(5)
	w.run(2 * time.Second)
	w.starved()
	var ids []proto.MsgID
	for range 2000 {
		ids = append(ids, w.say(0, topic))
		w.run(50 * time.Microsecond)
	}
	w.run(15 * time.Second)
	w.wantNoGaps()
	w.wantEverywhere(ids...)
	w.checkAll()
	t.Logf("redundancy %.2f, control %d a broadcast", float64(w.payload)/2000/63-1, w.control/2000)
}

// The same for the first words of an origin that nobody knew: what is taken
// for the start of its sequence is not its start, and no gap would tell so.
// Long bodies, and a budget for grafts that is spent at once.
func TestFirstWordsAmongStarvedNodesReachEverybody(t *testing.T) {
	for seed := range uint64(5) {
		cfg := Default()
		cfg.GraftBytes, cfg.GraftBurst = 4<<10, 4<<10
		w := newWorld(t, seed, 24, cfg)
		w.regular(4)
		w.run(2 * time.Second)
		w.starved()
		var ids []proto.MsgID
		for i := range 60 {
			ids = append(ids, w.say(i%6, topic))
			w.run(time.Duration(w.rng.Int64N(int64(30 * time.Millisecond))))
		}
		w.run(15 * time.Second)
		w.wantNoGaps()
		w.wantEverywhere(ids...)
		w.checkAll()
	}
}

// A stream of broadcasts over links that stop now and then: holes are always
// open somewhere, and who waits for a broadcast is not left out because it has
// sent later ones.
func TestAStreamOverLinksThatStopReachesEverybody(t *testing.T) {
	for seed := range uint64(4) {
		w := newWorld(t, seed, 32, Default())
		w.regular(5)
		w.run(2 * time.Second)
		w.delay = func() time.Duration {
			if w.rng.IntN(20) > 0 {
				return time.Millisecond
			}
			return time.Duration(w.rng.IntN(800)) * time.Millisecond
		}
		var ids []proto.MsgID
		for range 300 {
			ids = append(ids, w.say(0, topic))
			w.run(7 * time.Millisecond)
		}
		w.run(15 * time.Second)
		w.wantNoGaps()
		w.wantEverywhere(ids...)
	}
}
