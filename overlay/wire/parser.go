package wire

import (
	"hash/crc32"

	"github.com/starlingmesh/starling/overlay/proto"
)

// A call comes over every link of a node, and one caller asks many things. So
// these parts of messages are worth knowing again, if they are not long.
const (
	memorySlots = 64  // of each kind, by hash: what is new displaces what is old
	memoryBytes = 256 // of one, as it stands in the frame
)

// Parser is Parse for frame after frame. It gives callers and requests that it
// has just read, byte for byte, once more instead of making them again: most of
// what a call allocates. What it keeps are 12 KiB of its own and at most
// 2 * 64 * 256 bytes of frames, with what was made of them. The zero Parser is
// ready. Not safe for concurrent use.
type Parser struct {
	callers  memory[proto.PeerInfo]
	requests memory[proto.Request]
}

// Parse is the package's Parse, but messages share what they have in common.
func (p *Parser) Parse(frame []byte) (proto.Message, error) {
	if len(frame) == 0 {
		return Parse(frame)
	}
	c := parsing(frame)
	c.callers, c.requests = &p.callers, &p.requests
	return c.parse(frame)
}

// memory holds nested messages by their bytes. The same bytes always mean the
// same, so nothing in it can be out of date.
type memory[T any] [memorySlots]struct {
	bytes string
	value T
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func slot(b []byte) uint32 { return crc32.Checksum(b, castagnoli) % memorySlots }

// again reads the rest of the nested message if it is one that is known.
func again[T any](c *codec, m *memory[T], p *T) bool {
	if m == nil || c.why != 0 || c.reader.end-c.i > memoryBytes {
		return false
	}
	body := c.in[c.i:c.reader.end]
	known := &m[slot(body)]
	if known.bytes == "" || known.bytes != string(body) {
		return false
	}
	*p, c.i = known.value, c.reader.end
	return true
}

// remember keeps the nested message, a copy of body, that has just been read to
// its end.
func remember[T any](c *codec, m *memory[T], body string, p *T) {
	if m != nil && c.why == 0 && body != "" && len(body) <= memoryBytes {
		known := &m[slot(c.in[c.i-len(body):c.i])]
		known.bytes, known.value = body, *p
	}
}
