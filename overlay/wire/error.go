package wire

import (
	"errors"
	"fmt"
)

// Reason says what is wrong with bytes that a peer sent. The set is small and
// constant, so that it can label a metric.
type Reason uint8

const (
	Truncated   Reason = iota + 1 // ends in the middle of something
	Oversize                      // the frame is larger than allowed now
	UnknownType                   // no such message, and not one to pass over
	BadChunk                      // empty, or with bits set that mean nothing
	BadNumber                     // not in its shortest form, or larger than its type or its bound
	BadField                      // field zero, out of order, twice, or of another kind
	BadCount                      // too many elements, or not whole ones
	BadString                     // too long, or not UTF-8
	BadEnum                       // a value that the list does not have
	Missing                       // something that must be there is not
)

var reasons = [...]string{"unknown", "truncated", "oversize", "unknown_type", "bad_chunk", "bad_number", "bad_field",
	"bad_count", "bad_string", "bad_enum", "missing"}

func (w Reason) String() string {
	if int(w) >= len(reasons) {
		return reasons[0]
	}
	return reasons[w]
}

// Reasons lists the names of all reasons.
func Reasons() []string { return append([]string(nil), reasons[1:]...) }

// Error is what was wrong with a frame or a chunk. The link that brought it
// cannot be trusted any further.
type Error struct {
	Why   Reason
	Frame string // the name of the message; empty between frames, "unknown" if it has none
	At    int    // byte of the frame where it showed
}

func (e *Error) Error() string {
	if e.Frame == "" {
		return "read a chunk: " + e.Why.String()
	}
	return fmt.Sprintf("parse frame %s, byte %d: %s", e.Frame, e.At, e.Why)
}

// ErrSkip is Parse's answer to a message of a later version that whoever does
// not know it may pass over. Count it and go on; nobody did anything wrong.
var ErrSkip = errors.New("pass over an optional frame of a later version")
