package wave

import (
	"bytes"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

var everybody proto.Selector

func TestAStarCostsTwoMessagesPerNeighbour(t *testing.T) {
	w := newWorld(t, 1, 5)
	w.mesh()
	ref := w.ask(0, everybody, []byte("hi"), time.Second)
	w.run(10 * time.Millisecond)
	got := count(w.settled(0, ref))
	if got[proto.Replied] != 5 {
		t.Fatalf("verdicts %v, want 5 replied", got)
	}
	if w.sent["Call"] != 4 || w.sent["Echo"] != 4 || w.sent["Took"] != 0 {
		t.Fatalf("messages %v, want 4 Call and 4 Echo", w.sent)
	}
}

func TestAWaveWithoutFaultsNeverSaysSeenAndCostsAtMostTwoPerEdgeAndOnePerNode(t *testing.T) {
	for _, n := range []int{10, 64, 300} {
		w := newWorld(t, uint64(n), n)
		edges := w.regular(5)
		start := w.now
		ref := w.ask(0, everybody, []byte("hi"), time.Second)
		w.run(time.Second)
		got := count(w.settled(0, ref))
		if got[proto.Replied] != n {
			t.Fatalf("N=%d: verdicts %v", n, got)
		}
		if w.sent["Seen"] != 0 || w.sent["Ask"] != 0 {
			t.Errorf("N=%d: %v in a graph that does not change", n, w.sent)
		}
		spent := w.sent["Call"] + w.sent["Took"] + w.sent["Echo"]
		t.Logf("N=%d: %d edges, %v, last verdict after %v", n, edges, w.sent, w.nodes[0].done[ref].Sub(start))
		if spent > 2*edges+2*n {
			t.Errorf("N=%d: %d messages, want at most %d", n, spent, 2*edges+2*n)
		}
	}
}

func TestANodeThatHangsIsTimedOutAndTheOthersAreNotHeldUp(t *testing.T) {
	w := newWorld(t, 3, 32)
	w.regular(5)
	w.nodes[7].handler = func(proto.Dispatch) (time.Duration, proto.Result) { return -1, proto.Result{} }
	ref := w.ask(0, everybody, nil, time.Second)
	w.run(100 * time.Millisecond)
	if got := count(w.nodes[0].verdicts[ref]); got[proto.Replied] != 31 {
		t.Fatalf("after 100 ms %v, want 31 replied", got)
	}
	w.run(2 * time.Second)
	got := w.settled(0, ref)
	if v := got[w.nodes[7].id]; v.Verdict != proto.TimedOut || v.Executed != proto.ExecutedMaybe || v.Stage < proto.StageReceived {
		t.Fatalf("the hung node got %v %v %v", v.Verdict, v.Executed, v.Stage)
	}
}

func TestACrashedNodeIsToldAndNobodyElseIsLost(t *testing.T) {
	for seed := range uint64(50) {
		w := newWorld(t, seed, 24)
		w.regular(5)
		ref := w.ask(0, everybody, nil, 2*time.Second)
		w.at(time.Duration(w.rng.IntN(3000))*time.Microsecond, func() { w.crash(9) })
		w.at(1200*time.Millisecond, func() { w.certify(9, proto.StatusDown) })
		w.run(5 * time.Second)
		got := w.settled(0, ref)
		c := count(got)
		if c[proto.Replied] < 23 {
			t.Fatalf("seed %d: %v, want at least 23 replied", seed, c)
		}
	}
}

func TestACallerThatIsCutOffGetsAVerdictForEverybody(t *testing.T) {
	w := newWorld(t, 5, 8)
	ref := w.ask(0, everybody, nil, 3*time.Second)
	for i := 1; i < 8; i++ {
		w.nodes[i].paused = true // a dial reaches nobody
	}
	w.run(4 * time.Second)
	got := w.settled(0, ref)
	for i := 1; i < 8; i++ {
		if v := got[w.nodes[i].id]; v.Verdict != proto.Unreachable || v.Executed != proto.ExecutedNo {
			t.Errorf("node %d got %v, executed %v: %s", i, v.Verdict, v.Executed, v.Reason)
		}
	}
}

func TestAFewOfManyAreAskedDirectly(t *testing.T) {
	w := newWorld(t, 6, 40)
	w.regular(5)
	ids := []peer.ID{w.nodes[3].id, w.nodes[30].id, w.nodes[0].id}
	ref := w.ask(0, proto.Selector{IDs: ids}, []byte("x"), time.Second)
	w.run(100 * time.Millisecond)
	if got := count(w.settled(0, ref)); got[proto.Replied] != 3 {
		t.Fatalf("verdicts %v", got)
	}
	if w.sent["Call"] != 0 {
		t.Fatalf("a wave was sent: %v", w.sent)
	}
}

func TestLargeRequestsAndRepliesArriveWhole(t *testing.T) {
	w := newWorld(t, 7, 40)
	w.regular(5)
	payload := bytes.Repeat([]byte("starling"), 4096)
	ref := w.ask(0, everybody, payload, 5*time.Second)
	w.run(5 * time.Second)
	got := w.settled(0, ref)
	for id, v := range got {
		if v.Verdict != proto.Replied || !bytes.Equal(v.Result.Payload, payload) {
			t.Fatalf("%v: %v with %d bytes: %s", id.Short(), v.Verdict, len(v.Result.Payload), v.Reason)
		}
	}
}

func TestAStarWithABrokenLinkGoesTheWayRound(t *testing.T) {
	w := newWorld(t, 8, 4)
	w.mesh()
	cut := w.linksOf(0)[0]
	ref := w.ask(0, everybody, nil, 2*time.Second)
	w.cut(cut)
	w.run(3 * time.Second)
	if got := count(w.settled(0, ref)); got[proto.Replied] != 4 {
		t.Fatalf("verdicts %v, want 4 replied: %v", got, w.sent)
	}
}

func TestCancelReachesEverybodyAndEndsTheCall(t *testing.T) {
	w := newWorld(t, 9, 20)
	w.regular(4)
	for _, n := range w.nodes {
		n.handler = func(proto.Dispatch) (time.Duration, proto.Result) { return -1, proto.Result{} }
	}
	ref := w.ask(0, everybody, nil, 30*time.Second)
	w.run(50 * time.Millisecond)
	n := w.nodes[0]
	n.step(func(out *proto.Out) { n.wave.Cancel(w.now, ref, out) })
	w.run(50 * time.Millisecond)
	got := count(w.settled(0, ref))
	if got[proto.Abandoned] != 20 {
		t.Fatalf("verdicts %v", got)
	}
	for i, x := range w.nodes {
		if x.wave.openCalls != 0 {
			t.Errorf("node %d still holds the call open", i)
		}
	}
}
