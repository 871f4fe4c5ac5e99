package wave

import (
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

func TestWhoAsksEverybodyAgainAndAgainAsksInAStar(t *testing.T) {
	const n = 40
	w := newWorld(t, 11, n)
	w.regular(5)
	for range 12 {
		ref := w.ask(0, everybody, []byte("x"), time.Second)
		w.run(50 * time.Millisecond)
		if got := count(w.settled(0, ref)); got[proto.Replied] != n {
			t.Fatalf("verdicts %v", got)
		}
	}
	if w.sent["KeepOpen"] == 0 || w.sent["KeepOpen"] > n {
		t.Fatalf("%d links asked for, want at most one to each", w.sent["KeepOpen"])
	}
	clear(w.sent)
	ref := w.ask(0, everybody, []byte("x"), time.Second)
	w.run(50 * time.Millisecond)
	if got := count(w.settled(0, ref)); got[proto.Replied] != n {
		t.Fatalf("verdicts %v", got)
	}
	if w.sent["Call"] != n-1 || w.sent["Echo"] != n-1 || w.sent["Took"] != 0 || w.sent["KeepOpen"] != 0 {
		t.Fatalf("messages %v, want %d Call and %d Echo", w.sent, n-1, n-1)
	}
}

func TestWhoAsksNowAndThenKeepsToItsFewLinks(t *testing.T) {
	w := newWorld(t, 12, 40)
	w.regular(5)
	for range 20 {
		ref := w.ask(0, everybody, nil, time.Second)
		w.run(4 * time.Second)
		w.settled(0, ref)
	}
	if w.sent["KeepOpen"] != 0 {
		t.Fatalf("%d links asked for by a caller that asks every 4 s", w.sent["KeepOpen"])
	}
}

func TestALargeClusterIsNeverAskedInAStarOverPooledLinks(t *testing.T) {
	w := newWorld(t, 13, 150)
	w.regular(5)
	for range 8 {
		ref := w.ask(0, everybody, nil, time.Second)
		w.run(100 * time.Millisecond)
		w.settled(0, ref)
	}
	if w.sent["KeepOpen"] != 0 {
		t.Fatal("links were asked for beyond StarMax")
	}
}

// A star over pooled links keeps the promises of a wave: crashes, breaks and
// pauses leave one true verdict each, and who can be reached is.
func TestFaultsUnderAStarOverPooledLinksLeaveOneTrueVerdictEach(t *testing.T) {
	widened := uint64(0)
	for seed := range uint64(300) {
		w := newWorld(t, seed, 14)
		w.regular(4)
		for i := 1; i < 14; i++ {
			w.pool(w.nodes[0], w.nodes[i])
		}
		for range 1 + w.rng.IntN(4) {
			w.drawFault()
		}
		ref := w.ask(0, everybody, nil, 2*time.Second)
		if got := w.nodes[0].wave.Stats().Stars; got != 1 {
			t.Fatalf("seed %d: it was no star", seed)
		}
		w.run(5 * time.Second)
		w.settled(0, ref)
		widened += w.nodes[0].wave.Stats().StarsWidened
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if widened == 0 {
		t.Error("no star became a wave: these faults do not test it")
	}
}
