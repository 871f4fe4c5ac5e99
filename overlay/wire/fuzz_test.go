package wire

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"
)

// Whatever Parse takes, Append writes, no longer than it was, and Parse takes again as the same.
func FuzzParse(f *testing.F) {
	for _, g := range goldens() {
		f.Add(g.frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := Parse(bytes.Clone(frame))
		if err != nil {
			var e *Error
			if m != nil || !errors.Is(err, ErrSkip) && (!errors.As(err, &e) || e.Why.String() == "unknown") {
				t.Fatalf("%v, %v", m, err)
			}
			return
		}
		again := Append(nil, m)
		if len(again) > len(frame) {
			t.Fatalf("%d bytes became %d: %+v", len(frame), len(again), m)
		}
		if got, err := Parse(again); err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("%v\n%+v\n%+v", err, m, got)
		}
	})
}

func FuzzHello(f *testing.F) {
	f.Add(AppendHello(nil, hello))
	f.Add(AppendRefusal(nil, refusal))
	f.Fuzz(func(t *testing.T, frame []byte) {
		h, err := ParseHello(frame)
		var no *Refusal
		switch {
		case err == nil:
			if got, err := ParseHello(AppendHello(nil, h)); err != nil || !reflect.DeepEqual(got, h) {
				t.Fatalf("%v\n%+v\n%+v", err, h, got)
			}
		case errors.As(err, &no):
			var got *Refusal
			if _, err := ParseHello(AppendRefusal(nil, *no)); !errors.As(err, &got) || *got != *no {
				t.Fatalf("%v, want %v", err, no)
			}
		}
	})
}

// However a stream is cut into pieces, it gives the same frames and the same error, and never holds much more than came.
func FuzzAssembler(f *testing.F) {
	var stream []byte
	for i, g := range goldens()[:8] {
		stream, _ = AppendChunk(stream, i%Slots, g.frame)
	}
	f.Add(stream, uint16(7), true)
	f.Add([]byte{0x81, 0, 2, 1, 2, 0, 0, 1, 9, 1, 0, 1, 3}, uint16(1), false)
	f.Fuzz(func(t *testing.T, stream []byte, piece uint16, open bool) {
		var whole, pieces Assembler
		if open {
			whole.Open()
			pieces.Open()
		}
		want, wantErr := assemble(&whole, stream)
		cut := slices.Collect(slices.Chunk(stream, int(piece)+1))
		got, err := assemble(&pieces, cut...)
		if !slices.EqualFunc(got, want, bytes.Equal) || (err == nil) != (wantErr == nil) {
			t.Fatalf("%x, %v in pieces, %x, %v whole", got, err, want, wantErr)
		}
		if err != nil && err.Error() != wantErr.Error() {
			t.Fatalf("%v in pieces, %v whole", err, wantErr)
		}
		if pieces.held() > 2*len(stream)+64 {
			t.Fatalf("%d bytes came, %d are held", len(stream), pieces.held())
		}
	})
}
