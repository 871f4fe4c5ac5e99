// Package agenda holds what will happen in a simulated world, in the order in
// which it does. It knows no world, and makes nothing happen.
package agenda

import "time"

// Agenda is the things to come. It orders their times, by a heap of four
// branches, and the things stay where they are meanwhile: nothing is allocated
// for each. The zero Agenda is empty and ready. Not safe for concurrent use.
type Agenda[T any] struct {
	heap []turn
	seq  uint64
	kept []T
	free []uint32 // places in kept
}

// turn is when a thing happens: what is due at one moment happens in the order
// in which it was put in.
type turn struct {
	at    time.Duration
	seq   uint64
	place uint32 // in kept
}

func (t *turn) before(o *turn) bool {
	return t.at < o.at || t.at == o.at && t.seq < o.seq
}

// Next is when the first thing is due, and whether there is one.
func (a *Agenda[T]) Next() (time.Duration, bool) {
	if len(a.heap) == 0 {
		return 0, false
	}
	return a.heap[0].at, true
}

// Push puts a thing in.
func (a *Agenda[T]) Push(at time.Duration, thing T) {
	a.seq++
	t := turn{at: at, seq: a.seq, place: uint32(len(a.kept))}
	if n := len(a.free); n > 0 {
		t.place, a.free = a.free[n-1], a.free[:n-1]
		a.kept[t.place] = thing
	} else {
		a.kept = append(a.kept, thing)
	}
	a.heap = append(a.heap, t)
	s := a.heap
	i := len(s) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !t.before(&s[up]) {
			break
		}
		s[i] = s[up]
		i = up
	}
	s[i] = t
}

// Pop takes out the first thing. There must be one.
func (a *Agenda[T]) Pop() T {
	s := a.heap
	first, last := s[0].place, s[len(s)-1]
	s = s[:len(s)-1]
	a.heap = s
	for i := 0; len(s) > 0; {
		down := 4*i + 1
		for k, end := down+1, min(down+4, len(s)); k < end; k++ {
			if s[k].before(&s[down]) {
				down = k
			}
		}
		if down >= len(s) || !s[down].before(&last) {
			s[i] = last
			break
		}
		s[i] = s[down]
		i = down
	}
	thing := a.kept[first]
	var none T
	a.kept[first] = none
	a.free = append(a.free, first)
	return thing
}
