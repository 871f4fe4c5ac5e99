package wire

import (
	"fmt"

	"github.com/starlingmesh/starling/overlay/proto"
)

// Protocol versions that this code speaks, both ends included. What changes
// with a version, and what may change without one, is in PROTOCOL.md.
const (
	VersionMin = 1
	VersionMax = 1
)

const (
	keyLen   = 32 // Ed25519 public key
	proofLen = 64 // Ed25519 signature
)

// Version is the highest protocol version that both Hellos speak; false if
// there is none.
func Version(a, b proto.Hello) (uint16, bool) {
	v := min(a.VersionMax, b.VersionMax)
	return v, v >= max(a.VersionMin, b.VersionMin)
}

// RefusedWhy says why a Hello was not accepted.
type RefusedWhy uint8

const (
	RefusedVersion RefusedWhy = iota + 1 // no protocol version in common
	RefusedCluster                       // another cluster ID
	RefusedName                          // the announced name is not the certificate's
	RefusedBusy                          // too many connections or handshakes: try later
	RefusedOther                         // anything else, also what only a later version has a name for
)

var refusals = [...]string{"unknown", "version", "cluster", "name", "busy", "other"}

func (w RefusedWhy) String() string {
	if int(w) >= len(refusals) {
		return refusals[0]
	}
	return refusals[w]
}

// Refusal is what a node says instead of its own Hello before it closes the
// connection, so that the dialler learns why. As an error it is in words.
type Refusal struct {
	Why                    RefusedWhy
	VersionMin, VersionMax uint16 // what would have been spoken; 0: not said
	Text                   string // for people; at most proto.MaxValue bytes
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("the other side refused the connection: %s: %s", r.Why, r.Text)
}

// AppendHello writes the frame of a Hello behind b. It is at most HelloMax
// long. Key and Proof have their full length or are empty.
func AppendHello(b []byte, h proto.Hello) []byte {
	c := appending(b, codeHello)
	c.hello(&h)
	return c.out
}

// AppendRefusal writes the frame of a Refusal behind b.
func AppendRefusal(b []byte, r Refusal) []byte {
	c := appending(b, codeRefusal)
	c.refusal(&r)
	return c.out
}

// ParseHello reads the first frame of a connection. The Hello shares no memory
// with it. An error is a *Refusal if that is what the other side said, else an
// *Error. Versions, cluster, key and proof are the caller's to check.
func ParseHello(frame []byte) (proto.Hello, error) {
	if len(frame) == 0 {
		return proto.Hello{}, &Error{Why: Truncated}
	}
	what := code(frame[0])
	c := parsing(frame)
	var hello proto.Hello
	var refusal Refusal
	switch {
	case len(frame) > HelloMax:
		c.fail(Oversize)
	case what == codeHello:
		c.hello(&hello)
	case what == codeRefusal:
		c.refusal(&refusal)
	default:
		c.fail(UnknownType)
	}
	c.rest()
	switch {
	case c.why != 0:
		return proto.Hello{}, c.error(what)
	case what == codeRefusal:
		return proto.Hello{}, &refusal
	default:
		return hello, nil
	}
}

func (c *codec) hello(h *proto.Hello) {
	number(c, 1, &h.VersionMin)
	number(c, 2, &h.VersionMax)
	mustEnum(c, 3, &h.Kind, proto.LinkLane)
	c.text(4, &h.Cluster, proto.MaxName)
	c.peerInfo(5, &h.Self)
	number(c, 6, &h.Lane)
	c.exactly(7, &h.Key, keyLen)
	c.exactly(8, &h.Proof, proofLen)
}

func (c *codec) refusal(m *Refusal) {
	// Every version must be able to read every other's refusal: a reason that has no name here is "other".
	why := uint64(m.Why)
	number(c, 1, &why)
	m.Why = RefusedWhy(min(why, uint64(RefusedOther)))
	c.must(1, m.Why != 0)
	number(c, 2, &m.VersionMin)
	number(c, 3, &m.VersionMax)
	c.text(4, &m.Text, proto.MaxValue)
}

// exactly is bytes that have this length, or none.
func (c *codec) exactly(field uint8, p *[]byte, size int) {
	if c.writing && len(*p) != 0 && len(*p) != size {
		c.mistake("field %d has %d bytes, must have %d or none", field, len(*p), size)
	}
	if c.bytes(field, p); len(*p) != 0 && len(*p) != size {
		c.fail(BadString)
	}
}
