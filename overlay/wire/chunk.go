package wire

import (
	"encoding/binary"

	"github.com/starlingmesh/starling/overlay/proto"
)

const (
	// Slots is how many frames can be under way over one connection at a time:
	// while a long one is on one slot, short ones pass on the other.
	Slots = 2

	// ChunkMax is the bytes of one chunk, its head included: what a frame of
	// the other slot has to wait for.
	ChunkMax = 64 << 10

	// HelloMax is the bytes of the only frame that a connection may carry
	// before its Hello is accepted.
	HelloMax = 4 << 10

	headLen   = 3            // of a chunk: slot and more, length
	moreBit   = 0x80         // the frame goes on in a later chunk of its slot
	keepSpace = 2 * 64 << 10 // of a slot's buffer between frames; a larger one is given back
)

// AppendChunk writes the next chunk of a frame behind b, and returns b and what
// is left of the frame, to be given again; nothing is left after the last. Until
// then the slot belongs to this frame. The frame must not be empty.
func AppendChunk(b []byte, slot int, frame []byte) (chunk, rest []byte) {
	if slot < 0 || slot >= Slots || len(frame) == 0 {
		panic("wire: a chunk of nothing, or on no slot")
	}
	n := min(len(frame), ChunkMax-headLen)
	head := byte(slot)
	if n < len(frame) {
		head |= moreBit
	}
	b = append(b, head)
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	return append(b, frame[:n]...), frame[n:]
}

// Assembler makes frames out of the bytes of one connection, in whatever pieces
// they come. It holds at most Slots frames that are not complete, each no longer
// than what has arrived of it and its growth, and none longer than HelloMax until
// Open, proto.MaxFrame after it. The zero Assembler is ready. Not safe for
// concurrent use.
type Assembler struct {
	open bool
	err  *Error // sticks

	head [headLen]byte
	have int // bytes of the head
	left int // bytes of the chunk still to come, once the head is there
	part [Slots][]byte
}

// Open raises the limit for frames: the Hello has been accepted.
func (a *Assembler) Open() { a.open = true }

// Next takes bytes of p until a frame is complete or there are none left. frame
// is nil if more bytes are needed; it is valid until the next call and as long as
// p is left alone. rest is what has not been looked at: call again while it is
// not empty. After an error, which is always an *Error, nothing more comes.
func (a *Assembler) Next(p []byte) (frame, rest []byte, err error) {
	for a.err == nil && len(p) > 0 {
		if a.have < headLen {
			n := copy(a.head[a.have:], p)
			a.have, p = a.have+n, p[n:]
			if a.have == headLen {
				a.begin()
			}
			continue
		}
		slot := &a.part[a.head[0]&^moreBit]
		data := p[:min(a.left, len(p))]
		p, a.left = p[len(data):], a.left-len(data)
		complete := a.left == 0 && a.head[0]&moreBit == 0
		if a.left == 0 {
			a.have = 0
		}
		if complete && len(*slot) == 0 {
			return data, p, nil
		}
		frame = append(*slot, data...)
		*slot = frame
		if complete {
			if *slot = frame[:0]; cap(frame) > keepSpace {
				*slot = nil
			}
			return frame, p, nil
		}
	}
	if a.err != nil {
		return nil, nil, a.err
	}
	return nil, nil, nil
}

// begin checks a head that is complete.
func (a *Assembler) begin() {
	limit := HelloMax
	if a.open {
		limit = proto.MaxFrame
	}
	slot := int(a.head[0] &^ moreBit)
	a.left = int(binary.BigEndian.Uint16(a.head[1:]))
	switch {
	case slot >= Slots || a.left == 0 || a.left > ChunkMax-headLen:
		a.err = &Error{Why: BadChunk}
	case len(a.part[slot])+a.left > limit:
		a.err = &Error{Why: Oversize}
	}
}
