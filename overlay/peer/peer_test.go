package peer

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestAnIDReadsBackAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var id ID
		copy(id[:], rapid.SliceOfN(rapid.Byte(), IDLen, IDLen).Draw(t, "id"))
		got, err := Parse(id.String())
		if err != nil || got != id {
			t.Fatalf("Parse(%q) = %v, %v", id.String(), got, err)
		}
	})
}

func TestAnIDThatIsNotOneIsRefusedInWords(t *testing.T) {
	for _, text := range []string{"", "ab", "zz" + ID{}.String()[2:], ID{}.String() + "00"} {
		if _, err := Parse(text); err == nil {
			t.Errorf("Parse(%q) gave no error", text)
		}
	}
}

// The map must behave like Go's map, and range in order.
func TestAMapIsAMapInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m Map[int]
		model := map[ID]int{}
		key := rapid.Custom(func(t *rapid.T) ID { return ID{rapid.ByteRange(0, 20).Draw(t, "key")} })
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			id := key.Draw(t, "id")
			if rapid.Bool().Draw(t, "put") {
				v := rapid.Int().Draw(t, "v")
				m.Put(id, v)
				model[id] = v
			} else {
				_, had := model[id]
				if m.Delete(id) != had {
					t.Fatalf("Delete(%v) told wrongly", id)
				}
				delete(model, id)
			}
		}
		if m.Len() != len(model) {
			t.Fatalf("len %d, want %d", m.Len(), len(model))
		}
		if !slices.IsSortedFunc(m.Keys(), ID.Compare) {
			t.Fatal("not in order")
		}
		for id, v := range m.All() {
			if model[id] != v {
				t.Fatalf("%v = %d, want %d", id, v, model[id])
			}
		}
	})
}

func TestASetTellsWhatIsNew(t *testing.T) {
	a, b := ID{1}, ID{2}
	s := NewSet(b)
	if !s.Add(a) || s.Add(a) || s.Len() != 2 || !slices.Equal(s.IDs(), []ID{a, b}) {
		t.Fatalf("set is %v", s.IDs())
	}
	other := s.Clone()
	if !s.Remove(a) || s.Has(a) || !other.Has(a) {
		t.Fatal("a clone must not follow the original")
	}
}
