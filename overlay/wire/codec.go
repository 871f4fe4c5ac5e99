package wire

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// codec goes through the fields of a message in ascending order of their
// numbers, and either writes or reads them. So each message is described once,
// and what is written is what is read. A zero value is not written; a field that
// is not there leaves its zero value. A method named must… refuses that.
type codec struct {
	writing bool
	writer
	reader

	known *Parser // reading, what it has read before; nil: nothing is known
}

func appending(b []byte, frame code) codec {
	return codec{writing: true, writer: writer{out: append(b, byte(frame)), frame: frame}}
}

func parsing(frame []byte) codec {
	return codec{reader: reader{in: frame, i: 1, end: len(frame)}}
}

// number is any unsigned number.
func number[T ~uint8 | ~uint16 | ~uint32 | ~uint64](c *codec, field uint8, p *T) {
	if c.writing {
		if *p != 0 {
			c.putNumber(field, uint64(*p))
		}
	} else if c.at(field, kindNumber) {
		*p = T(c.number(uint64(^T(0))))
	}
}

// enum is a value of a list that ends with last; zero is "not said".
func enum[T ~uint8](c *codec, field uint8, p *T, last T) {
	if c.writing {
		if *p > last {
			c.mistake("field %d is %d, the list ends with %d", field, *p, last)
		}
		number(c, field, p)
	} else if c.at(field, kindNumber) {
		v := c.uvarint()
		if v > uint64(last) {
			c.fail(BadEnum)
			v = 0
		}
		*p = T(v)
	}
}

func mustEnum[T ~uint8](c *codec, field uint8, p *T, last T) {
	enum(c, field, p, last)
	c.must(field, *p != 0)
}

// must refuses a message without the field.
func (c *codec) must(field uint8, there bool) {
	switch {
	case there:
	case c.writing:
		c.mistake("field %d is missing", field)
	default:
		c.fail(Missing)
	}
}

func (c *codec) flag(field uint8, p *bool) {
	if c.writing {
		if *p {
			c.putNumber(field, 1)
		}
	} else if c.at(field, kindNumber) {
		*p = c.number(1) == 1
	}
}

func (c *codec) stream(field uint8, p *uint8) {
	if c.writing && *p >= proto.Streams {
		c.mistake("field %d is stream %d, there are %d", field, *p, proto.Streams)
	}
	if number(c, field, p); *p >= proto.Streams {
		c.fail(BadNumber)
	}
}

// duration is signed: nanoseconds, zigzag.
func (c *codec) duration(field uint8, p *time.Duration) {
	if c.writing {
		v := uint64(*p)<<1 ^ uint64(*p>>63)
		number(c, field, &v)
	} else if c.at(field, kindNumber) {
		v := c.uvarint()
		*p = time.Duration(v>>1) ^ -time.Duration(v&1)
	}
}

// fixed8 is a hash: a number without small values.
func (c *codec) fixed8(field uint8, p *uint64) {
	if c.writing {
		if *p != 0 {
			c.putTag(field, kindFixed8)
			c.out = binary.BigEndian.AppendUint64(c.out, *p)
		}
	} else if c.at(field, kindFixed8) {
		if b := c.advance(fixed8Len); b != nil {
			*p = binary.BigEndian.Uint64(b)
		}
	}
}

func (c *codec) id(field uint8, p *peer.ID) {
	if c.writing {
		if !p.IsZero() {
			c.putTag(field, kindID)
			c.out = append(c.out, p[:]...)
		}
	} else if c.at(field, kindID) {
		copy(p[:], c.advance(idLen))
	}
}

func (c *codec) mustID(field uint8, p *peer.ID) {
	c.id(field, p)
	c.must(field, !p.IsZero())
}

// bytes of a payload: nothing but the frame bounds them.
func (c *codec) bytes(field uint8, p *[]byte) {
	if c.borrowed(field, p); !c.writing {
		*p = slices.Clip(bytes.Clone(*p)) // may be shared: no room to append to
	}
}

// borrowed is bytes that, read, still belong to the frame. None are nil.
func (c *codec) borrowed(field uint8, p *[]byte) {
	if c.writing {
		if len(*p) > 0 {
			c.putBytes(field, *p)
		}
	} else if c.at(field, kindBytes) {
		if b := c.view(); len(b) > 0 {
			*p = b
		}
	}
}

func (c *codec) text(field uint8, p *string, limit int) {
	if c.writing {
		if *p != "" {
			c.putText(field, *p, limit)
		}
	} else if c.at(field, kindBytes) {
		*p = c.reader.text(limit)
	}
}

// texts is a list of strings; an empty one counts.
func (c *codec) texts(field uint8, p *[]string, limit int) {
	for i := range list(c, field, p, limit) {
		if c.writing {
			c.putText(field, (*p)[i], proto.MaxName)
		} else if c.at(field, kindBytes) {
			(*p)[i] = c.reader.text(proto.MaxName)
		}
	}
}

// ids is a list of IDs in one field. With nil, an empty list is written too, and
// is not nil when it is read.
func (c *codec) ids(field uint8, p *[]peer.ID, limit int) {
	if c.writing {
		c.bounded(field, len(*p), limit)
		at, room := c.open(field, len(*p)*idLen)
		for i := range *p {
			c.out = append(c.out, (*p)[i][:]...)
		}
		c.close(at, room)
	} else if c.at(field, kindBytes) {
		b := c.view()
		if len(b)%idLen != 0 || len(b)/idLen > limit {
			c.fail(BadCount)
			return
		}
		*p = make([]peer.ID, len(b)/idLen)
		for i := range *p {
			copy((*p)[i][:], b[i*idLen:])
		}
	}
}

// list makes ready for the elements of a list, one field each, and returns how
// many there are. Reading, it allocates for as many as are really there.
func list[T any](c *codec, field uint8, p *[]T, limit int) int {
	if c.writing {
		c.bounded(field, len(*p), limit)
		return len(*p)
	}
	n := c.run(field, limit)
	if n > limit {
		c.fail(BadCount)
	}
	if n == 0 || c.why != 0 {
		return 0
	}
	*p = make([]T, n)
	return n
}

func (c *codec) bounded(field uint8, n, limit int) {
	if n > limit {
		c.mistake("field %d has %d elements, at most %d", field, n, limit)
	}
}

// span is a nested message being written or read.
type span struct {
	at, room    int    // writing: where its length is, and the bytes kept for it
	end         int    // reading: the end of the message around it
	field, done uint64 // and how far that was
}

// begin opens a nested message that must be there. Writing, it will have at least
// so many bytes (0 if nothing is known).
func (c *codec) begin(field uint8, atLeast int) (s span) {
	if c.writing {
		s.at, s.room = c.open(field, atLeast)
		return s
	}
	c.must(field, c.at(field, kindBytes))
	n := c.length()
	s.end, s.field, s.done = c.reader.end, c.field, c.done
	c.reader.end, c.field, c.done = c.i+n, 0, 0
	return s
}

// share lets the strings of the nested message that begins here share one copy of
// it, which lives as long as any of them, and returns it; empty if the message is
// longer than limit. It ends with unshare.
func (c *codec) share(limit int) string {
	if !c.writing && c.why == 0 && c.reader.end-c.i <= limit {
		c.shared, c.sharedAt = string(c.in[c.i:c.reader.end]), c.i
	}
	return c.shared
}

func (c *codec) unshare() { c.shared = "" }

// optional tells whether to begin a nested message: writing, if it is there to
// be written; reading, if it is there to be read.
func (c *codec) optional(field uint8, there bool) bool {
	if c.writing {
		return there
	}
	return c.has(field)
}

func (c *codec) end(s span) {
	if c.writing {
		c.close(s.at, s.room)
		return
	}
	c.rest()
	c.reader.end, c.field, c.done = s.end, s.field, s.done
}
