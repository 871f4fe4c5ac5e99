package wave

import (
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// The rules were model-checked; this holds the code to them: whatever breaks,
// each target has exactly one verdict by the budget, nothing runs twice,
// "executed: no" is true, and a minute later nothing is left.
func TestRandomFaultsLeaveOneTrueVerdictEach(t *testing.T) {
	seeds := uint64(4000)
	if testing.Short() {
		seeds = 500
	}
	seen := map[string]int{}
	for seed := range seeds {
		w := drawWorld(t, seed)
		calls := w.drawCalls()
		for range w.rng.IntN(7) {
			w.drawFault()
		}
		w.run(9 * time.Second)
		for _, c := range *calls {
			for _, v := range w.settled(c.by, c.ref) {
				seen[v.Verdict.String()+"/"+v.Executed.String()]++
			}
		}
		w.quiet()
		for what, n := range w.sent {
			seen[what] += n
		}
		for _, x := range w.nodes {
			seen["widened"] += int(x.wave.stats.StarsWidened)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Log(seen)
	for _, what := range []string{
		"Call", "Took", "Seen", "Echo", "Adopt", "Cancel", "Pull", "CallBody", "Ask", "Answer", "StatusAsk", "StatusAnswer", "Help", "Helpless",
		"ignored echo_of_no_call", "ignored call_table_full", "ignored body_gone", "widened", "replied/yes", "result_lost/yes", "overloaded/no",
		"rejected/no", "timed_out/maybe", "lost/maybe", "down/no", "down/maybe", "left/maybe", "unreachable/no", "unreachable/maybe",
		"abandoned/maybe", "not_attempted/no",
	} {
		if seen[what] == 0 && !testing.Short() {
			t.Errorf("%s never happened: these schedules do not test it", what)
		}
	}
}

// drawWorld: 3 to 10 nodes, bounds that are met in one world of three, and
// handlers that are slow, hang, or reply at length.
func drawWorld(t *testing.T, seed uint64) *world {
	w := newWorld(t, seed, 0, func(c *Config) {
		if seed%3 == 0 {
			c.OpenMax, c.CallsMax, c.AsksMax, c.PullsMax = 2, 6, 1, 1
			c.KeptBytes, c.RelayBytes, c.DirectMax = 10_000, 10_000, 1
		}
	})
	for range 3 + w.rng.IntN(8) {
		w.add()
	}
	w.regular(2 + w.rng.IntN(3))
	slow := time.Duration(w.rng.IntN(20)) * time.Millisecond
	for _, x := range w.nodes {
		d, large := slow, w.rng.IntN(5) == 0
		if w.rng.IntN(8) == 0 {
			d = -1
		}
		x.handler = func(in proto.Dispatch) (time.Duration, proto.Result) {
			r := echoed(in)
			if large {
				r.Payload = make([]byte, 9000)
			}
			return d, r
		}
	}
	return w
}

type drawn struct {
	by  int
	ref uint64
}

// drawCalls arranges one to six calls of one to three callers, within 100 ms.
func (w *world) drawCalls() *[]drawn {
	calls := &[]drawn{}
	for range 1 + w.rng.IntN(6) {
		by := w.rng.IntN(min(3, len(w.nodes)))
		in := proto.StartCall{Budget: 300*time.Millisecond + time.Duration(w.rng.IntN(3000))*time.Millisecond}
		switch w.rng.IntN(5) {
		case 0:
			in.Select.NotSelf = true
		case 1, 2:
			for range 1 + w.rng.IntN(3) {
				in.Select.IDs = append(in.Select.IDs, w.nodes[w.rng.IntN(len(w.nodes))].id)
			}
		}
		if w.rng.IntN(3) == 0 {
			in.Request.Payload = make([]byte, 3000+w.rng.IntN(6000))
		}
		if w.rng.IntN(4) == 0 {
			in.MinReplies = 1 + w.rng.IntN(3)
		}
		w.at(time.Duration(w.rng.IntN(100))*time.Millisecond, func() {
			if w.nodes[by].dead {
				return
			}
			ref := w.askFor(by, in)
			*calls = append(*calls, drawn{by, ref})
			if w.rng.IntN(5) == 0 {
				w.at(time.Duration(w.rng.IntN(30))*time.Millisecond, func() {
					w.nodes[by].step(func(out *proto.Out) { w.nodes[by].wave.Cancel(w.now, ref, out) })
				})
			}
		})
	}
	return calls
}

// drawFault arranges one fault within the first 100 ms.
func (w *world) drawFault() {
	when := time.Duration(w.rng.IntN(100_000)) * time.Microsecond
	i, j := w.rng.IntN(len(w.nodes)), w.rng.IntN(len(w.nodes))
	x, y := w.nodes[i], w.nodes[j]
	soon := func() time.Duration { return time.Duration(w.rng.IntN(1000)) * time.Millisecond }
	switch w.rng.IntN(9) {
	case 0:
		w.at(when, func() { w.crash(i) })
		if w.rng.IntN(2) == 0 {
			w.at(when+soon(), func() { w.certify(i, proto.StatusDown) })
		}
	case 1, 2:
		w.at(when, func() {
			if ids := w.linksOf(j); len(ids) > 0 {
				w.cut(ids[w.rng.IntN(len(ids))])
			}
		})
	case 3:
		w.at(when, func() {
			if i != j && !x.dead && !y.dead && linkTo(x.wave.links, y.id) == nil {
				w.link(i, j)
			}
		})
	case 4:
		x.stalled = true
		w.at(when, func() { x.paused = true })
		w.at(when+time.Duration(w.rng.IntN(4000))*time.Millisecond, func() { w.resume(i) })
	case 5:
		w.at(when, func() {
			ids := w.linksOf(j)
			if len(ids) == 0 {
				return
			}
			l := w.wires[ids[0]]
			for _, end := range []*node{l.a, l.b} {
				end.step(func(*proto.Out) { end.wave.NeighborDraining(ids[0]) })
			}
			w.at(time.Second, func() { w.cut(ids[0]) })
		})
	case 6: // certified down while it lives
		w.at(when, func() { w.certify(i, proto.StatusDown) })
		w.at(when+soon(), func() { w.comeBack(i) })
	case 7: // it leaves, and its process ends
		w.at(when, func() { x.step(func(*proto.Out) { x.wave.Leave() }) })
		w.at(when+50*time.Millisecond, func() { w.certify(i, proto.StatusLeft) })
		w.at(when+100*time.Millisecond, func() { w.crash(i) })
	case 8: // it crashes and comes back as another process
		w.at(when, func() { w.crash(i) })
		w.at(when+soon(), func() {
			n := w.add()
			n.handler = x.handler
			w.link(len(w.nodes)-1, j)
		})
	}
}

// Several calls at once do not hold each other up (M7): one whose targets hang
// leaves the others as quick as they are alone.
func TestCallsAtOnceDoNotHoldEachOtherUp(t *testing.T) {
	w := newWorld(t, 11, 12)
	w.regular(4)
	hang := w.nodes[3].id
	w.nodes[3].handler = func(d proto.Dispatch) (time.Duration, proto.Result) {
		if len(d.Request.Payload) > 0 {
			return -1, proto.Result{}
		}
		return 0, echoed(d)
	}
	var stuck, quick []uint64
	for range 20 {
		stuck = append(stuck, w.ask(0, proto.Selector{IDs: []peer.ID{hang}}, []byte("x"), 2*time.Second), w.ask(0, everybody, []byte("x"), 2*time.Second))
		quick = append(quick, w.ask(0, proto.Selector{IDs: []peer.ID{hang}}, nil, 2*time.Second), w.ask(0, everybody, nil, 2*time.Second))
	}
	w.run(60 * time.Millisecond)
	for _, ref := range quick {
		if got := count(w.settled(0, ref)); got[proto.Replied] != len(w.nodes[0].targets[ref]) {
			t.Fatalf("after 60 ms %v", got)
		}
	}
	w.run(3 * time.Second)
	for _, ref := range stuck {
		if got := w.settled(0, ref)[hang]; got.Verdict != proto.TimedOut {
			t.Fatalf("who hangs got %v", got.Verdict)
		}
	}
	w.quiet()
}
