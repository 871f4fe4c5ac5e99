package wire

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
	"unicode/utf8"

	"github.com/starlingmesh/starling/overlay/peer"
)

// A field is its tag (number<<2 | kind, as a varint) and its value. The kind
// alone says how long the value is, so that a field nobody knows can be skipped.
const (
	kindNumber = 0 // unsigned varint, shortest form
	kindFixed8 = 1 // 8 bytes, big-endian
	kindBytes  = 2 // varint length, then so many bytes: text, a list, a nested message
	kindID     = 3 // 16 bytes

	fixed8Len = 8
	idLen     = peer.IDLen
)

// writer appends to a frame. Field numbers are 1 to 31 as yet, so that a tag is
// one byte.
type writer struct {
	out   []byte
	frame code // for the words of a panic
}

// mistake panics: the message is one that a peer would have to refuse.
func (w *writer) mistake(format string, args ...any) {
	panic(fmt.Sprintf("wire: append %s: ", w.frame) + fmt.Sprintf(format, args...))
}

func (w *writer) putTag(field, kind uint8) { w.out = append(w.out, field<<2|kind) }

func (w *writer) putNumber(field uint8, v uint64) {
	w.putTag(field, kindNumber)
	w.out = binary.AppendUvarint(w.out, v)
}

func (w *writer) putBytes(field uint8, p []byte) {
	w.putTag(field, kindBytes)
	w.out = binary.AppendUvarint(w.out, uint64(len(p)))
	w.out = append(w.out, p...)
}

func (w *writer) putText(field uint8, s string, limit int) {
	if len(s) > limit {
		w.mistake("field %d has %d bytes, at most %d", field, len(s), limit)
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "?") // never longer than it was
	}
	w.putTag(field, kindBytes)
	w.out = binary.AppendUvarint(w.out, uint64(len(s)))
	w.out = append(w.out, s...)
}

// open begins a nested message that will have at least so many bytes (0 if
// nothing is known): a good guess saves moving them when its length is known.
func (w *writer) open(field uint8, atLeast int) (at, room int) {
	w.putTag(field, kindBytes)
	at = len(w.out)
	w.out = binary.AppendUvarint(w.out, uint64(atLeast))
	return at, len(w.out) - at
}

// close writes the length of the nested message that began at at.
func (w *writer) close(at, room int) {
	size := len(w.out) - at - room
	if more := uvarintLen(size) - room; more > 0 {
		w.out = append(w.out, make([]byte, more)...)
		copy(w.out[at+room+more:], w.out[at+room:])
	}
	binary.PutUvarint(w.out[at:], uint64(size))
}

func uvarintLen(v int) int { return (bits.Len64(uint64(v)|1) + 6) / 7 }
