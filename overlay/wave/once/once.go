// Package once counts calls so that none runs twice: a Sequence numbers them
// at their caller, a Window remembers at each node which numbers were seen. It
// knows no node, no call and no time.
package once

import (
	"iter"
	"slices"
)

// Sequence gives out numbers from 1 on and knows the oldest still open. The
// zero Sequence is ready; After makes one that counts on.
type Sequence struct {
	last uint64
	open []uint64 // ascending
}

// After is a sequence whose first number is the one behind last.
func After(last uint64) *Sequence { return &Sequence{last: last} }

// Next gives out a number; it is open until Close.
func (s *Sequence) Next() uint64 {
	s.last++
	s.open = append(s.open, s.last)
	return s.last
}

// Close ends a number.
func (s *Sequence) Close(n uint64) {
	if i, ok := slices.BinarySearch(s.open, n); ok {
		s.open = slices.Delete(s.open, i, i+1)
	}
}

// Oldest is the lowest open number, or the one that comes next if none is open.
func (s *Sequence) Oldest() uint64 {
	if len(s.open) > 0 {
		return s.open[0]
	}
	return s.last + 1
}

// Last is the number given out last.
func (s *Sequence) Last() uint64 { return s.last }

// Open is how many numbers are open.
func (s *Sequence) Open() int { return len(s.open) }

// Window remembers which numbers of one sequence were seen. Dense numbers cost
// two words however many they are. Below the floor everything counts as seen.
type Window struct {
	floor uint64 // the first that may be fresh
	seen  []span // ascending, disjoint, not adjacent, all at or above floor
}

// span is from..to, both included.
type span struct{ from, to uint64 }

const (
	// spansMax bounds the memory of a window: beyond it the floor rises.
	spansMax = 2048
	// jump is how far a number may run ahead of the floor.
	jump = 65536
)

// Above is a window that has seen nothing and takes what is below floor as seen.
func Above(floor uint64) Window { return Window{floor: floor} }

// Below ranges over the numbers that were seen at or above the floor and below
// oldest: those that Raise will forget.
func (w *Window) Below(oldest uint64) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for _, s := range w.seen {
			for n := s.from; n <= s.to && n < oldest; n++ {
				if !yield(n) {
					return
				}
			}
		}
	}
}

// Raise moves the floor up to the caller's oldest open number.
func (w *Window) Raise(oldest uint64) {
	if oldest <= w.floor {
		return
	}
	w.floor = oldest
	cut := 0
	for cut < len(w.seen) && w.seen[cut].to < oldest {
		cut++
	}
	w.seen = slices.Delete(w.seen, 0, cut)
	if len(w.seen) > 0 && w.seen[0].from < oldest {
		w.seen[0].from = oldest
	}
}

// Jumps tells whether a number runs too far ahead.
func (w *Window) Jumps(n uint64) bool { return n > w.floor+jump }

// Spans is how many spans the window holds.
func (w *Window) Spans() int { return len(w.seen) }

// Has tells whether a number was seen.
func (w *Window) Has(n uint64) bool {
	_, ok := w.find(n)
	return ok || n < w.floor
}

// find returns the span that holds n, or else where one would stand.
func (w *Window) find(n uint64) (int, bool) {
	return slices.BinarySearchFunc(w.seen, n, func(s span, n uint64) int {
		switch {
		case s.to < n:
			return -1
		case s.from > n:
			return 1
		}
		return 0
	})
}

// Mark counts a number as seen from now on.
func (w *Window) Mark(n uint64) {
	i, ok := w.find(n)
	if ok || n < w.floor {
		return
	}
	joinsLeft := i > 0 && w.seen[i-1].to+1 == n
	joinsRight := i < len(w.seen) && w.seen[i].from == n+1
	switch {
	case joinsLeft && joinsRight:
		w.seen[i-1].to = w.seen[i].to
		w.seen = slices.Delete(w.seen, i, i+1)
	case joinsLeft:
		w.seen[i-1].to = n
	case joinsRight:
		w.seen[i].from = n
	default:
		w.seen = slices.Insert(w.seen, i, span{n, n})
	}
	if len(w.seen) > spansMax {
		w.Raise(w.seen[0].to + 1)
	}
}
