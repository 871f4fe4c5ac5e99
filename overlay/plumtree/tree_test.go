package plumtree

import (
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

const topic = 3 // any stream but the directory's

func TestEverybodyGetsWhatOneSays(t *testing.T) {
	for name, build := range map[string]func(w *world){
		"line":     (*world).line,
		"ring":     (*world).ring,
		"regular":  func(w *world) { w.regular(5) },
		"triangle": func(w *world) { w.nodes = w.nodes[:3]; w.ring() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, 64, Default())
			build(w)
			w.run(2 * time.Second)
			var ids []proto.MsgID
			for i := range 60 {
				ids = append(ids, w.say(i%len(w.nodes), uint8(i%proto.Streams)))
				w.run(time.Duration(w.rng.IntN(20)) * time.Millisecond)
			}
			w.run(10 * time.Second)
			w.wantEverywhere(ids...)
			w.wantNoGaps()
			w.checkAll()
		})
	}
}

// Figures: after a few broadcasts of one sender hardly a body travels twice,
// and the tree is hardly deeper than a flood.
func TestTheTreeIsLeanAndShallow(t *testing.T) {
	for _, many := range []bool{false, true} {
		for seed := range uint64(4) {
			w := newWorld(t, seed, 200, Default())
			w.regular(5)
			w.run(2 * time.Second)
			from := func(i int) int {
				if many {
					return w.rng.IntN(len(w.nodes))
				}
				return 0
			}
			for i := range 20 {
				w.say(from(i), topic)
				w.run(200 * time.Millisecond)
			}
			const rounds = 20
			w.payload, w.control = 0, 0
			hops, flood := 0, 0
			for i := range rounds {
				f := from(i)
				id := w.say(f, topic)
				w.run(500 * time.Millisecond)
				w.wantEverywhere(id)
				hops += w.lastHop(id)
				flood += w.flood(f)
			}
			w.wantNoGaps()
			redundancy := float64(w.payload)/rounds/199 - 1
			deeper := float64(hops) / float64(flood)
			t.Logf("many %v seed %d: redundancy %.3f, last hop %.1f = %.2f × flood, control %d a broadcast", many, seed, redundancy, float64(hops)/rounds, deeper, w.control/rounds)
			if !many && (redundancy > 0.05 || deeper > 1.3) {
				t.Errorf("one sender, seed %d: redundancy %.3f, want ≤ 0.05; last hop %.2f × flood, want ≤ 1.3", seed, redundancy, deeper)
			}
			if many && (redundancy > 0.2 || hops > 14*rounds) {
				t.Errorf("many senders, seed %d: redundancy %.3f, want ≤ 0.2; last hop %d, want ≤ 14", seed, redundancy, hops/rounds)
			}
		}
	}
}
