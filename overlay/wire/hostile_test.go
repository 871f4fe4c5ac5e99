package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// Frames by hand, for what Append refuses to write.

func raw(c code, fields ...[]byte) []byte { return append([]byte{byte(c)}, bytes.Join(fields, nil)...) }

func num(field uint64, v uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, field<<2|kindNumber), v)
}

func ident(field uint64, of peer.ID) []byte {
	return append(binary.AppendUvarint(nil, field<<2|kindID), of[:]...)
}

// nest is a field with these bytes, whatever they are.
func nest(field uint64, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	b := binary.AppendUvarint(nil, field<<2|kindBytes)
	return append(binary.AppendUvarint(b, uint64(len(body))), body...)
}

// str is a field with a text of n bytes.
func str(field uint64, n int) []byte { return nest(field, bytes.Repeat([]byte{'x'}, n)) }

func times(n int, b []byte) []byte { return bytes.Repeat(b, n) }

var (
	rawWave = nest(1, ident(1, id(0xa1)), num(3, 5)) // field 1: the call ID wave
	me      = id(1)
)

func peerOf(field uint64, more ...[]byte) []byte {
	return nest(field, append([][]byte{ident(1, me)}, more...)...)
}

func wantReason(t *testing.T, frame []byte, want Reason) {
	t.Helper()
	m, err := Parse(frame)
	var e *Error
	if !errors.As(err, &e) || e.Why != want || m != nil {
		t.Errorf("%.60x: %v, %v; want %s", frame, m, err, want)
	}
}

func TestEveryMistakeHasItsReason(t *testing.T) {
	valid := raw(codeTook, rawWave, num(2, 1))
	if _, err := Parse(valid); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what  string
		frame []byte
		want  Reason
	}{
		{"nothing", nil, Truncated},
		{"tag cut", append(slices.Clip(valid), 0x80), Truncated},
		{"number cut", valid[:len(valid)-1], Truncated},
		{"ID cut", raw(codePing, ident(4, me)[:10]), Truncated},
		{"hash cut", raw(codePing, []byte{3<<2 | kindFixed8, 1, 2, 3}), Truncated},
		{"longer than the frame", raw(codeTook, []byte{1<<2 | kindBytes, 100}), Truncated},
		{"longer than what it is in", raw(codeJoin, nest(1, ident(1, me), []byte{2<<2 | kindBytes, 9}), times(20, []byte{0})), Truncated},
		{"no such message", raw(7), UnknownType},
		{"a hello later on", AppendHello(nil, hello), UnknownType},
		{"highest code that is not optional", raw(127), UnknownType},
		{"number of 65 bits", raw(codePing, []byte{1 << 2}, times(9, []byte{0xff}), []byte{2}), BadNumber},
		{"number longer than it need be", raw(codePing, []byte{1 << 2, 0x81, 0}), BadNumber},
		{"256 in a byte", raw(codeTook, rawWave, num(2, 256)), BadNumber},
		{"65536 in 16 bits", raw(codeGossip, nest(1, ident(1, me)), num(2, 1<<16), nest(4)), BadNumber},
		{"2^32 in 32 bits", raw(codePing, num(5, 1<<32)), BadNumber},
		{"2 as a flag", raw(codeSyncRecords, num(3, 2)), BadNumber},
		{"stream 16", raw(codePrune, num(1, proto.Streams)), BadNumber},
		{"field zero", raw(codePrune, []byte{0, 1}), BadField},
		{"fields out of order", raw(codePing, num(5, 1), num(1, 1)), BadField},
		{"a field twice", raw(codePing, num(1, 1), num(1, 1)), BadField},
		{"the last field twice", raw(codePing, num(6, 1), num(6, 1)), BadField},
		{"a structure twice", raw(codeJoin, peerOf(1), peerOf(1)), BadField},
		{"a number as bytes", raw(codePing, nest(1)), BadField},
		{"an ID as bytes", raw(codePing, nest(4, me[:])), BadField},
		{"a structure as a number", raw(codeJoin, num(1, 1)), BadField},
		{"a list as numbers", raw(codeShuffleReply, num(1, 1)), BadField},
		{"a list that changes its kind", raw(codeShuffleReply, peerOf(1), num(1, 1)), BadField},
		{"two bodies", raw(codeGossip, nest(1, ident(1, me)), nest(4), nest(5)), BadField},
		{"17 bytes of IDs", raw(codeCall, nest(1, ident(1, me)), peerOf(4), nest(6, make([]byte, 17))), BadCount},
		{"255 hashes", raw(codeSyncHashes, nest(1, make([]byte, 255*8))), BadCount},
		{"257 hashes", raw(codeSyncHashes, nest(1, make([]byte, 257*8))), BadCount},
		{"not UTF-8", raw(codeJoin, peerOf(1, nest(2, []byte{0xff}))), BadString},
		{"a reason that there is not", raw(codeRefuse, num(1, uint64(proto.RefuseSuperseded)+1)), BadEnum},
		{"a reason of 9 bytes", raw(codeRefuse, num(1, math.MaxUint64)), BadEnum},
		{"a verdict that only the caller gives", raw(codeAnswer, rawWave, ident(2, me), nest(3, ident(1, me), num(3, uint64(proto.Down)), num(4, 1))), BadEnum},
		{"nobody joins", raw(codeJoin), Missing},
		{"a joiner without ID", raw(codeJoin, nest(1, str(2, 3))), Missing},
		{"no reason", raw(codeBye), Missing},
		{"no body", raw(codeGossip, nest(1, ident(1, me))), Missing},
		{"a body of later", raw(codeGossip, nest(1, ident(1, me)), nest(9)), Missing},
		{"no hashes", raw(codeSyncHashes), Missing},
		{"a call of nobody", raw(codeTook, nest(1, num(3, 5))), Missing},
		{"a call without mode", raw(codeCall, rawWave, peerOf(4), nest(7)), Missing},
		{"a result that does not say if it ran", raw(codeAnswer, rawWave, ident(2, me), nest(3, ident(1, me), num(3, 1))), Missing},
		{"an entry of nobody", raw(codeSyncRecords, nest(2, nest(1))), Missing},
		{"a zero ID", raw(codeJoin, nest(1, ident(1, peer.ID{}))), Missing},
	} {
		t.Run(c.what, func(t *testing.T) { wantReason(t, c.frame, c.want) })
	}
}

func TestAnErrorSaysWhereAndWhy(t *testing.T) {
	_, err := Parse(raw(codeJoin, peerOf(1, nest(2, []byte{0xff}))))
	if err == nil || err.Error() != "parse frame join, byte 23: bad_string" {
		t.Error(err)
	}
}

func TestUnknownFieldsArePassedOver(t *testing.T) {
	later := [][]byte{num(29, 7), num(29, 8), ident(30, me), nest(31, str(2, 100)), append(binary.AppendUvarint(nil, 1000<<2|kindFixed8), 1, 2, 3, 4, 5, 6, 7, 8)}
	all := bytes.Join(later, nil)
	for _, s := range samples() {
		got, err := Parse(append(Append(nil, s.msg), all...))
		if err != nil || !reflect.DeepEqual(got, s.msg) {
			t.Errorf("%s: %+v, %v", s.name, got, err)
		}
	}
	if got, err := ParseHello(append(AppendHello(nil, hello), all...)); err != nil || !reflect.DeepEqual(got, hello) {
		t.Error(got, err)
	}
	// And inside of structures, before fields that are known.
	got, err := Parse(raw(codeShuffleReply, peerOf(1, str(2, 1), all), peerOf(1, all)))
	if err != nil || !reflect.DeepEqual(got, proto.ShuffleReply{Peers: []proto.PeerInfo{{ID: me, Name: "x"}, {ID: me}}}) {
		t.Error(got, err)
	}
	got, err = Parse(raw(codeTook, nest(1, ident(1, me), nest(2, all)), num(2, 1)))
	if err == nil {
		t.Errorf("a target of another kind was taken: %v", got)
	}
}

func TestOptionalMessagesOfLaterVersionsArePassedOver(t *testing.T) {
	for c := firstOptional; c != 0; c++ {
		if m, err := Parse(append([]byte{byte(c)}, 0xff, 0xff)); m != nil || !errors.Is(err, ErrSkip) {
			t.Fatal(c, m, err)
		}
	}
}

func TestARefusalOfALaterVersionIsUnderstood(t *testing.T) {
	_, err := ParseHello(raw(codeRefusal, num(1, 77), nest(4, []byte("the moon is wrong"))))
	var no *Refusal
	if !errors.As(err, &no) || no.Why != RefusedOther || !strings.Contains(err.Error(), "other: the moon is wrong") {
		t.Error(err)
	}
}

func TestOnlyAHelloOpensAConnection(t *testing.T) {
	for want, frame := range map[Reason][]byte{
		UnknownType: Append(nil, proto.Prune{}),
		Truncated:   nil,
		Oversize:    append(AppendHello(nil, hello), nest(30, make([]byte, HelloMax))...),
		Missing:     raw(codeHello, peerOf(5)),
		BadString:   raw(codeHello, num(3, 1), peerOf(5), str(7, keyLen-1)),
		BadEnum:     raw(codeHello, num(3, uint64(proto.LinkLane)+1), peerOf(5)),
	} {
		_, err := ParseHello(frame)
		var e *Error
		if !errors.As(err, &e) || e.Why != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	wantReason(t, raw(codeHello), UnknownType)
}

func TestTheLongestHelloFits(t *testing.T) {
	long := strings.Repeat("x", proto.MaxName)
	h := hello
	h.Cluster, h.Lane = long, math.MaxUint64
	h.Self = proto.PeerInfo{ID: me, Name: long, Incarnation: math.MaxUint64}
	for range proto.MaxAddrs {
		h.Self.Addrs = append(h.Self.Addrs, long)
	}
	if n := len(AppendHello(nil, h)); n > HelloMax {
		t.Errorf("%d bytes", n)
	}
	if n := len(AppendRefusal(nil, Refusal{Why: RefusedBusy, Text: strings.Repeat("x", proto.MaxValue)})); n > HelloMax {
		t.Errorf("%d bytes", n)
	}
}

// A claimed length or count must not be believed: each byte of each golden frame becomes, in turn, a huge number.
func TestNothingIsAllocatedByAClaim(t *testing.T) {
	for _, g := range goldens() {
		if len(g.frame) > 1000 {
			continue // hashes: all bytes alike
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		parsed := 0
		for i := 1; i < len(g.frame); i++ {
			for _, claim := range []uint64{1 << 24, 1 << 31, 1 << 60, math.MaxUint64} {
				frame := append(binary.AppendUvarint(bytes.Clone(g.frame[:i]), claim), g.frame[i+1:]...)
				_, _ = Parse(frame)
				_, _ = ParseHello(frame)
				parsed++
			}
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - before.TotalAlloc) / uint64(parsed); each > 16<<10 {
			t.Errorf("%s: %d bytes a frame of %d", g.name, each, len(g.frame))
		}
	}
}

// Memory follows the bytes that came, times what a small element costs.
func TestMemoryFollowsTheFrame(t *testing.T) {
	for what, frame := range map[string][]byte{
		"results":  raw(codeEcho, rawWave, times(proto.MaxResults, nest(5))),
		"handlers": raw(codeSyncRecords, nest(2, nest(1, ident(1, me), times(proto.MaxHandlers, nest(9))))),
		"records":  raw(codeSyncRecords, times(proto.MaxRecords, nest(2))),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = Parse(frame)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 100*uint64(len(frame)) {
			t.Errorf("%s: %d bytes for a frame of %d", what, got, len(frame))
		}
	}
}

// A short string must not keep a large frame alive.
func TestStringsDoNotKeepTheirFrameAlive(t *testing.T) {
	kept := make([]*proto.Entry, 0, 100)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range cap(kept) {
		m, err := Parse(raw(codeSyncRecords, nest(2, nest(1, ident(1, me), str(2, 5), nest(31, make([]byte, 1<<20))))))
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, m.(proto.SyncRecords).Records[0].Entry)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if got := int64(after.HeapAlloc) - int64(before.HeapAlloc); got > 10<<20 {
		t.Errorf("%d entries keep %d bytes", len(kept), got)
	}
	runtime.KeepAlive(kept)
}

func mustPanic(t *testing.T, what string, words string, f func()) {
	t.Helper()
	defer func() {
		if got, _ := recover().(string); !strings.Contains(got, words) {
			t.Errorf("%s: panic %q, want %q", what, got, words)
		}
	}()
	f()
}

func TestWhatAPeerWouldRefuseIsNotWritten(t *testing.T) {
	for _, c := range []struct {
		what string
		msg  proto.Message
	}{
		{"field 1 is missing", proto.Join{}},
		{"field 1 is missing", proto.Took{}},
		{"field 1 is missing", proto.Refuse{}},
		{"the list ends with", proto.Refuse{Why: 200}},
		{"a body without a field", proto.Gossip{ID: cast}},
		{"field 1 is missing", proto.Call{ID: wave, Asked: &proto.Asked{From: bob}}},
		{"field 4 is missing", proto.Answer{ID: wave, Node: me, Result: &proto.NodeResult{Node: me, Result: proto.Result{Outcome: proto.Replied}}}},
		{"the list ends with", proto.Answer{ID: wave, Node: me, Result: &proto.NodeResult{Node: me, Result: proto.Result{Outcome: proto.Unreachable}}}},
		{"255 hashes", proto.SyncHashes{Buckets: make([]uint64, 255)}},
		{"is stream 16", proto.Prune{Stream: 16}},
		{"no code for", (*proto.Prune)(nil)},
	} {
		mustPanic(t, reflect.TypeOf(c.msg).String(), c.what, func() { Append(nil, c.msg) })
	}
	mustPanic(t, "hello", "must have 32", func() { AppendHello(nil, proto.Hello{Kind: 1, Self: bob, Key: []byte{1}}) })
	mustPanic(t, "refusal", "missing", func() { AppendRefusal(nil, Refusal{}) })
}

func TestTextThatIsNotUTF8IsMended(t *testing.T) {
	m, err := Parse(Append(nil, proto.Join{Self: proto.PeerInfo{ID: me, Name: "caf\xe9", Addrs: []string{"\xff\xfe"}}}))
	if err != nil || !reflect.DeepEqual(m, proto.Join{Self: proto.PeerInfo{ID: me, Name: "caf?", Addrs: []string{"?"}}}) {
		t.Error(m, err)
	}
}

func TestNobodyAndEverybodyAreToldApart(t *testing.T) {
	for _, s := range []proto.Selector{{}, {IDs: []peer.ID{}}, {NotSelf: true}, {Draining: true}} {
		sent := proto.Call{ID: wave, Asked: &proto.Asked{From: bob, Select: s, Request: proto.Request{Mode: proto.ModeCast}}}
		if got, err := Parse(Append(nil, sent)); err != nil || !reflect.DeepEqual(got, sent) {
			t.Errorf("%+v: %+v, %v", s, got, err)
		}
	}
}

func TestDurationsOfBothSignsTravel(t *testing.T) {
	for _, d := range []time.Duration{0, 1, -1, math.MaxInt64, math.MinInt64, -time.Hour} {
		if m, err := Parse(Append(nil, proto.Ping{Sent: d})); err != nil || m != (proto.Ping{Sent: d}) {
			t.Error(d, m, err)
		}
	}
}
