package sim

import (
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// event is something that will happen. Frames are by far the most, so they are
// fields and not closures.
type event struct {
	at   time.Duration
	kind eventKind
	side uint8  // of conn: who it happens to
	n    uint64 // size of a frame, number of a wake-up
	conn *conn
	node *Node
	msg  proto.Message
	do   func()
}

type eventKind uint8

const (
	eventDo    eventKind = iota // call do
	eventFrame                  // msg arrives at an end of conn
	eventWake                   // node's deadline
)

// agenda is the events to come. It orders times, by a heap of four branches,
// and the events stay where they are meanwhile: no allocation for each.
type agenda struct {
	heap []turn
	kept []event
	free []uint32 // places in kept
}

// turn is when an event happens: what is due at one moment happens in the order
// in which it was scheduled.
type turn struct {
	at    time.Duration
	seq   uint64
	place uint32 // in kept
}

func (t *turn) before(o *turn) bool {
	return t.at < o.at || t.at == o.at && t.seq < o.seq
}

// next is when the first one is due, if there is one.
func (a *agenda) next() (time.Duration, bool) {
	if len(a.heap) == 0 {
		return 0, false
	}
	return a.heap[0].at, true
}

func (a *agenda) push(seq uint64, e event) {
	t := turn{at: e.at, seq: seq, place: uint32(len(a.kept))}
	if n := len(a.free); n > 0 {
		t.place, a.free = a.free[n-1], a.free[:n-1]
		a.kept[t.place] = e
	} else {
		a.kept = append(a.kept, e)
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

// pop takes out the first; there must be one.
func (a *agenda) pop() event {
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
	e := a.kept[first]
	a.kept[first] = event{}
	a.free = append(a.free, first)
	return e
}
