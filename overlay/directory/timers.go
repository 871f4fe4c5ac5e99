package directory

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
)

// timers says when to look at a node's inquiry and probe, the latest first.
// They are never taken back: who is woken for nothing looks and finds nothing.
type timers []timer

type timer struct {
	at time.Time
	id peer.ID
}

func (t *timers) push(at time.Time, id peer.ID) {
	i, _ := slices.BinarySearchFunc(*t, timer{at, id}, func(a, b timer) int {
		if c := b.at.Compare(a.at); c != 0 {
			return c
		}
		return b.id.Compare(a.id)
	})
	*t = slices.Insert(*t, i, timer{at, id})
}

// next is the earliest time, or zero.
func (t timers) next() time.Time {
	if len(t) == 0 {
		return time.Time{}
	}
	return t[len(t)-1].at
}

// pop takes out the earliest.
func (t *timers) pop() peer.ID {
	last := len(*t) - 1
	id := (*t)[last].id
	*t = (*t)[:last]
	return id
}
