package link

import (
	"io"

	"github.com/starlingmesh/starling/overlay/wire"
)

// Frames reads frames, and keeps what came with one for the next.
type Frames struct {
	from io.Reader
	asm  wire.Assembler
	buf  []byte
	rest []byte // of buf, not looked at yet
}

// NewFrames reads a connection from its start: only a Hello fits.
func NewFrames(from io.Reader) *Frames {
	return &Frames{from: from, buf: make([]byte, wire.HelloMax)}
}

// Next waits for a frame, which is valid until the next call.
func (f *Frames) Next() ([]byte, error) {
	for {
		for len(f.rest) > 0 {
			frame, rest, err := f.asm.Next(f.rest)
			f.rest = rest
			if frame != nil || err != nil {
				return frame, err //nolint:wrapcheck // a *wire.Error tells enough
			}
		}
		n, err := f.from.Read(f.buf)
		f.rest = f.buf[:n]
		if n == 0 && err != nil {
			return nil, err //nolint:wrapcheck // told apart by the caller
		}
	}
}

// Open is for the time after the Hello: longer frames, and a buffer for them.
func (f *Frames) Open() {
	f.asm.Open()
	rest := f.rest
	f.buf = make([]byte, max(maxWrite, len(rest)))
	f.rest = f.buf[:copy(f.buf, rest)]
}

// WriteFrame writes one frame that is short enough for one chunk.
func WriteFrame(w io.Writer, frame []byte) error {
	chunk, _ := wire.AppendChunk(nil, controlSlot, frame)
	_, err := w.Write(chunk)
	return err //nolint:wrapcheck // wrapped by the caller
}
