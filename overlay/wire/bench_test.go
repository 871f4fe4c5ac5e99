package wire

import (
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// Run with: go test -bench . -benchmem. Nothing here is asserted.

// quick are the messages of a call to everybody with a payload of 32 bytes.
func quick() []sample {
	payload := make([]byte, 32)
	id := proto.CallID{Caller: id(0xa1), Seq: 1000}
	return []sample{
		{"call", proto.Call{
			ID: id, Round: 1, Oldest: 999, Payload: payload, Size: 32,
			Asked:   &proto.Asked{From: alice, Request: proto.Request{Mode: proto.ModeCall, Method: "cache/flush"}},
			Elapsed: time.Millisecond, Remaining: time.Second, Stamp: time.Hour,
		}},
		{"took", proto.Took{ID: id, Round: 1}},
		{"seen", proto.Seen{ID: id, Round: 1}},
		{"echo", proto.Echo{
			ID: id, Round: 1, Final: true, Spread: true,
			Results: []proto.NodeResult{{Node: peer.ID{1}, Incarnation: 1700000000000, Result: proto.Result{
				Outcome: proto.Replied, Executed: proto.ExecutedYes, Stage: proto.StageFinished, Payload: payload, Size: 32,
			}}},
			Receipts: []proto.Receipt{{Node: peer.ID{1}, Parent: peer.ID{2}, Round: 1}},
		}},
		{"ping", proto.Ping{Seq: 1000, Sent: time.Hour, Digest: 1 << 60, Component: peer.ID{1}, Size: 1000}},
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, s := range quick() {
		b.Run(s.name, func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				buf = Append(buf[:0], s.msg)
			}
			b.ReportMetric(float64(len(buf)), "bytes")
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, s := range quick() {
		b.Run(s.name, func(b *testing.B) {
			b.ReportAllocs()
			frame := Append(nil, s.msg)
			for b.Loop() {
				if _, err := Parse(frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAssembler(b *testing.B) {
	var stream []byte
	for _, s := range quick() {
		stream, _ = AppendChunk(stream, 0, Append(nil, s.msg))
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(stream)))
	var a Assembler
	for b.Loop() {
		for rest := stream; len(rest) > 0; {
			var err error
			if _, rest, err = a.Next(rest); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkParser is BenchmarkParse for frames whose like has just been read.
func BenchmarkParser(b *testing.B) {
	for _, s := range quick() {
		b.Run(s.name, func(b *testing.B) {
			b.ReportAllocs()
			frame := Append(nil, s.msg)
			var p Parser
			for b.Loop() {
				if _, err := p.Parse(frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
