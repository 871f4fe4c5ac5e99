package wire

import (
	"hash/crc32"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// A call comes over every link of a node, and one caller asks the same thing
// again and again. So these parts of messages are worth knowing again, if they
// are not long.
const (
	memorySlots = 64  // of each kind, by hash: what is new displaces what is old
	memoryBytes = 256 // of a caller, as it stands in the frame
	askedBytes  = 512 // of what it asks, itself and the payload included
)

// Parser is Parse for frame after frame. It gives callers, and what they ask,
// once more if it has just read them, byte for byte, instead of making them
// again: most of what a call allocates. What it keeps are 8 KiB of its own and
// at most 64 * (256 + 512) bytes of frames, with what was made of them. The zero
// Parser is ready. Not safe for concurrent use.
type Parser struct {
	callers memory[proto.PeerInfo]
	asked   memory[asked]
}

// asked is fields 4 to 7 of a call.
type asked struct {
	what    *proto.Asked
	payload []byte
}

// Parse is the package's Parse, but messages share what they have in common.
func (p *Parser) Parse(frame []byte) (proto.Message, error) {
	if len(frame) == 0 {
		return Parse(frame)
	}
	c := parsing(frame)
	c.known = p
	return c.parse(frame)
}

// memory holds parts of messages by their bytes. The same bytes always mean the
// same, so nothing in it can be out of date.
type memory[T any] [memorySlots]known[T]

type known[T any] struct {
	bytes string
	value T
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func slot(b []byte) uint32 { return crc32.Checksum(b, castagnoli) % memorySlots }

// askedBy is where a caller's request would be. An ID is drawn by chance.
func (p *Parser) askedBy(caller peer.ID) *known[asked] {
	return &p.asked[caller[peer.IDLen-1]%memorySlots]
}

// callerAgain reads the rest of the nested message if it is a caller's that is
// known.
func (c *codec) callerAgain(p *proto.PeerInfo) bool {
	if c.known == nil || c.why != 0 || c.reader.end-c.i > memoryBytes {
		return false
	}
	body := c.in[c.i:c.reader.end]
	known := &c.known.callers[slot(body)]
	if known.bytes == "" || known.bytes != string(body) {
		return false
	}
	*p, c.i = known.value, c.reader.end
	return true
}

// rememberCaller keeps the nested message, a copy of body, that has just been
// read to its end.
func (c *codec) rememberCaller(body string, p *proto.PeerInfo) {
	if c.known != nil && c.why == 0 && body != "" && len(body) <= memoryBytes {
		known := &c.known.callers[slot(c.in[c.i-len(body):c.i])]
		known.bytes, known.value = body, *p
	}
}

// askedAgain reads fields 4 to 7 of a call if its caller said the same before.
// They begin with the tag of field 4 read, and end with field 7, so the same
// bytes are the same fields whatever follows.
func (c *codec) askedAgain(m *proto.Call) bool {
	if c.known == nil || !c.has(4) {
		return false
	}
	known := c.known.askedBy(m.ID.Caller)
	rest, n := c.in[c.i:c.reader.end], len(known.bytes)
	if n == 0 || len(rest) < n || string(rest[:n]) != known.bytes {
		return false
	}
	c.i += n
	c.field, c.done, c.ahead = 7, 7, false
	m.Asked, m.Payload = known.value.what, known.value.payload
	return true
}

// rememberAsked keeps fields 4 to 7, which have just been read from began on.
func (c *codec) rememberAsked(m *proto.Call, began int) {
	if c.known != nil && c.why == 0 && c.i-began <= askedBytes {
		known := c.known.askedBy(m.ID.Caller)
		known.bytes, known.value = string(c.in[began:c.i]), asked{m.Asked, m.Payload}
	}
}
