package peer

import (
	"iter"
	"slices"
)

// Map maps IDs to values and ranges over them in the order of the IDs, always.
// The zero Map is empty and ready. It must not change while somebody ranges
// over it, except that Delete of the key just yielded is not allowed either:
// collect first, then change. Not safe for concurrent use.
//
// Reading costs a binary search, writing a new key moves the keys behind it:
// right for views (tens) and good enough for a directory (tens of thousands).
type Map[V any] struct {
	keys []ID
	vals []V
}

// Len is the number of entries.
func (m *Map[V]) Len() int { return len(m.keys) }

func (m *Map[V]) find(id ID) (int, bool) {
	return slices.BinarySearchFunc(m.keys, id, ID.Compare)
}

// Get returns the value of id and whether there is one.
func (m *Map[V]) Get(id ID) (V, bool) {
	if i, ok := m.find(id); ok {
		return m.vals[i], true
	}
	var none V
	return none, false
}

// Has tells whether id has a value.
func (m *Map[V]) Has(id ID) bool {
	_, ok := m.find(id)
	return ok
}

// Put sets the value of id.
func (m *Map[V]) Put(id ID, v V) {
	i, ok := m.find(id)
	if ok {
		m.vals[i] = v
		return
	}
	m.keys = slices.Insert(m.keys, i, id)
	m.vals = slices.Insert(m.vals, i, v)
}

// Delete removes id and tells whether it was there.
func (m *Map[V]) Delete(id ID) bool {
	i, ok := m.find(id)
	if ok {
		m.keys = slices.Delete(m.keys, i, i+1)
		m.vals = slices.Delete(m.vals, i, i+1)
	}
	return ok
}

// DeleteFunc removes the entries for which gone is true.
func (m *Map[V]) DeleteFunc(gone func(ID, V) bool) {
	kept := 0
	for i, id := range m.keys {
		if !gone(id, m.vals[i]) {
			m.keys[kept], m.vals[kept] = id, m.vals[i]
			kept++
		}
	}
	clear(m.vals[kept:])
	m.keys, m.vals = m.keys[:kept], m.vals[:kept]
}

// At returns the i-th entry in the order of the IDs; it panics outside
// [0, Len). With a random index it draws a random entry.
func (m *Map[V]) At(i int) (ID, V) { return m.keys[i], m.vals[i] }

// All ranges over the entries in the order of their IDs.
func (m *Map[V]) All() iter.Seq2[ID, V] {
	return func(yield func(ID, V) bool) {
		for i, id := range m.keys {
			if !yield(id, m.vals[i]) {
				return
			}
		}
	}
}

// Keys returns a copy of the IDs in order: safe to change the map by.
func (m *Map[V]) Keys() []ID { return slices.Clone(m.keys) }

// Clone returns a map of its own with the same values (copied shallowly).
func (m *Map[V]) Clone() Map[V] {
	return Map[V]{keys: slices.Clone(m.keys), vals: slices.Clone(m.vals)}
}

// Clear removes everything.
func (m *Map[V]) Clear() {
	clear(m.vals)
	m.keys, m.vals = m.keys[:0], m.vals[:0]
}

// Set is a set of IDs that ranges in their order. The zero Set is empty.
type Set struct{ m Map[struct{}] }

// NewSet makes a set of the given IDs.
func NewSet(ids ...ID) Set {
	var s Set
	for _, id := range ids {
		s.Add(id)
	}
	return s
}

// Add puts id in and tells whether it is new.
func (s *Set) Add(id ID) bool {
	if s.m.Has(id) {
		return false
	}
	s.m.Put(id, struct{}{})
	return true
}

// Remove takes id out and tells whether it was in.
func (s *Set) Remove(id ID) bool { return s.m.Delete(id) }

// Has tells whether id is in.
func (s *Set) Has(id ID) bool { return s.m.Has(id) }

// Len is the number of IDs.
func (s *Set) Len() int { return s.m.Len() }

// IDs returns a copy, in order.
func (s *Set) IDs() []ID { return s.m.Keys() }

// Clone returns a set of its own.
func (s *Set) Clone() Set { return Set{m: s.m.Clone()} }
