package peer

import (
	"cmp"
	"encoding/binary"
	"iter"
	"slices"
	"sort"
)

// Named is what carries its ID in itself, and belongs to one of 256 groups.
type Named interface {
	ID() ID
	Group() uint8
}

// Index holds things that carry their ID, one of each, and ranges over them in
// the order of the IDs, always. It is a Map that keeps no IDs: of each only the
// first three bytes, and its group, so that to look is to search among these.
// The zero Index is empty and ready. What is in it must keep its ID and its
// group. It must not change while somebody ranges over it. Not safe for
// concurrent use.
type Index[V Named] struct {
	heads []head // in the order of the IDs
	vals  []V
}

// head is the beginning of an ID, and after it the group.
type head uint32

func headOf[V Named](v V) head { return beginning(v.ID()) | head(v.Group()) }

func beginning(id ID) head { return head(binary.BigEndian.Uint32(id[:])) &^ 0xff }

func (h head) group() uint8 { return uint8(h) }

// Len is how many it holds.
func (x *Index[V]) Len() int { return len(x.vals) }

// find is where id is, or belongs.
func (x *Index[V]) find(id ID) (int, bool) {
	begins := beginning(id)
	return sort.Find(len(x.heads), func(i int) int {
		if c := cmp.Compare(begins, x.heads[i]&^0xff); c != 0 {
			return c
		}
		return id.Compare(x.vals[i].ID())
	})
}

// Get returns what has this ID, and whether there is one.
func (x *Index[V]) Get(id ID) (V, bool) {
	if i, ok := x.find(id); ok {
		return x.vals[i], true
	}
	var none V
	return none, false
}

// Has tells whether there is one with this ID.
func (x *Index[V]) Has(id ID) bool {
	_, ok := x.find(id)
	return ok
}

// Put takes v in, in place of what has the same ID.
func (x *Index[V]) Put(v V) {
	i, ok := x.find(v.ID())
	if ok {
		x.vals[i] = v
		return
	}
	x.heads = slices.Insert(x.heads, i, headOf(v))
	x.vals = slices.Insert(x.vals, i, v)
}

// Delete takes out what has this ID and tells whether there was one.
func (x *Index[V]) Delete(id ID) bool {
	i, ok := x.find(id)
	if ok {
		x.heads = slices.Delete(x.heads, i, i+1)
		x.vals = slices.Delete(x.vals, i, i+1)
	}
	return ok
}

// At returns the i-th in the order of the IDs; it panics outside [0, Len).
func (x *Index[V]) At(i int) V { return x.vals[i] }

// All ranges over all, in the order of their IDs.
func (x *Index[V]) All() iter.Seq[V] { return slices.Values(x.vals) }

// Of ranges over those of some groups, in the order of their IDs. What is of
// another is not touched: of thousands, most is not in the processor's cache.
func (x *Index[V]) Of(groups *[256]bool) iter.Seq[V] {
	return func(yield func(V) bool) {
		for i, h := range x.heads {
			if groups[h.group()] && !yield(x.vals[i]) {
				return
			}
		}
	}
}
