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
	s[i].place, s[j].place = int32(i), int32(j)
}

// Push is for package heap.
func (s *schedule) Push(x any) {
	w, ok := x.(*window)
	mustHold(ok, "only windows are scheduled")
	w.place = int32(len(*s))
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
	w.rest()
	w.next = t.deadline(w)
	if w.place < 0 {
		heap.Push(&t.due, w)
		return
	}
	heap.Fix(&t.due, int(w.place))
}

func (t *Tree) unschedule(w *window) { heap.Remove(&t.due, int(w.place)) }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
