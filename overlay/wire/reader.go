package wire

import (
	"encoding/binary"
	"unicode/utf8"
)

// sharedMax is up to how many bytes of a nested message its strings share one
// copy of it. Beyond, a short string would keep too much alive.
const sharedMax = 4 << 10

// reader takes a frame apart. The first thing that is wrong sticks: from then on
// no field is there and every value is zero.
type reader struct {
	in     []byte
	i, end int // next byte, and where the message being read ends

	field uint64 // of the last tag
	kind  uint8  // of the last tag
	ahead bool   // its value has not been read
	done  uint64 // the last field that was read, not skipped

	shared   string // a copy of in from sharedAt on, to cut strings from; empty: none
	sharedAt int

	why   Reason
	whyAt int // where it showed
}

func (r *reader) fail(why Reason) {
	if r.why == 0 {
		r.why, r.whyAt = why, r.i
	}
}

func (r *reader) error(c code) error { return &Error{Why: r.why, Frame: c.String(), At: r.whyAt} }

// has goes to the field, over what it does not know, and tells whether it is
// there. Fields come in ascending order, so one way through is enough.
func (r *reader) has(field uint8) bool {
	for r.tag() && r.field < uint64(field) {
		r.skip()
	}
	return r.why == 0 && r.ahead && r.field == uint64(field)
}

// at is has, and begins the value, which must be of this kind.
func (r *reader) at(field, kind uint8) bool {
	if !r.has(field) {
		return false
	}
	r.ahead, r.done = false, r.field
	if r.kind != kind {
		r.fail(BadField)
	}
	return r.why == 0
}

// rest goes over the fields that follow all those known.
func (r *reader) rest() {
	for r.tag() {
		r.skip()
	}
}

// tag makes sure that a field lies ahead; false: there are no more.
func (r *reader) tag() bool {
	if r.ahead || r.why != 0 || r.i >= r.end {
		return r.ahead && r.why == 0
	}
	tag := r.uvarint()
	field := tag >> 2
	if field == 0 || field < r.field {
		r.fail(BadField)
	}
	r.field, r.kind, r.ahead = field, uint8(tag&3), r.why == 0
	return r.ahead
}

// skip goes over the value of a field that is not known; one that is known
// cannot come here but the second time.
func (r *reader) skip() {
	if r.ahead = false; r.field == r.done {
		r.fail(BadField)
		return
	}
	switch r.kind {
	case kindNumber:
		r.uvarint()
	case kindFixed8:
		r.advance(fixed8Len)
	case kindID:
		r.advance(idLen)
	default:
		r.advance(r.length())
	}
}

// run counts how many fields of this number follow one another from here on: the
// elements of a list. It stops when there are more than limit.
func (r *reader) run(field uint8, limit int) int {
	if !r.has(field) {
		return 0
	}
	tag := field<<2 | kindBytes
	n, rest := 1, r.in[r.i:r.end]
	for n <= limit {
		size, width := binary.Uvarint(rest)
		if width <= 0 || size >= uint64(len(rest)-width) || rest[width+int(size)] != tag {
			break
		}
		rest = rest[width+int(size)+1:]
		n++
	}
	return n
}

// advance goes over n bytes and returns them; nil if they are not all there.
func (r *reader) advance(n int) []byte {
	if r.why != 0 {
		return nil
	}
	if n > r.end-r.i {
		r.fail(Truncated)
		return nil
	}
	r.i += n
	return r.in[r.i-n : r.i]
}

func (r *reader) uvarint() uint64 {
	if r.why != 0 {
		return 0
	}
	if r.i < r.end && r.in[r.i] < 0x80 {
		r.i++
		return uint64(r.in[r.i-1])
	}
	v, n := binary.Uvarint(r.in[r.i:r.end])
	switch {
	case n == 0:
		r.fail(Truncated)
		return 0
	case n < 0 || r.in[r.i+n-1] == 0: // beyond 64 bits, or longer than it need be
		r.fail(BadNumber)
		return 0
	}
	r.i += n
	return v
}

func (r *reader) number(limit uint64) uint64 {
	v := r.uvarint()
	if v > limit {
		r.fail(BadNumber)
		return 0
	}
	return v
}

// length reads a length that the message being read can hold.
func (r *reader) length() int {
	n := r.uvarint()
	if n > uint64(r.end-r.i) {
		r.fail(Truncated)
		return 0
	}
	return int(n)
}

// view reads bytes that still belong to the frame.
func (r *reader) view() []byte { return r.advance(r.length()) }

func (r *reader) text(limit int) string {
	p := r.view()
	if len(p) > limit || !utf8.Valid(p) {
		r.fail(BadString)
		return ""
	}
	if r.shared != "" {
		to := r.i - r.sharedAt
		return r.shared[to-len(p) : to]
	}
	return string(p)
}
