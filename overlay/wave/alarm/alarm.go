// Package alarm keeps many deadlines and knows the first. It has no clock: who
// owns a Queue asks it what is due now.
package alarm

import "time"

// Alarm is the one pending deadline of its owner. The zero Alarm with Of set
// is ready, and not armed.
type Alarm[T any] struct {
	Of    T
	place int // in the queue, counted from 1; 0: not in it
}

// Queue holds the armed alarms. The zero Queue is empty and ready. Setting and
// taking cost the logarithm of their number. Not safe for concurrent use.
type Queue[T any] struct{ heap []slot[T] }

// slot has the deadline in itself: to order alarms is not to look at them.
type slot[T any] struct {
	at    time.Time
	alarm *Alarm[T]
}

// Len is how many alarms are armed.
func (q *Queue[T]) Len() int { return len(q.heap) }

// First is the earliest deadline; zero if none is armed.
func (q *Queue[T]) First() time.Time {
	if len(q.heap) == 0 {
		return time.Time{}
	}
	return q.heap[0].at
}

// Due takes the first alarm that is due, and disarms it; nil if none is.
func (q *Queue[T]) Due(now time.Time) *Alarm[T] {
	if len(q.heap) == 0 || q.heap[0].at.After(now) {
		return nil
	}
	first := q.heap[0].alarm
	q.disarm(first)
	return first
}

// Set arms an alarm, moves it, or with zero disarms it.
func (q *Queue[T]) Set(a *Alarm[T], at time.Time) {
	switch {
	case at.IsZero():
		if a.place > 0 {
			q.disarm(a)
		}
	case a.place == 0:
		q.heap = append(q.heap, slot[T]{})
		q.settle(len(q.heap)-1, slot[T]{at, a})
	case !q.heap[a.place-1].at.Equal(at):
		q.settle(a.place-1, slot[T]{at, a})
	}
}

// disarm takes an alarm out; the last of the heap settles in its place.
func (q *Queue[T]) disarm(a *Alarm[T]) {
	last := len(q.heap) - 1
	s := q.heap[last]
	q.heap[last] = slot[T]{}
	q.heap = q.heap[:last]
	if s.alarm != a {
		q.settle(a.place-1, s)
	}
	a.place = 0
}

// settle puts s where it belongs: at i, above what is later or below what is
// earlier, which makes room for it.
func (q *Queue[T]) settle(i int, s slot[T]) {
	for i > 0 && s.at.Before(q.heap[(i-1)/2].at) {
		q.put(i, q.heap[(i-1)/2])
		i = (i - 1) / 2
	}
	for {
		child := 2*i + 1
		if child+1 < len(q.heap) && q.heap[child+1].at.Before(q.heap[child].at) {
			child++
		}
		if child >= len(q.heap) || !q.heap[child].at.Before(s.at) {
			break
		}
		q.put(i, q.heap[child])
		i = child
	}
	q.put(i, s)
}

func (q *Queue[T]) put(i int, s slot[T]) {
	q.heap[i] = s
	s.alarm.place = i + 1
}
