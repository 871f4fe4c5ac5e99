package core

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// Applications hear of a gap where it is in the sequence, not before what precedes it.
func TestAGapComesAfterTheBroadcastsBeforeIt(t *testing.T) {
	now := time.Unix(1000, 0)
	c := New(Default(), proto.Entry{ID: peer.ID{1}, Name: "a", Addrs: []string{"127.0.0.1:1"}}, rand.New(rand.NewPCG(1, 1)), now)
	origin := peer.ID{2}
	at := func(seq uint64) proto.DeliverBody {
		return proto.DeliverBody{ID: proto.MsgID{Origin: origin, Stream: 1, Seq: seq}, Body: proto.CastBody{}}
	}
	c.outer = nil
	c.inner.Add(at(3))
	c.inner.Add(proto.Gap{Origin: origin, Stream: 1, Count: 1})
	c.inner.Add(at(5))
	c.route(now)
	var told []uint64
	for _, o := range c.outer {
		switch o := o.(type) {
		case proto.Deliver:
			told = append(told, o.ID.Seq)
		case proto.Gap:
			told = append(told, 0)
		}
	}
	if len(told) != 3 || told[0] != 3 || told[1] != 0 || told[2] != 5 {
		t.Errorf("told %v, want 3, the gap, 5", told)
	}
}
