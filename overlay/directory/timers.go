package directory

import (
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
)

// timers is a binary heap of when to look at a node's inquiry and probe. Times
// are never taken out early: who is woken for nothing looks and finds nothing.
type timers []timer

type timer struct {
	at time.Time
	id peer.ID
}

func (h timers) less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].id.Less(h[j].id)
}

func (h timers) due(now time.Time) bool { return len(h) > 0 && !now.Before(h[0].at) }

// next is the earliest time, or zero.
func (h timers) next() time.Time {
	if len(h) == 0 {
		return time.Time{}
	}
	return h[0].at
}

func (h *timers) push(at time.Time, id peer.ID) {
	*h = append(*h, timer{at, id})
	list := *h
	for i := len(list) - 1; i > 0; {
		parent := (i - 1) / 2
		if !list.less(i, parent) {
			return
		}
		list[i], list[parent] = list[parent], list[i]
		i = parent
	}
}

func (h *timers) pop() peer.ID {
	list := *h
	id := list[0].id
	n := len(list) - 1
	list[0] = list[n]
	list = list[:n]
	for i := 0; ; {
		child := 2*i + 1
		if child >= n {
			break
		}
		if child+1 < n && list.less(child+1, child) {
			child++
		}
		if !list.less(child, i) {
			break
		}
		list[i], list[child] = list[child], list[i]
		i = child
	}
	*h = list
	return id
}
