package wire

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

func x(n int) string { return strings.Repeat("x", n) }

// many is n values alike.
func many[T any](n int, v T) []T {
	list := make([]T, n)
	for i := range list {
		list[i] = v
	}
	return list
}

func withCall(change func(*proto.Call)) proto.Message {
	c := proto.Call{ID: wave, Asked: &proto.Asked{From: proto.PeerInfo{ID: me}, Request: proto.Request{Mode: proto.ModeCall}}}
	change(&c)
	return c
}

func rawCall(selector, excluded, more []byte) []byte {
	return raw(codeCall, rawWave, peerOf(4), selector, excluded, nest(7, num(1, 1), more))
}

func withEntry(change func(*proto.Entry)) proto.Message {
	e := proto.Entry{ID: me}
	change(&e)
	return proto.SyncRecords{Records: []proto.Record{{Entry: &e}}}
}

func rawEntry(more []byte) []byte {
	return raw(codeSyncRecords, nest(2, nest(1, ident(1, me), more)))
}

func withResult(change func(*proto.Result)) proto.Message {
	r := proto.NodeResult{Node: me, Result: proto.Result{Outcome: proto.Replied, Executed: proto.ExecutedYes}}
	change(&r.Result)
	return proto.Answer{ID: wave, Node: me, Result: &r}
}

func rawResult(more []byte) []byte {
	return raw(codeAnswer, rawWave, ident(2, me), nest(3, ident(1, me), num(3, 1), num(4, 1), more))
}

// Each bound is tried from both sides: what is at the bound travels and is what the hand-made frame says; one more is
// neither written nor read.
func TestEveryCapHolds(t *testing.T) {
	var (
		peerMe   = proto.PeerInfo{ID: me}
		someTag  = nest(5, str(1, 1))
		opinion  = proto.Opinion{Accused: me, Author: me}
		rawOne   = nest(1, ident(1, me)) // field 1: anything with only an ID
		rawTwice = nest(3, ident(1, me), ident(4, me))
		oneRes   = proto.NodeResult{Node: me, Result: proto.Result{Outcome: proto.Replied, Executed: proto.ExecutedYes}}
		witness  = proto.Testimony{Witness: me, Node: me, Kind: proto.TestifyReset}
	)
	for _, c := range []struct {
		what  string
		limit int
		want  Reason
		msg   func(n int) proto.Message
		frame func(n int) []byte
	}{
		{"a peer's name", proto.MaxName, BadString,
			func(n int) proto.Message { return proto.Join{Self: proto.PeerInfo{ID: me, Name: x(n)}} },
			func(n int) []byte { return raw(codeJoin, peerOf(1, str(2, n))) }},
		{"an address", proto.MaxName, BadString,
			func(n int) proto.Message { return proto.Join{Self: proto.PeerInfo{ID: me, Addrs: []string{x(n)}}} },
			func(n int) []byte { return raw(codeJoin, peerOf(1, str(3, n))) }},
		{"a peer's addresses", proto.MaxAddrs, BadCount,
			func(n int) proto.Message { return proto.Join{Self: proto.PeerInfo{ID: me, Addrs: many(n, "x")}} },
			func(n int) []byte { return raw(codeJoin, peerOf(1, times(n, str(3, 1)))) }},
		{"peers in Refuse", proto.MaxPeers, BadCount,
			func(n int) proto.Message { return proto.Refuse{Why: 1, Peers: many(n, peerMe)} },
			func(n int) []byte { return raw(codeRefuse, num(1, 1), times(n, peerOf(2))) }},
		{"peers in Bye", proto.MaxPeers, BadCount,
			func(n int) proto.Message { return proto.Bye{Why: 1, Peers: many(n, peerMe)} },
			func(n int) []byte { return raw(codeBye, num(1, 1), times(n, peerOf(2))) }},
		{"peers in Shuffle", proto.MaxPeers, BadCount,
			func(n int) proto.Message { return proto.Shuffle{Origin: peerMe, Peers: many(n, peerMe)} },
			func(n int) []byte { return raw(codeShuffle, peerOf(1), times(n, peerOf(3))) }},
		{"peers in ShuffleReply", proto.MaxPeers, BadCount,
			func(n int) proto.Message { return proto.ShuffleReply{Peers: many(n, peerMe)} },
			func(n int) []byte { return raw(codeShuffleReply, times(n, peerOf(1))) }},
		{"a stream", proto.Streams - 1, BadNumber,
			func(n int) proto.Message { return proto.Last{ID: proto.MsgID{Origin: me, Stream: uint8(n)}} },
			func(n int) []byte { return raw(codeLast, nest(1, ident(1, me), num(2, uint64(n)))) }},
		{"ranges", proto.MaxRanges, BadCount,
			func(n int) proto.Message { return proto.Graft{Stream: 1, Ranges: many(n, proto.Range{Origin: me})} },
			func(n int) []byte { return raw(codeGraft, num(1, 1), times(n, nest(2, ident(1, me)))) }},
		{"a topic", proto.MaxName, BadString,
			func(n int) proto.Message {
				return proto.Gossip{ID: proto.MsgID{Origin: me}, Body: proto.CastBody{Topic: x(n)}}
			},
			func(n int) []byte { return raw(codeGossip, rawOne, nest(5, str(1, n))) }},
		{"a broadcast's content type", proto.MaxName, BadString,
			func(n int) proto.Message {
				return proto.Gossip{ID: proto.MsgID{Origin: me}, Body: proto.CastBody{ContentType: x(n)}}
			},
			func(n int) []byte { return raw(codeGossip, rawOne, nest(5, str(2, n))) }},
		{"a broadcast's meta", proto.MaxMeta, BadCount,
			func(n int) proto.Message {
				return proto.Gossip{ID: proto.MsgID{Origin: me}, Body: proto.CastBody{Meta: many(n, proto.Tag{Key: "x"})}}
			},
			func(n int) []byte { return raw(codeGossip, rawOne, nest(5, times(n, nest(4, str(1, 1))))) }},
		{"records in a broadcast", proto.MaxRecords, BadCount,
			func(n int) proto.Message {
				return proto.Gossip{ID: proto.MsgID{Origin: me}, Body: proto.DirectoryBody{Records: many(n, proto.Record{Down: 1})}}
			},
			func(n int) []byte { return raw(codeGossip, rawOne, nest(3, times(n, nest(1, num(2, 1))))) }},
		{"records in SyncRecords", proto.MaxRecords, BadCount,
			func(n int) proto.Message { return proto.SyncRecords{Records: many(n, proto.Record{Down: 1})} },
			func(n int) []byte { return raw(codeSyncRecords, times(n, nest(2, num(2, 1)))) }},
		{"buckets in SyncRecords", proto.Buckets, BadCount,
			func(n int) proto.Message { return proto.SyncRecords{Buckets: make([]byte, n)} },
			func(n int) []byte { return raw(codeSyncRecords, nest(1, make([]byte, n))) }},
		{"opinions", proto.MaxOpinions, BadCount,
			func(n int) proto.Message {
				return proto.SyncRecords{Records: []proto.Record{{Opinions: many(n, opinion)}}}
			},
			func(n int) []byte { return raw(codeSyncRecords, nest(2, times(n, rawTwice))) }},
		{"a tombstone's name", proto.MaxName, BadString,
			func(n int) proto.Message {
				return proto.SyncRecords{Records: []proto.Record{{Tomb: &proto.Tombstone{ID: me, Name: x(n)}}}}
			},
			func(n int) []byte { return raw(codeSyncRecords, nest(2, nest(4, ident(1, me), str(2, n)))) }},
		{"an entry's name", proto.MaxName, BadString,
			func(n int) proto.Message { return withEntry(func(e *proto.Entry) { e.Name = x(n) }) },
			func(n int) []byte { return rawEntry(str(2, n)) }},
		{"an entry's addresses", proto.MaxAddrs, BadCount,
			func(n int) proto.Message { return withEntry(func(e *proto.Entry) { e.Addrs = many(n, "x") }) },
			func(n int) []byte { return rawEntry(times(n, str(6, 1))) }},
		{"an entry's address", proto.MaxName, BadString,
			func(n int) proto.Message { return withEntry(func(e *proto.Entry) { e.Addrs = many(1, x(n)) }) },
			func(n int) []byte { return rawEntry(str(6, n)) }},
		{"an entry's zone", proto.MaxName, BadString,
			func(n int) proto.Message { return withEntry(func(e *proto.Entry) { e.Zone = x(n) }) },
			func(n int) []byte { return rawEntry(str(7, n)) }},
		{"an entry's tags", proto.MaxTags, BadCount,
			func(n int) proto.Message {
				return withEntry(func(e *proto.Entry) { e.Tags = many(n, proto.Tag{Key: "x"}) })
			},
			func(n int) []byte { return rawEntry(times(n, nest(8, str(1, 1)))) }},
		{"a tag's key", proto.MaxName, BadString,
			func(n int) proto.Message {
				return withEntry(func(e *proto.Entry) { e.Tags = []proto.Tag{{Key: x(n)}} })
			},
			func(n int) []byte { return rawEntry(nest(8, str(1, n))) }},
		{"a tag's value", proto.MaxValue, BadString,
			func(n int) proto.Message {
				return withEntry(func(e *proto.Entry) { e.Tags = []proto.Tag{{Value: x(n)}} })
			},
			func(n int) []byte { return rawEntry(nest(8, str(2, n))) }},
		{"an entry's handlers", proto.MaxHandlers, BadCount,
			func(n int) proto.Message { return withEntry(func(e *proto.Entry) { e.Handlers = many(n, "x") }) },
			func(n int) []byte { return rawEntry(times(n, str(9, 1))) }},
		{"an entry's handler", proto.MaxName, BadString,
			func(n int) proto.Message { return withEntry(func(e *proto.Entry) { e.Handlers = many(1, x(n)) }) },
			func(n int) []byte { return rawEntry(str(9, n)) }},
		{"an entry's groups", proto.MaxGroups, BadCount,
			func(n int) proto.Message { return withEntry(func(e *proto.Entry) { e.Groups = many(n, "x") }) },
			func(n int) []byte { return rawEntry(times(n, str(10, 1))) }},
		{"an entry's group", proto.MaxName, BadString,
			func(n int) proto.Message { return withEntry(func(e *proto.Entry) { e.Groups = many(1, x(n)) }) },
			func(n int) []byte { return rawEntry(str(10, n)) }},
		{"selected IDs", proto.MaxSelectIDs, BadCount,
			func(n int) proto.Message { return withCall(func(c *proto.Call) { c.Select.IDs = make([]peer.ID, n) }) },
			func(n int) []byte { return rawCall(nest(5, nest(1, make([]byte, 16*n))), nil, nil) }},
		{"a selected zone", proto.MaxName, BadString,
			func(n int) proto.Message { return withCall(func(c *proto.Call) { c.Select.Zone = x(n) }) },
			func(n int) []byte { return rawCall(nest(5, str(2, n)), nil, nil) }},
		{"a selected group", proto.MaxName, BadString,
			func(n int) proto.Message { return withCall(func(c *proto.Call) { c.Select.Group = x(n) }) },
			func(n int) []byte { return rawCall(nest(5, str(3, n)), nil, nil) }},
		{"a selected handler", proto.MaxName, BadString,
			func(n int) proto.Message { return withCall(func(c *proto.Call) { c.Select.Handler = x(n) }) },
			func(n int) []byte { return rawCall(nest(5, str(4, n)), nil, nil) }},
		{"selected tags", proto.MaxTags, BadCount,
			func(n int) proto.Message {
				return withCall(func(c *proto.Call) { c.Select.Tags = many(n, proto.Tag{Key: "x"}) })
			},
			func(n int) []byte { return rawCall(nest(5, times(n, someTag)), nil, nil) }},
		{"excluded", proto.MaxExcluded, BadCount,
			func(n int) proto.Message { return withCall(func(c *proto.Call) { c.Excluded = make([]peer.ID, n) }) },
			func(n int) []byte { return rawCall(nil, nest(6, make([]byte, 16*n)), nil) }},
		{"a method", proto.MaxName, BadString,
			func(n int) proto.Message { return withCall(func(c *proto.Call) { c.Request.Method = x(n) }) },
			func(n int) []byte { return rawCall(nil, nil, str(2, n)) }},
		{"a content type", proto.MaxName, BadString,
			func(n int) proto.Message { return withCall(func(c *proto.Call) { c.Request.ContentType = x(n) }) },
			func(n int) []byte { return rawCall(nil, nil, str(3, n)) }},
		{"meta", proto.MaxMeta, BadCount,
			func(n int) proto.Message {
				return withCall(func(c *proto.Call) { c.Request.Meta = many(n, proto.Tag{Key: "x"}) })
			},
			func(n int) []byte { return rawCall(nil, nil, times(n, someTag)) }},
		{"a reason", proto.MaxValue, BadString,
			func(n int) proto.Message { return withResult(func(r *proto.Result) { r.Reason = x(n) }) },
			func(n int) []byte { return rawResult(str(6, n)) }},
		{"an error code", proto.MaxName, BadString,
			func(n int) proto.Message { return withResult(func(r *proto.Result) { r.Code = x(n) }) },
			func(n int) []byte { return rawResult(str(7, n)) }},
		{"a result's content type", proto.MaxName, BadString,
			func(n int) proto.Message { return withResult(func(r *proto.Result) { r.ContentType = x(n) }) },
			func(n int) []byte { return rawResult(str(8, n)) }},
		{"results", proto.MaxResults, BadCount,
			func(n int) proto.Message { return proto.Echo{ID: wave, Results: many(n, oneRes)} },
			func(n int) []byte {
				return raw(codeEcho, rawWave, times(n, nest(5, ident(1, me), num(3, 1), num(4, 1))))
			}},
		{"receipts", proto.MaxResults, BadCount,
			func(n int) proto.Message { return proto.Echo{ID: wave, Receipts: many(n, proto.Receipt{Node: me})} },
			func(n int) []byte { return raw(codeEcho, rawWave, times(n, nest(6, ident(1, me)))) }},
		{"testimony", proto.MaxResults, BadCount,
			func(n int) proto.Message { return proto.Echo{ID: wave, Testimony: many(n, witness)} },
			func(n int) []byte {
				return raw(codeEcho, rawWave, times(n, nest(7, ident(1, me), ident(2, me), num(3, 1))))
			}},
	} {
		t.Run(c.what, func(t *testing.T) {
			at := c.msg(c.limit)
			if got := Append(nil, at); !bytes.Equal(got, c.frame(c.limit)) {
				t.Fatalf("the hand-made frame is another:\n%.80x\n%.80x", got, c.frame(c.limit))
			}
			if got, err := Parse(c.frame(c.limit)); err != nil || !reflect.DeepEqual(got, at) {
				t.Errorf("at the bound: %v", err)
			}
			wantReason(t, c.frame(c.limit+1), c.want)
			mustPanic(t, c.what, "wire: append", func() { Append(nil, c.msg(c.limit+1)) })
		})
	}
}

func TestHellosAreCappedToo(t *testing.T) {
	rawHello := func(n int) []byte { return raw(codeHello, num(3, 1), str(4, n), peerOf(5)) }
	if _, err := ParseHello(rawHello(proto.MaxName)); err != nil {
		t.Error(err)
	}
	if _, err := ParseHello(rawHello(proto.MaxName + 1)); err == nil {
		t.Error("a cluster of 256 bytes was taken")
	}
	rawRefusal := func(n int) []byte { return raw(codeRefusal, num(1, 1), str(4, n)) }
	if _, err := ParseHello(rawRefusal(proto.MaxValue)); err == nil || strings.Contains(err.Error(), "bad_string") {
		t.Error(err)
	}
	if _, err := ParseHello(rawRefusal(proto.MaxValue + 1)); err == nil || !strings.Contains(err.Error(), "bad_string") {
		t.Error(err)
	}
}

func TestTheLongestFrameTravels(t *testing.T) {
	payload := make([]byte, proto.MaxFrame)
	over := len(rawBody(payload)) - proto.MaxFrame
	frame := rawBody(payload[over:])
	if len(frame) != proto.MaxFrame {
		t.Fatal(len(frame))
	}
	if _, err := Parse(frame); err != nil {
		t.Error(err)
	}
	wantReason(t, append(frame, num(4, 1)...), Oversize)
	mustPanic(t, "a frame too long", "at most 8388608", func() { Append(nil, proto.CallBody{ID: wave, Payload: payload[over-1:]}) })
}

// rawBody is the frame of a CallBody, however long.
func rawBody(payload []byte) []byte {
	return raw(codeCallBody, rawWave, nest(2, payload))
}
