package peer

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// entry is something that carries its ID.
type entry struct {
	id ID
	n  int
}

func (e *entry) ID() ID { return e.id }

func (e *entry) Group() uint8 { return e.id[4] % 4 * 80 }

// An index must behave like the map of what is in it, and range in the same order; heads that many share change nothing.
func TestAnIndexIsAMapOfWhatCarriesItsID(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x Index[*entry]
		var model Map[*entry]
		key := rapid.Custom(func(t *rapid.T) ID {
			return ID{rapid.ByteRange(0, 3).Draw(t, "head"), 4: rapid.ByteRange(0, 5).Draw(t, "tail")}
		})
		for n := range rapid.IntRange(0, 60).Draw(t, "steps") {
			id := key.Draw(t, "id")
			if rapid.Bool().Draw(t, "put") {
				e := &entry{id, n}
				x.Put(e)
				model.Put(id, e)
			} else if model.Delete(id) != x.Delete(id) {
				t.Fatalf("Delete(%v) told wrongly", id)
			}
			probe := key.Draw(t, "probe")
			is, has := x.Get(probe)
			if want, ok := model.Get(probe); is != want || has != ok || x.Has(probe) != ok {
				t.Fatalf("%v is %v, %v; want %v, %v", probe, is, has, want, ok)
			}
		}
		var groups [256]bool
		for _, g := range []uint8{0, 80, 160, 240} {
			groups[g] = rapid.Bool().Draw(t, "group")
		}
		var want []*entry
		for _, e := range model.All() {
			if groups[e.Group()] {
				want = append(want, e)
			}
		}
		if got := slices.Collect(x.Of(&groups)); !slices.Equal(got, want) {
			t.Fatalf("of the groups %v are %v, want %v", groups, got, want)
		}
		if x.Len() != model.Len() {
			t.Fatalf("len %d, want %d", x.Len(), model.Len())
		}
		all := slices.Collect(x.All())
		for i := range model.Len() {
			if _, want := model.At(i); x.At(i) != want || all[i] != want {
				t.Fatalf("number %d is %v, want %v", i, x.At(i), want)
			}
		}
	})
}
