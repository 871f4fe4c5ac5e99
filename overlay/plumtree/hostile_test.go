package plumtree

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// A hostile peer says anything at all: no panic, every table within its bound,
// and no timer that never rests.
func TestNothingAPeerSaysBreaksTheBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := newOne(t, tight())
		links, last := []proto.LinkID{1, 2, 3}, proto.LinkID(3) // the first are not up
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			i := rapid.IntRange(0, len(links)-1).Draw(t, "link")
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				last++
				links[i] = last
				o.up(last, "b")
			case 1:
				o.step(func(out *proto.Out) { o.tree.NeighborDown(o.now, links[i], out) })
			case 2:
				o.say(rapid.Uint8Range(0, 15).Draw(t, "stream"), rapid.IntRange(0, 1200).Draw(t, "size"))
			case 3:
				o.wait(time.Duration(rapid.SampledFrom([]int{1, 30, 90, 1000, 6000, 70_000}).Draw(t, "wait")) * time.Millisecond)
			default:
				o.recv(links[i], hostile(t))
			}
		}
		o.wait(70 * time.Second)
		if o.tree.wants != 0 || o.tree.waiting != 0 || len(o.tree.windows) != 0 || len(o.tree.cache.queue) != 0 || o.tree.cache.bytes != 0 {
			t.Fatalf("left over when quiet: %d wants, %d bytes waiting, %d windows, %d kept", o.tree.wants, o.tree.waiting, len(o.tree.windows), len(o.tree.cache.queue))
		}
	})
}

func hostile(t *rapid.T) proto.Message {
	stream := rapid.SampledFrom([]uint8{0, 0, 3, 3, 3, 15, 16, 255}).Draw(t, "stream")
	seq := rapid.OneOf(rapid.Uint64Range(0, 40), rapid.Uint64Range(100, 300), rapid.SampledFrom([]uint64{1<<64 - 1, 1<<64 - 2, 1 << 63}))
	origin := rapid.Custom(func(t *rapid.T) peer.ID {
		return peer.ID{rapid.SampledFrom([]byte("\x00abcdefghij")).Draw(t, "origin")}
	})
	rangeOf := rapid.Custom(func(t *rapid.T) proto.Range {
		return proto.Range{Origin: origin.Draw(t, "origin"), From: seq.Draw(t, "from"), To: seq.Draw(t, "to"), Round: rapid.Uint16().Draw(t, "round")}
	})
	id := proto.MsgID{Origin: origin.Draw(t, "origin"), Stream: stream, Seq: seq.Draw(t, "seq")}
	list := rapid.SliceOfN(rangeOf, 0, 5).Draw(t, "ranges")
	if rapid.IntRange(0, 20).Draw(t, "long") == 0 {
		list = slices.Repeat(append(list, proto.Range{Origin: named1("x"), From: 1, To: 1 << 63}), 300)
	}
	switch rapid.IntRange(0, 7).Draw(t, "kind") {
	case 0:
		return proto.IHave{Stream: stream, Ranges: list}
	case 1:
		return proto.Graft{Stream: stream, Ranges: list}
	case 2:
		return proto.GraftMiss{Stream: stream, Ranges: list}
	case 3:
		return proto.Prune{Stream: stream}
	case 4:
		return proto.Last{ID: id, Repeat: rapid.Byte().Draw(t, "repeat")}
	case 5:
		return proto.Gossip{ID: id}
	default:
		return proto.Gossip{ID: id, Round: rapid.Uint16().Draw(t, "round"), Body: proto.CastBody{Payload: make([]byte, rapid.IntRange(0, 1200).Draw(t, "size"))}}
	}
}
