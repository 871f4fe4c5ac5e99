package agenda

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestThingsComeInTheOrderOfTheirTimesAndThenAsTheyWerePutIn(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var a Agenda[int]
		var want []turn // sorted
		things := 0
		grow := rapid.IntRange(0, 200).Draw(rt, "things at first")
		for i, push := range rapid.SliceOfN(rapid.Bool(), 400, 400).Draw(rt, "push, or pop") {
			if push || i < grow {
				things++
				one := turn{at: time.Duration(rapid.IntRange(0, 1000).Draw(rt, "at")), seq: uint64(things)}
				a.Push(one.at, things)
				i, _ := slices.BinarySearchFunc(want, one, func(a, b turn) int {
					if a.before(&b) {
						return -1
					}
					return 1
				})
				want = slices.Insert(want, i, one)
				continue
			}
			at, ok := a.Next()
			if ok != (len(want) > 0) {
				rt.Fatalf("something is next: %v, and %d things did not come yet", ok, len(want))
			}
			if !ok {
				continue
			}
			if thing := a.Pop(); uint64(thing) != want[0].seq || at != want[0].at {
				rt.Fatalf("thing %d comes, told for %d, and it is the turn of %d at %d", thing, at, want[0].seq, want[0].at)
			}
			want = want[1:]
		}
		if len(a.heap)+len(a.free) != len(a.kept) {
			rt.Fatalf("%d things wait, %d places are free, and there are %d", len(a.heap), len(a.free), len(a.kept))
		}
	})
}
