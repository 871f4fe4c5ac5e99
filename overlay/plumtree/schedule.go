package plumtree

import (
	"container/heap"
	"time"
)

// schedule is the windows as a heap by their next timer.
type schedule []*window

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].next.Before(s[j].next) }
func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].place, s[j].place = i, j
}

// Push is for package heap.
func (s *schedule) Push(x any) {
	w, ok := x.(*window)
	mustHold(ok, "only windows are scheduled")
	w.place = len(*s)
	*s = append(*s, w)
}

// Pop is for package heap.
func (s *schedule) Pop() any {
	old := *s
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*s = old[:len(old)-1]
	w.place = -1
	return w
}

// reschedule puts a window where its earliest timer belongs.
func (t *Tree) reschedule(w *window) {
	w.next = t.deadline(w)
	if w.place < 0 {
		heap.Push(&t.due, w)
		return
	}
	heap.Fix(&t.due, w.place)
}

func (t *Tree) unschedule(w *window) { heap.Remove(&t.due, w.place) }

// due tells whether a timer that is set has come.
func due(now, at time.Time) bool { return !at.IsZero() && !now.Before(at) }

// earlier is the earlier of two timers, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// sooner is the earlier of two times, both set.
func sooner(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
