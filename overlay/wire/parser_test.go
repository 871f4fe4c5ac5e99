package wire

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// Whatever a Parser has read before, it reads what Parse reads, also when the buffer is used again.
func TestAParserReadsWhatParseReads(t *testing.T) {
	var p Parser
	var buf []byte
	for range 3 {
		for _, s := range samples() {
			buf = Append(buf[:0], s.msg)
			got, err := p.Parse(buf)
			if err != nil || !reflect.DeepEqual(got, s.msg) {
				t.Errorf("%s: %+v, %v; sent %+v", s.name, got, err, s.msg)
			}
			clear(buf)
			if !reflect.DeepEqual(got, s.msg) {
				t.Errorf("%s changed with its buffer: %+v", s.name, got)
			}
		}
	}
	calls := rapid.MakeCustom[proto.Call](shapes())
	rapid.Check(t, func(t *rapid.T) {
		sent := calls.Draw(t, "call")
		frame := Append(nil, sent)
		if at := rapid.IntRange(0, 4*len(frame)).Draw(t, "broken at"); at > 0 && at < len(frame) {
			frame[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		}
		want, wantErr := Parse(frame)
		for range 2 {
			if got, err := p.Parse(frame); !reflect.DeepEqual(got, want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Fatalf("%+v, %v; Parse: %+v, %v", got, err, want, wantErr)
			}
		}
	})
}

// Two callers of the same slot, in turns: each call says its own.
func TestCallersOfOneSlotAreToldApart(t *testing.T) {
	var p Parser
	for i := range 3 * memorySlots {
		sent := call
		sent.From.ID, sent.Request.Payload = peer.ID{byte(i), 1}, []byte{byte(i)}
		if got, err := p.Parse(Append(nil, sent)); err != nil || !reflect.DeepEqual(got, sent) {
			t.Fatalf("%+v, %v; sent %+v", got, err, sent)
		}
	}
}

func TestACallOfAKnownCallerCostsOneAllocation(t *testing.T) {
	frame := Append(nil, quick()[0].msg)
	var p Parser
	if n := testing.AllocsPerRun(100, func() { _, _ = p.Parse(frame) }); n != 1 {
		t.Errorf("%v allocations", n)
	}
}

// Nothing that is broken, and nothing long, is kept.
func TestAParserKeepsWhatIsShortAndWhole(t *testing.T) {
	var p Parser
	long := call
	long.Request.Payload = bytes.Repeat([]byte{1}, memoryBytes)
	long.From.Name = string(bytes.Repeat([]byte{'x'}, memoryBytes-1))
	broken := raw(codeCall, rawWave, peerOf(4, nest(2, []byte{0xff})))
	cut := raw(codeCall, rawWave, peerOf(4, []byte{9<<2 | kindBytes, 100}))
	for _, frame := range [][]byte{Append(nil, long), broken, cut} {
		_, err := p.Parse(frame)
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(p, Parser{}) {
		t.Errorf("%+v", p)
	}
}
