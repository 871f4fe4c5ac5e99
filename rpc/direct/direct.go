// Package direct carries the messages of a Session over a connection of its
// own, without gRPC. Such a connection begins as HTTP/1.1, with an Upgrade (RFC
// 9110, section 7.8) of the very path that gRPC has for the Session; from then
// on each message goes behind its length, in both directions. The package knows
// nothing of what messages say, and never opens or accepts a connection.
//
// gRPC's streams share a connection, and each message passes through three
// goroutines on either side of it. A sidecar and its application take turns at
// one core, mostly with cold caches, and have one stream: there it was a quarter
// of what a sidecar did for a call, and most of what the application did.
package direct

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"google.golang.org/protobuf/proto"
)

// Path is what is asked for, Protocol the word in the Upgrade header.
const (
	Path     = "/starling.v1.RpcService/Session"
	Protocol = "starling-session"
)

const (
	headSize  = 4        // of the length before each message, big-endian
	bufferMin = 4 << 10  // bytes that can be read at once, at first
	bufferMax = 64 << 10 // largest buffer that is kept while nothing goes
)

// ErrBadMessage: what the other side sent is no message, or one beyond the bound;
// or what is to be sent cannot be encoded, and nothing of it was.
var ErrBadMessage = errors.New("not a message of a session")

// Conn is one end. One goroutine may send and one receive at a time.
type Conn struct {
	net.Conn
	max  int    // bytes of a message that is received
	buf  []byte // what is read goes here
	rest []byte // of buf: read, and not taken yet
	out  []byte
}

// New carries messages over a connection on which both sides have agreed to do
// so. A message that is received may have so many bytes.
func New(c net.Conn, most int) *Conn { return &Conn{Conn: c, max: most} }

// Send writes one message.
func (c *Conn) Send(m proto.Message) error {
	out, err := proto.MarshalOptions{}.MarshalAppend(append(c.out[:0], make([]byte, headSize)...), m)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadMessage, err)
	}
	binary.BigEndian.PutUint32(out, uint32(len(out)-headSize))
	if c.out = out; cap(out) > bufferMax {
		c.out = nil
	}
	_, err = c.Write(out)
	return err
}

// Recv waits for a message. The error is io.EOF if the other side has closed
// the connection and no message was begun.
func (c *Conn) Recv(m proto.Message) error {
	head, err := c.take(headSize)
	if err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head)
	if uint64(size) > uint64(c.max) {
		return fmt.Errorf("%w: it has %d bytes, want at most %d", ErrBadMessage, size, c.max)
	}
	body, err := c.take(int(size))
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	err = proto.Unmarshal(body, m) // copies what it keeps
	if len(c.rest) == 0 && len(c.buf) > bufferMax {
		c.buf, c.rest = nil, nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadMessage, err)
	}
	return nil
}

// take waits for n bytes, which are valid until the next call. The buffer grows
// with what has arrived, not with what was announced.
func (c *Conn) take(n int) ([]byte, error) {
	for len(c.rest) < n {
		if full := len(c.rest); full == len(c.buf) {
			c.buf = make([]byte, max(2*full, bufferMin))
		}
		have := copy(c.buf, c.rest)
		got, err := c.Read(c.buf[have:])
		c.rest = c.buf[:have+got]
		if got == 0 && err != nil {
			if have > 0 && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	taken := c.rest[:n]
	c.rest = c.rest[n:]
	return taken, nil
}
