package sim

import (
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// event is something that will happen. Frames are by far the most, so they are
// fields and not closures.
type event struct {
	at   time.Duration
	seq  uint64 // of scheduling: what is due at one moment happens in this order
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

// before orders events by time, then by when they were scheduled.
func (e *event) before(o *event) bool {
	if e.at != o.at {
		return e.at < o.at
	}
	return e.seq < o.seq
}

// heap is a binary heap of events by value: no allocation for each.
type heap []event

func (h *heap) push(e event) {
	*h = append(*h, e)
	s := *h
	i := len(s) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !e.before(&s[up]) {
			break
		}
		s[i] = s[up]
		i = up
	}
	s[i] = e
}

func (h *heap) pop() event {
	s := *h
	first := s[0]
	n := len(s) - 1
	e := s[n]
	s[n] = event{}
	*h = s[:n]
	if n == 0 {
		return first
	}
	i := 0
	for {
		down := 2*i + 1
		if down >= n {
			break
		}
		if r := down + 1; r < n && s[r].before(&s[down]) {
			down = r
		}
		if !s[down].before(&e) {
			break
		}
		s[i] = s[down]
		i = down
	}
	s[i] = e
	return first
}
