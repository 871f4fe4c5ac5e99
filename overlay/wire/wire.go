// Package wire writes messages as bytes and reads them back: frames, and the
// chunks that carry frames over a connection. PROTOCOL.md is the same in words.
// It checks form (every count, length, number and name), never meaning; it
// reads and writes no connection, keeps no time and never panics on what a peer
// sent, whatever that is.
//
// What is parsed owns its bytes: the buffer it came from may be used again. Like
// all values of overlay/proto it is read-only: messages may share what is in them.
// Nothing is ever allocated by a length or a count that merely was claimed:
// memory follows the bytes that have arrived, and the bounds of overlay/proto.
package wire

import "github.com/starlingmesh/starling/overlay/proto"

// Append writes the frame of a message behind b. Strings that are not UTF-8 get
// '?' in place of what is wrong with them. A message beyond the bounds of
// overlay/proto, or without what must be in it, is a mistake of ours that would
// cost us the link: Append panics and says which field. An empty list and nil
// are the same on the wire, except in Selector.IDs.
func Append(b []byte, m proto.Message) []byte {
	c := appending(b, codeOf(m))
	c.write(m)
	if size := len(c.out) - len(b); size > proto.MaxFrame {
		c.mistake("the frame has %d bytes, at most %d", size, proto.MaxFrame)
	}
	return c.out
}

// Parse reads one whole frame. The message shares no memory with the frame. An
// error is an *Error that says what is wrong, or ErrSkip for a message that this
// version does not know and may pass over.
func Parse(frame []byte) (proto.Message, error) {
	if len(frame) == 0 {
		return nil, &Error{Why: Truncated}
	}
	c := parsing(frame)
	return c.parse(frame)
}

func (c *codec) parse(frame []byte) (proto.Message, error) {
	what := code(frame[0])
	if len(frame) > proto.MaxFrame {
		c.fail(Oversize)
		return nil, c.error(what)
	}
	m := c.read(what)
	if m == nil && c.why == 0 {
		return nil, ErrSkip
	}
	if c.rest(); c.why != 0 {
		return nil, c.error(what)
	}
	return m, nil
}

// Type is the name of a message for metrics, one of Types.
func Type(m proto.Message) string { return codeOf(m).String() }

// Number is a message's type as a number below Numbers: an index of tables.
func Number(m proto.Message) int { return int(codeOf(m)) }

// Numbers is above every Number.
const Numbers = int(lastCode)

// TypeOf is the Type that goes with a Number.
func TypeOf(number int) string { return names[number] }

// Types lists the names of all messages, in the order of their codes.
func Types() []string {
	var all []string
	for c := firstMessage; c < lastCode; c++ {
		if name := names[c]; name != "" {
			all = append(all, name)
		}
	}
	return all
}
