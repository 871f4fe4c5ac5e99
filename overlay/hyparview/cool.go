package hyparview

import (
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// coolMax bounds the peers with a cool-down; the one that ends first goes.
const coolMax = 1024

// cool says until when a peer is not asked for a place.
type cool struct {
	until time.Time
	wait  time.Duration // the last one; the next doubles it
	// dead is the incarnation up to which it failed or is certified down: hearsay
	// of no higher one brings it back. alive: none that we know.
	dead uint64
}

const alive = 0

// coolDown starts or lengthens a peer's cool-down: base at first, then doubling,
// until it has been left alone for CoolDownMax. Who is alive and turns us away is
// not dead, whatever was said before; who is dead up to an incarnation may have
// turned us away in the next.
func (v *Views) coolDown(now time.Time, id peer.ID, base time.Duration, dead uint64) {
	if id.IsZero() {
		return
	}
	c, again := v.cooling.Get(id)
	wait := base
	if again && now.Sub(c.until) < v.cfg.CoolDownMax {
		wait = min(max(base, 2*c.wait), v.cfg.CoolDownMax)
	}
	if !again && v.cooling.Len() >= coolMax {
		v.cooling.Delete(v.coolest())
	}
	until := now.Add(wait + v.upTo(wait/8)) // or two that evicted each other meet again and again
	if dead != alive {
		dead = max(dead, c.dead)
	}
	v.cooling.Put(id, cool{until: until, wait: wait, dead: dead})
}

// coolest is the peer whose cool-down ends first.
func (v *Views) coolest() peer.ID {
	var first peer.ID
	var until time.Time
	for id, c := range v.cooling.All() {
		if first.IsZero() || c.until.Before(until) {
			first, until = id, c.until
		}
	}
	return first
}

// isCooling tells whether a peer must not be asked now.
func (v *Views) isCooling(now time.Time, id peer.ID) bool {
	c, ok := v.cooling.Get(id)
	return ok && now.Before(c.until)
}

// isDead tells whether hearsay about a peer is not believed now.
func (v *Views) isDead(now time.Time, info *proto.PeerInfo) bool {
	c, ok := v.cooling.Get(info.ID)
	return ok && c.dead != alive && now.Before(c.until) && info.Incarnation <= c.dead
}

// failed takes note that a peer was not there. Failed peers leave the passive
// view: "dead peers are handed on" otherwise (H6).
func (v *Views) failed(now time.Time, info proto.PeerInfo) {
	v.passive.Delete(info.ID)
	// What failed is the process as it is now, not as it was when it was greeted: the directory may have heard since that
	// it came back from being certified down, and its next word would bring it back here.
	incarnation := info.Incarnation
	for i := range v.learned {
		if v.learned[i].ID == info.ID {
			incarnation = max(incarnation, v.learned[i].Incarnation)
		}
	}
	v.coolDown(now, info.ID, v.cfg.CoolDown, max(1, incarnation))
}
