package wire

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
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
		broken := bytes.Clone(frame)
		switch at := rapid.IntRange(1, len(frame)-1).Draw(t, "at"); rapid.SampledFrom([]string{"flip", "cut", "twice"}).Draw(t, "how") {
		case "flip":
			broken[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		case "cut":
			broken = broken[:at]
		case "twice": // a piece of it comes again
			from := rapid.IntRange(0, at).Draw(t, "from")
			broken = slices.Insert(broken, at, bytes.Clone(frame[from:at])...)
		}
		nested := Append(nil, proto.Ask{Call: sent})
		for _, f := range [][]byte{frame, broken, frame, nested, broken} {
			want, wantErr := Parse(f)
			if got, err := p.Parse(f); !reflect.DeepEqual(got, want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Fatalf("%+v, %v; Parse: %+v, %v", got, err, want, wantErr)
			}
		}
	})
}

// What follows a request that is known is refused as it would be behind another one.
func TestNothingMayComeTwiceBehindAKnownRequest(t *testing.T) {
	what := [][]byte{rawWave, peerOf(4), nest(7, num(1, 1))}
	for name, after := range map[string][]byte{"itself": what[2], "its caller": what[1], "the excluded": nest(6, make([]byte, idLen))} {
		var p Parser
		if _, err := p.Parse(raw(codeCall, what...)); err != nil {
			t.Fatal(err)
		}
		bad := raw(codeCall, append(slices.Clone(what), after)...)
		_, want := Parse(bad)
		if _, err := p.Parse(bad); want == nil || fmt.Sprint(err) != fmt.Sprint(want) {
			t.Errorf("%s: %v; Parse: %v", name, err, want)
		}
	}
}

// Two callers of the same slot, in turns: each call says its own.
func TestCallersOfOneSlotAreToldApart(t *testing.T) {
	var p Parser
	for i := range 3 * memorySlots {
		sent, what := call, *call.Asked
		sent.ID.Caller, sent.Asked, sent.Payload = peer.ID{1, peer.IDLen - 1: byte(i)}, &what, []byte{byte(i)}
		what.From.ID = sent.ID.Caller
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
	long, what := call, *call.Asked
	long.Asked, long.Payload = &what, bytes.Repeat([]byte{1}, askedBytes)
	what.From.Name = string(bytes.Repeat([]byte{'x'}, memoryBytes-1))
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
