package core

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// Whoever calls a part without saying so leaves its deadline as it was known before; CheckAll tells.
func TestADialForAPooledLinkMovesTheDeadline(t *testing.T) {
	cfg, now := Default(), time.Unix(1000, 0)
	cfg.PoolIdle = 100 * time.Millisecond // sooner than all else
	c := New(cfg, proto.Entry{ID: peer.ID{1}, Name: "a", Addrs: []string{"127.0.0.1:1"}}, rand.New(rand.NewPCG(1, 1)), now)
	c.Step(now, proto.Wake{})
	c.called = [parts]bool{}
	c.sendTo(now, proto.SendTo{Owner: proto.OwnerWave, Peer: proto.PeerInfo{ID: peer.ID{2}, Addrs: []string{"127.0.0.1:2"}}})
	c.route(now)
	c.wake(now)
	c.CheckAll()
	if want := now.Add(cfg.PoolIdle / 2); !c.Deadline().Equal(want) {
		t.Fatalf("wants to be woken at %v, to sweep its links at %v", c.Deadline(), want)
	}
}
