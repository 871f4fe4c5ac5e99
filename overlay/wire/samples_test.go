package wire

import (
	"bytes"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// sample is one message with every field set, written by hand: its frame is a
// golden one. Between them the gossips have every body.
type sample struct {
	name string
	msg  proto.Message
}

// id is a node ID whose 16 bytes are all b.
func id(b byte) peer.ID { return peer.ID(bytes.Repeat([]byte{b}, peer.IDLen)) }

var (
	alice = proto.PeerInfo{ID: id(0xa1), Name: "alice", Addrs: []string{"10.0.0.1:7600", "[fd00::1]:7600"}, Incarnation: 1700000000000}
	bob   = proto.PeerInfo{ID: id(0xb2), Name: "bob", Addrs: []string{"10.0.0.2:7600"}, Incarnation: 7}

	wave   = proto.CallID{Caller: id(0xa1), Seq: 5}
	direct = proto.CallID{Caller: id(0xa1), Target: id(0xb2), Seq: 300}
	cast   = proto.MsgID{Origin: id(0xa1), Stream: 3, Seq: 1000}

	ranges = []proto.Range{{Origin: id(0xa1), From: 1, To: 9, Round: 2}, {Origin: id(0xb2), From: 300, To: 301, Round: 1}}

	call = proto.Call{
		ID: direct, Round: 1, Oldest: 4,
		Asked: &proto.Asked{
			From: alice,
			Select: proto.Selector{
				IDs: []peer.ID{id(0xb2), id(0xc3)}, Zone: "eu-1a", Group: "web", Handler: "cache/flush",
				Tags: []proto.Tag{{Key: "role", Value: "cache"}}, NotSelf: true, Draining: true,
			},
			Excluded: []peer.ID{id(0xd4)},
			Request: proto.Request{
				Mode: proto.ModeCall, Method: "cache/flush", ContentType: "text/plain",
				Meta: []proto.Tag{{Key: "traceparent", Value: "00-01-02-00"}},
			},
		},
		Payload: []byte("all of it"), Size: 9,
		Elapsed: time.Millisecond, Remaining: 2 * time.Second, Stamp: 90 * time.Second,
	}
	result = proto.NodeResult{Node: id(0xb2), Incarnation: 7, Result: proto.Result{
		Outcome: proto.AppError, Executed: proto.ExecutedYes, Stage: proto.StageFinished, Reason: "no space",
		Code: "ENOSPC", ContentType: "text/plain", Payload: []byte("tmp"), Size: 3,
	}}
	echo = proto.Echo{
		ID: wave, Round: 1, Final: true, Spread: true, Results: []proto.NodeResult{result},
		Receipts:  []proto.Receipt{{Node: id(0xc3), Parent: id(0xb2), Round: 1}},
		Testimony: []proto.Testimony{{Witness: id(0xb2), Node: id(0xd4), Kind: proto.TestifySilent, Received: true, Ago: 80 * time.Millisecond}},
	}
	records = []proto.Record{
		{
			Entry: &proto.Entry{
				ID: id(0xa1), Name: "alice", Birth: 1700000000000, Incarnation: 1700000000001, Version: 12,
				Addrs: []string{"10.0.0.1:7600"}, Zone: "eu-1a", Tags: []proto.Tag{{Key: "role", Value: "cache"}, {Key: "empty"}},
				Handlers: []string{"cache/flush", "cache/get"}, Groups: []string{"web"}, Streams: 0x8001,
				VersionMin: 1, VersionMax: 2, Left: true, Draining: true,
			},
			Down: 1700000000000,
			Opinions: []proto.Opinion{{
				Accused: id(0xa1), Incarnation: 1700000000001, Version: 12, Author: id(0xb2), Counter: 3, Accuse: true, HalfWeight: true,
			}},
		},
		{Tomb: &proto.Tombstone{ID: id(0xd4), Name: "dora", Birth: 1600000000000, Incarnation: 1600000000002}},
	}

	hello = proto.Hello{
		VersionMin: 1, VersionMax: 2, Kind: proto.LinkLane, Cluster: "prod", Self: alice, Lane: 17,
		Key: bytes.Repeat([]byte{0x11}, keyLen), Proof: bytes.Repeat([]byte{0x22}, proofLen),
	}
	refusal = Refusal{Why: RefusedCluster, VersionMin: 1, VersionMax: 2, Text: `this is cluster "prod"`}
)

func samples() []sample {
	hashes := make([]uint64, proto.Buckets)
	for i := range hashes {
		hashes[i] = uint64(i) << 32
	}
	return []sample{
		{"join", proto.Join{Self: alice}},
		{"forward_join", proto.ForwardJoin{Joiner: alice, TTL: 6}},
		{"neighbor", proto.Neighbor{Self: alice, High: true, Bridge: true}},
		{"accept", proto.Accept{Self: bob}},
		{"refuse", proto.Refuse{Why: proto.RefuseFull, Peers: []proto.PeerInfo{alice, bob}}},
		{"bye", proto.Bye{Why: proto.ByeLeaving, Peers: []proto.PeerInfo{bob}}},
		{"shuffle", proto.Shuffle{Origin: alice, TTL: 3, Peers: []proto.PeerInfo{bob}}},
		{"shuffle_reply", proto.ShuffleReply{Peers: []proto.PeerInfo{alice, bob}}},
		{"gossip", proto.Gossip{ID: proto.MsgID{Origin: id(0xa1), Stream: 1, Seq: 8}, Round: 4, Body: proto.DirectoryBody{Records: records}}},
		{"gossip", proto.Gossip{ID: proto.MsgID{Origin: id(0xa1), Stream: 1, Seq: 9}, Round: 4, Body: proto.BeaconBody{}}},
		{"gossip", proto.Gossip{ID: cast, Round: 4, Body: proto.CastBody{
			Topic: "news", ContentType: "text/plain", Payload: []byte("hear, hear"), Meta: []proto.Tag{{Key: "traceparent", Value: "00-01-02-00"}},
		}}},
		{"ihave", proto.IHave{Stream: 3, Ranges: ranges}},
		{"graft", proto.Graft{Stream: 3, Ranges: ranges}},
		{"graft_miss", proto.GraftMiss{Stream: 3, Ranges: ranges}},
		{"prune", proto.Prune{Stream: 15}},
		{"last", proto.Last{ID: cast, Repeat: 2}},
		{"ping", proto.Ping{Seq: 9, Sent: time.Second, Digest: 0x0123456789abcdef, Component: id(0xa1), Size: 1000, Load: 2}},
		{"pong", proto.Pong{Seq: 9, Echo: time.Second, Received: -time.Millisecond, Sent: 3 * time.Second, Digest: 1, Component: id(0xa1), Size: 1000, Load: 2}},
		{"sync_hashes", proto.SyncHashes{Buckets: hashes}},
		{"sync_records", proto.SyncRecords{Buckets: []uint8{0, 255}, Records: records, Reply: true, More: true}},
		{"call", call},
		{"took", proto.Took{ID: wave, Round: 1}},
		{"seen", proto.Seen{ID: wave, Round: 1}},
		{"echo", echo},
		{"adopt", proto.Adopt{Echo: echo}},
		{"cancel", proto.Cancel{ID: direct}},
		{"pull", proto.Pull{ID: wave}},
		{"call_body", proto.CallBody{ID: wave, Payload: []byte("all of it"), Gone: true}},
		{"ask", proto.Ask{Call: call, Via: id(0xc3)}},
		{"answer", proto.Answer{ID: direct, Node: id(0xb2), Result: &result}},
		{"status_ask", proto.StatusAsk{ID: direct}},
		{"status_answer", proto.StatusAnswer{ID: direct, Node: id(0xb2), Stage: proto.StageStarted, Result: &result}},
		{"help", proto.Help{Target: bob, Ask: proto.Ask{Call: call, Via: id(0xc3)}}},
		{"helpless", proto.Helpless{ID: direct, Target: id(0xb2), Why: proto.DialTimeout}},
	}
}

// goldens are all frames that must never change, by name.
func goldens() []struct {
	name  string
	frame []byte
} {
	var all []struct {
		name  string
		frame []byte
	}
	add := func(name string, frame []byte) {
		all = append(all, struct {
			name  string
			frame []byte
		}{name, frame})
	}
	add("hello", AppendHello(nil, hello))
	add("refusal", AppendRefusal(nil, refusal))
	for _, s := range samples() {
		add(s.name, Append(nil, s.msg))
	}
	return all
}
