package core

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// Two processes of one name meet that hold no link to anybody, each dials the other, and each is told that the name is taken.
func TestOfTwoLonelyProcessesOfOneNameThatRefuseEachOtherOneStays(t *testing.T) {
	for _, low := range []bool{true, false} {
		ids := []peer.ID{{1}, {2}}
		if !low {
			ids[0], ids[1] = ids[1], ids[0]
		}
		info := func(i int) proto.PeerInfo {
			return proto.PeerInfo{ID: ids[i], Name: "same", Addrs: []string{"127.0.0.1:1"}, Incarnation: 1}
		}
		now := time.Unix(1000, 0)
		c := New(Default(), proto.Entry{ID: ids[0], Name: "same", Addrs: []string{"127.0.0.1:1"}}, rand.New(rand.NewPCG(1, 1)), now)
		friend := proto.PeerInfo{ID: peer.ID{9}, Name: "friend", Addrs: []string{"127.0.0.1:9"}, Incarnation: 1}
		c.Step(now, proto.LinkUp{Link: 9, Peer: friend, Kind: proto.LinkOverlay})
		c.Step(now, proto.Received{Link: 9, Msg: proto.Join{Self: friend}})
		for range 20 { // with a neighbour it is born, be it after a wait
			now = now.Add(100 * time.Millisecond)
			c.Step(now, proto.Wake{})
		}
		c.Step(now, proto.LinkDown{Link: 9, Why: proto.DownReset})
		c.Step(now, proto.LinkUp{Link: 1, Peer: info(1), Kind: proto.LinkOverlay})
		refused, ends := false, false
		for _, m := range []proto.Message{proto.Join{Self: info(1)}, proto.Refuse{Why: proto.RefuseNameInUse}} {
			for _, o := range c.Step(now, proto.Received{Link: 1, Msg: m}) {
				switch o := o.(type) {
				case proto.Send:
					r, is := o.Msg.(proto.Refuse)
					refused = refused || is && r.Why == proto.RefuseNameInUse
				case proto.Fatal:
					ends = true
				}
			}
		}
		if !refused || ends == low {
			t.Errorf("the one of the lower ID: %v; it refused the other: %v; it ends: %v", low, refused, ends)
		}
	}
}
