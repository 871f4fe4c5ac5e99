package plumtree

import (
	"container/heap"
	"time"
)

// schedule is the windows as a heap by their next timer.
type schedule []scheduled

// scheduled is a window and its next: beside it, because to compare must not
// fetch windows.
type scheduled struct {
	at     time.Time
	window *window
}

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].at.Before(s[j].at) }
func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].window.place, s[j].window.place = int32(i), int32(j)
}

// Push is for package heap.
func (s *schedule) Push(x any) {
	w, ok := x.(*window)
	mustHold(ok, "only windows are scheduled")
	w.place = int32(len(*s))
	*s = append(*s, scheduled{w.next, w})
}

// Pop is for package heap.
func (s *schedule) Pop() any {
	old := *s
	w := old[len(old)-1].window
	old[len(old)-1] = scheduled{}
	*s = old[:len(old)-1]
	w.place = -1
	return w
}

// reschedule puts a window that has changed where its earliest timer belongs.
func (t *Tree) reschedule(w *window) {
	w.rest()
	next := t.deadline(w)
	switch {
	case w.place < 0:
		w.next = next
		heap.Push(&t.due, w)
	case !next.Equal(w.next):
		w.next = next
		t.due[w.place].at = next
		heap.Fix(&t.due, int(w.place))
	}
	t.checkStart(w, checkMost)
}

func (t *Tree) unschedule(w *window) { heap.Remove(&t.due, int(w.place)) }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
