package agenda

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestThingsComeInTheOrderOfTheirTimesAndThenAsTheyWerePutIn(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var a Agenda[turn]
		now, put, come := time.Duration(0), 0, []turn{}
		for range 3000 { // hundreds at a time: the heap must branch as in a large world
			for range rng.IntN(4) {
				put++
				one := turn{at: now + time.Duration(rng.IntN(1000)), seq: uint64(put)}
				a.Push(one.at, one)
			}
			if at, ok := a.Next(); ok {
				come, now = append(come, a.Pop()), at
			}
		}
		for _, ok := a.Next(); ok; _, ok = a.Next() {
			come = append(come, a.Pop())
		}
		if len(come) != put || len(a.free) != len(a.kept) || len(a.kept) < 200 {
			t.Fatalf("seed %d: %d of %d things came; of %d places %d are free", seed, len(come), put, len(a.kept), len(a.free))
		}
		if !slices.IsSortedFunc(come, func(a, b turn) int {
			if a.at < b.at || a.at == b.at && a.seq < b.seq {
				return -1
			}
			return 1
		}) {
			t.Fatalf("seed %d: things came in another order than that of their times", seed)
		}
	}
}
