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
	if testing.Short() {
		t.Skip("one goroutine, and long under the race detector")
	}
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
			w.say(from(0), topic)
			w.run(200 * time.Millisecond)
			if w.payload < 2*199 {
				t.Errorf("the first broadcast of all floods; %d bodies do not", w.payload)
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

// The bars of another implementation's simulator: 100 peers, links of 10 to 50 ms.
func TestSlowLinksAndBurstsStayWithinTheBars(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine, and long under the race detector")
	}
	for _, bar := range []struct {
		name       string
		senders    int // at once
		one        bool
		rounds     int
		hops       int
		redundancy float64
	}{
		{"one", 1, true, 30, 15, 0.2},
		{"many", 1, false, 30, 18, 1},
		{"burst", 100, false, 4, 30, 3},
	} {
		for seed := range uint64(2) {
			w := newWorld(t, seed, 100, Default())
			w.delay = func() time.Duration {
				return 10*time.Millisecond + time.Duration(w.rng.Int64N(int64(40*time.Millisecond)))
			}
			w.regular(5)
			for _, n := range w.nodes {
				for _, l := range n.tree.neighbors {
					n.tree.Timing(l.link, 100*time.Millisecond)
				}
			}
			w.run(2 * time.Second)
			rounds, hops, payload := bar.rounds, 0, 0
			for round := range rounds {
				w.payload = 0
				var ids []proto.MsgID
				for i := range bar.senders {
					who := i
					if !bar.one && bar.senders == 1 {
						who = w.rng.IntN(len(w.nodes))
					}
					ids = append(ids, w.say(who, topic))
				}
				w.run(2 * time.Second)
				w.wantEverywhere(ids...)
				if round < rounds/2 {
					continue
				}
				payload += w.payload
				for _, id := range ids {
					hops = max(hops, w.lastHop(id))
				}
			}
			w.wantNoGaps()
			redundancy := float64(payload)/float64((rounds-rounds/2)*bar.senders*99) - 1
			t.Logf("%s, seed %d: last hop %d, redundancy %.3f", bar.name, seed, hops, redundancy)
			if hops >= bar.hops || redundancy >= bar.redundancy {
				t.Errorf("%s, seed %d: last hop %d, want < %d; redundancy %.3f, want < %.1f", bar.name, seed, hops, bar.hops, redundancy, bar.redundancy)
			}
		}
	}
}

func TestWhatWasSaidInAPartitionIsHeardAfterIt(t *testing.T) {
	w := newWorld(t, 3, 12, Default())
	for i := range 6 {
		w.connect(i, (i+1)%6)
		w.connect(6+i, 6+(i+1)%6)
	}
	bridge := w.connect(0, 6)
	w.run(2 * time.Second)
	ids := []proto.MsgID{w.say(1, topic), w.say(7, topic)}
	w.run(time.Second)
	w.cut(bridge)
	w.run(time.Second)
	for i := range 200 {
		ids = append(ids, w.say(i%12, topic), w.say(5, 0))
		w.run(20 * time.Millisecond)
	}
	w.connect(3, 9)
	w.run(10 * time.Second)
	w.wantEverywhere(ids...)
	w.wantNoGaps()
}

func TestANewcomerHearsWhatIsSaidFromThenOn(t *testing.T) {
	w := newWorld(t, 4, 20, Default())
	w.regular(4)
	w.run(2 * time.Second)
	for i := range 100 {
		w.say(i%5, topic)
		w.run(10 * time.Millisecond)
	}
	who := w.join(Default())
	for i := range 4 {
		w.connect(who, 5*i)
	}
	w.run(50 * time.Millisecond)
	if n := len(w.nodes[who].list); n != 0 {
		t.Fatalf("it got %d that were said before", n)
	}
	var ids []proto.MsgID
	for i := range 100 {
		ids = append(ids, w.say(i%21, topic)) // also who spoke before, and who never did
		w.run(10 * time.Millisecond)
	}
	w.run(10 * time.Second)
	w.wantEverywhere(ids...)
	w.wantNoGaps()
}

// A part hears number 2 of an origin and then loses it. Who was told of number 1 in time is told that it is lost. Who hears
// number 2 first cannot know whether number 1 is older than itself: it begins at 2, and what comes later changes nothing.
func TestASequenceBeginsWithTheFirstWordWhereNobodyHasWhatCameBefore(t *testing.T) {
	w := newWorld(t, 1, 3, Default())
	first := w.connect(0, 1)
	w.connect(1, 2)
	w.run(2 * time.Second)
	w.cut(first)
	w.run(5 * time.Millisecond)
	one := w.say(0, 1)
	again := w.connect(0, 1)
	two := w.say(0, 1)
	w.run(2 * time.Millisecond)
	w.cut(again)
	w.run(time.Second)
	w.connect(0, 2)
	w.run(time.Second)
	three := w.say(0, 1)
	w.run(10 * time.Second)
	k := key{one.Origin, one.Stream}
	for i, gaps := range []uint64{0, 1, 0} {
		n := w.nodes[i]
		_, early := n.got[one]
		if early != (i == 0) || n.gaps[k] != gaps {
			t.Errorf("node %d: number 1 is here: %v, and %d are told as lost, want %d", i, early, n.gaps[k], gaps)
		}
	}
	w.wantEverywhere(two, three)
}
