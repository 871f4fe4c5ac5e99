package wire

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/starlingmesh/starling/overlay/proto"
)

// assemble feeds the pieces and returns copies of all frames until an error.
func assemble(a *Assembler, pieces ...[]byte) (frames [][]byte, err error) {
	for _, p := range pieces {
		for rest := p; len(rest) > 0; {
			var frame []byte
			if frame, rest, err = a.Next(rest); err != nil {
				return frames, err
			}
			if frame != nil {
				frames = append(frames, bytes.Clone(frame))
			}
		}
	}
	return frames, nil
}

func chunks(slot int, frame []byte) (all [][]byte) {
	for len(frame) > 0 {
		var chunk []byte
		chunk, frame = AppendChunk(nil, slot, frame)
		all = append(all, chunk)
	}
	return all
}

func opened() *Assembler {
	a := &Assembler{}
	a.Open()
	return a
}

func wantBroken(t *testing.T, a *Assembler, want Reason, pieces ...[]byte) {
	t.Helper()
	_, err := assemble(a, pieces...)
	var e *Error
	if !errors.As(err, &e) || e.Why != want {
		t.Errorf("%v, want %s", err, want)
		return
	}
	if _, err = assemble(a, chunks(0, []byte("good"))[0]); !errors.As(err, &e) || e.Why != want {
		t.Errorf("after an error came %v", err)
	}
}

// Frames of both slots, their chunks mixed in any way, the stream cut anywhere: all arrive whole, each slot's in order.
func TestFramesArriveInAnyPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var queues [Slots][][]byte // chunks still to send
		var want [Slots][][]byte
		for slot := range Slots {
			for i := range rapid.IntRange(0, 5).Draw(t, "frames") {
				size := rapid.OneOf(rapid.IntRange(1, 200), rapid.IntRange(ChunkMax-headLen-1, ChunkMax-headLen+1), rapid.IntRange(1, 3*ChunkMax)).Draw(t, "size")
				frame := bytes.Repeat([]byte{byte(slot<<4 | i)}, size)
				want[slot] = append(want[slot], frame)
				queues[slot] = append(queues[slot], chunks(slot, frame)...)
			}
		}
		var stream []byte
		for len(queues[0])+len(queues[1]) > 0 {
			slot := rapid.IntRange(0, 1).Draw(t, "slot")
			if len(queues[slot]) > 0 {
				stream, queues[slot] = append(stream, queues[slot][0]...), queues[slot][1:]
			}
		}
		a := opened()
		var got [Slots][][]byte
		for len(stream) > 0 {
			n := min(len(stream), rapid.OneOf(rapid.IntRange(1, 10), rapid.IntRange(1, 2*ChunkMax)).Draw(t, "piece"))
			frames, err := assemble(a, stream[:n])
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range frames {
				got[f[0]>>4] = append(got[f[0]>>4], f)
			}
			stream = stream[n:]
		}
		for slot := range Slots {
			if !slices.EqualFunc(got[slot], want[slot], bytes.Equal) {
				t.Fatalf("slot %d: %d frames, want %d, or others", slot, len(got[slot]), len(want[slot]))
			}
		}
	})
}

func TestAShortFramePassesALongOne(t *testing.T) {
	long := chunks(1, bytes.Repeat([]byte{9}, 3*ChunkMax))
	short := chunks(0, []byte("ping"))[0]
	frames, err := assemble(opened(), slices.Concat([][]byte{long[0], short}, long[1:])...)
	if err != nil || len(frames) != 2 || string(frames[0]) != "ping" || len(frames[1]) != 3*ChunkMax {
		t.Error(len(frames), err)
	}
	for i, c := range long {
		if len(c) > ChunkMax {
			t.Errorf("chunk %d has %d bytes", i, len(c))
		}
	}
}

func TestBeforeTheHelloOnlyASmallFrameIsTaken(t *testing.T) {
	var a Assembler
	if frames, err := assemble(&a, chunks(0, make([]byte, HelloMax))...); err != nil || len(frames) != 1 {
		t.Error(err)
	}
	wantBroken(t, &a, Oversize, chunks(0, make([]byte, HelloMax+1))...)
	wantBroken(t, &Assembler{}, Oversize, []byte{moreBit, 0x10, 0}, make([]byte, HelloMax), []byte{0, 0, 1})
	if _, err := assemble(opened(), chunks(0, make([]byte, HelloMax+1))...); err != nil {
		t.Error(err)
	}
}

func TestNoFrameIsLongerThanTheLimit(t *testing.T) {
	if frames, err := assemble(opened(), chunks(1, make([]byte, proto.MaxFrame))...); err != nil || len(frames) != 1 {
		t.Error(err)
	}
	wantBroken(t, opened(), Oversize, chunks(1, make([]byte, proto.MaxFrame+1))...)
}

func TestBadHeadsEndTheConnection(t *testing.T) {
	for _, head := range [][]byte{{Slots, 0, 1}, {0x40, 0, 1}, {0x7f, 0, 1}, {0, 0, 0}, {moreBit, 0, 0}, {0, 0xff, 0xfe}, []byte("GET / HTTP/1.1")} {
		t.Run(fmt.Sprintf("%x", head), func(t *testing.T) { wantBroken(t, opened(), BadChunk, head) })
	}
}

func TestNoChunkOfNothing(t *testing.T) {
	mustPanic(t, "empty", "a chunk of nothing", func() { AppendChunk(nil, 0, nil) })
	mustPanic(t, "slot", "on no slot", func() { AppendChunk(nil, Slots, []byte{1}) })
}

// held is the bytes that the assembler has taken memory for.
func (a *Assembler) held() (n int) {
	for _, p := range a.part {
		n += cap(p)
	}
	return n
}

func TestMemoryFollowsWhatHasArrived(t *testing.T) {
	a := opened()
	if _, err := assemble(a, []byte{moreBit, 0xff, 0xfd, 1}, nil); err != nil {
		t.Fatal(err)
	}
	if a.held() > 64 {
		t.Errorf("one byte arrived, %d are held", a.held())
	}
	if _, err := assemble(a, make([]byte, ChunkMax-headLen-1), []byte{0, 0, 1, 1}); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := assemble(a, chunks(1, make([]byte, 10*ChunkMax))...); err != nil {
			t.Fatal(err)
		}
	}
	if a.held() > Slots*keepSpace {
		t.Errorf("nothing is under way, %d bytes are held", a.held())
	}
}
