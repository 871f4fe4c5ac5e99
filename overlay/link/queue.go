package link

import (
	"slices"

	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/wire"
)

// class is the urgency of a message on its way out.
type class uint8

const (
	control class = iota // never waits behind anything
	echo                 // PART and ECHO: one after another of each call in turn
	bulk                 // bodies and topics: on a lane of their own
	classes
)

func (c class) String() string { return [classes]string{"control", "echo", "bulk"}[c] }

// bulkFrom is the size in bytes from which any frame is bulk: control frames
// are one chunk each, and short enough not to hold one another up.
const bulkFrom = 32 << 10

// classOf tells how urgent a message is, and of which call it is if that
// matters. All of one topic goes one way whatever its size: order matters there.
func classOf(msg proto.Message, size int) (class, proto.CallID) {
	switch m := msg.(type) {
	case proto.Gossip:
		if _, topic := m.Body.(proto.CastBody); topic {
			return bulk, proto.CallID{}
		}
	case proto.CallBody:
		return bulk, proto.CallID{}
	case proto.Echo: // whatever its size: a PART must not be overtaken by its ECHO
		return echo, m.ID
	case proto.Adopt:
		return echo, m.Echo.ID
	default: // by its size
	}
	if size >= bulkFrom {
		return bulk, proto.CallID{}
	}
	return control, proto.CallID{}
}

// maxWrite is how much is written at once: one TLS record, and so one system
// call. What became urgent meanwhile waits for no more than that.
const maxWrite = 16 << 10

// The slots of a connection (PROTOCOL.md): a long frame goes in chunks over
// one, and control passes on the other.
const (
	controlSlot = 0
	longSlot    = 1
)

// queue holds the frames of one connection until they are written, by
// urgency, bounded in bytes. Its owner locks.
type queue struct {
	max   [classes]int
	bytes [classes]int

	control []byte // chunks, ready to be written
	echo    fair
	bulk    [][]byte

	long []byte // what is left of the frame that goes over the long slot
	cut  []byte // what is left of what was begun: nothing may come between

	spare, chunk []byte // buffers of control and of a chunk, to be used again once cut is empty
}

// keepBuffer is the largest buffer that an idle connection keeps, in bytes.
const keepBuffer = 4 << 10

// fair gives each call its turn.
type fair struct {
	calls map[proto.CallID][][]byte
	turns []proto.CallID // calls with frames, next first
}

func (f *fair) push(call proto.CallID, frame []byte) {
	if f.calls == nil {
		f.calls = make(map[proto.CallID][][]byte)
	}
	if len(f.calls[call]) == 0 {
		f.turns = append(f.turns, call)
	}
	f.calls[call] = append(f.calls[call], frame)
}

// pop takes off the frame whose turn it is.
func (f *fair) pop() []byte {
	call := f.turns[0]
	f.turns = append(f.turns[:0], f.turns[1:]...)
	frames := f.calls[call]
	if len(frames) == 1 {
		delete(f.calls, call)
	} else {
		f.calls[call] = frames[1:]
		f.turns = append(f.turns, call)
	}
	return frames[0]
}

// push puts a frame in, as a copy, and reports false when there is no room.
// What is being written still takes some.
func (q *queue) push(c class, call proto.CallID, frame []byte) bool {
	if q.bytes[c] > 0 && q.bytes[c]+len(q.cut)+len(frame) > q.max[c] {
		return false
	}
	q.bytes[c] += len(frame)
	switch c {
	case control:
		q.control, _ = wire.AppendChunk(q.control, controlSlot, frame)
		q.bytes[control] = len(q.control)
	case echo:
		q.echo.push(call, slices.Clone(frame))
	case bulk:
		q.bulk = append(q.bulk, slices.Clone(frame))
	default:
		panic("overlay: a frame without a class")
	}
	return true
}

// size is how many bytes wait.
func (q *queue) size() int {
	return q.bytes[control] + q.bytes[echo] + q.bytes[bulk] + len(q.long) + len(q.cut)
}

// take appends to buf what is to be written next, up to maxWrite bytes: control
// first, always; then a chunk of a long frame, and control again.
func (q *queue) take(buf []byte) []byte {
	for {
		n := min(len(q.cut), maxWrite-len(buf))
		buf, q.cut = append(buf, q.cut[:n]...), q.cut[n:]
		if len(q.cut) > 0 || len(buf) == maxWrite {
			return buf
		}
		switch {
		case len(q.control) > 0:
			q.cut, q.control, q.spare = q.control, q.spare[:0], q.control
			if cap(q.spare) > keepBuffer {
				q.spare = nil
			}
			q.bytes[control] = 0
		case len(q.long) > 0 || q.nextLong():
			q.chunk, q.long = wire.AppendChunk(q.chunk[:0], longSlot, q.long)
			q.cut = q.chunk
		default:
			return buf
		}
	}
}

// nextLong puts the next frame on the long slot, if there is one.
func (q *queue) nextLong() bool {
	switch {
	case len(q.echo.turns) > 0:
		q.long = q.echo.pop()
		q.bytes[echo] -= len(q.long)
	case len(q.bulk) > 0:
		q.long, q.bulk[0] = q.bulk[0], nil
		q.bulk = q.bulk[1:]
		q.bytes[bulk] -= len(q.long)
	default:
		return false
	}
	return true
}

// moveBulk hands over the frames of a lane that did not come up; they have
// been counted where they were, and are not refused here.
func (q *queue) moveBulk(from *queue) {
	q.bulk = append(q.bulk, from.bulk...)
	q.bytes[bulk] += from.bytes[bulk]
	from.bulk, from.bytes[bulk] = nil, 0
}
