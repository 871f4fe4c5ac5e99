package sim

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestEventsHappenInTheOrderOfTheirTimesAndThenOfTheirScheduling(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var a agenda
		var want []turn // sorted
		seq := uint64(0)
		for _, push := range rapid.SliceOfN(rapid.Bool(), 1, 200).Draw(rt, "push, or pop") {
			if push {
				seq++
				at := time.Duration(rapid.IntRange(0, 20).Draw(rt, "at"))
				a.push(seq, event{at: at, n: seq})
				i, _ := slices.BinarySearchFunc(want, turn{at: at, seq: seq}, func(a, b turn) int {
					if a.before(&b) {
						return -1
					}
					return 1
				})
				want = slices.Insert(want, i, turn{at: at, seq: seq})
				continue
			}
			at, ok := a.next()
			if ok != (len(want) > 0) {
				rt.Fatalf("an event is next: %v, and %d were scheduled and did not happen", ok, len(want))
			}
			if !ok {
				continue
			}
			if e := a.pop(); e.n != want[0].seq || e.at != want[0].at || e.at != at {
				rt.Fatalf("event %d at %d happens, and it is the turn of %d at %d", e.n, e.at, want[0].seq, want[0].at)
			}
			want = want[1:]
		}
		if len(a.heap)+len(a.free) != len(a.kept) {
			rt.Fatalf("%d events wait, %d places are free, and there are %d", len(a.heap), len(a.free), len(a.kept))
		}
	})
}
