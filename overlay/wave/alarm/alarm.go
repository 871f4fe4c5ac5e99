// Package alarm keeps many deadlines and knows the first. It has no clock: who
// owns a Queue asks it what is due now.
package alarm

import (
	"container/heap"
	"time"
)

// Alarm is the one pending deadline of its owner. The zero Alarm with Of set
// is ready, and not armed.
type Alarm[T any] struct {
	Of    T
	at    time.Time
	place int // in the queue, counted from 1; 0: not in it
}

// Queue holds the armed alarms. The zero Queue is empty and ready. Setting and
// taking cost the logarithm of their number. Not safe for concurrent use.
type Queue[T any] struct{ order order[T] }

// Len is how many alarms are armed.
func (q *Queue[T]) Len() int { return len(q.order) }

// First is the earliest deadline; zero if none is armed.
func (q *Queue[T]) First() time.Time {
	if len(q.order) == 0 {
		return time.Time{}
	}
	return q.order[0].at
}

// Due takes the first alarm that is due, and disarms it; nil if none is.
func (q *Queue[T]) Due(now time.Time) *Alarm[T] {
	if len(q.order) == 0 || q.order[0].at.After(now) {
		return nil
	}
	first := q.order[0]
	heap.Remove(&q.order, 0)
	return first
}

// Set arms an alarm, moves it, or with zero disarms it.
func (q *Queue[T]) Set(a *Alarm[T], at time.Time) {
	switch {
	case at.IsZero():
		if a.place > 0 {
			heap.Remove(&q.order, a.place-1)
		}
	case a.place == 0:
		a.at = at
		heap.Push(&q.order, a)
	case !a.at.Equal(at):
		a.at = at
		heap.Fix(&q.order, a.place-1)
	}
}

// order is the heap.
type order[T any] []*Alarm[T]

func (o order[T]) Len() int           { return len(o) }
func (o order[T]) Less(i, j int) bool { return o[i].at.Before(o[j].at) }
func (o order[T]) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].place, o[j].place = i+1, j+1
}

func (o *order[T]) Push(x any) {
	a, ok := x.(*Alarm[T])
	if !ok {
		panic("alarm: only alarms are in the heap of alarms")
	}
	*o = append(*o, a)
	a.place = len(*o)
}

func (o *order[T]) Pop() any {
	last := len(*o) - 1
	a := (*o)[last]
	(*o)[last] = nil
	*o = (*o)[:last]
	a.place = 0
	return a
}
