package hyparview

import (
	"math/rand/v2"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// Views is one node's active and passive view. Its methods take the time, which
// never runs backwards, and append what is to be done. Not safe for concurrent
// use. It keeps the slices it is given and never changes them.
type Views struct {
	cfg  Config
	self proto.PeerInfo
	rng  *rand.Rand

	active  peer.Map[*link] // confirmed members; each link is in links, in stateActive
	passive peer.Map[known] // peers to try; disjoint from active
	cooling peer.Map[cool]  // peers not to be asked for a while
	links   []*link         // all connections of ours, by LinkID
	dials   []attempt       // asked of the network, no answer yet
	dialSeq uint64          // counts dials, for their tags

	preferred []peer.ID      // of passive, to ask first: others named them to us; at most Redirect
	learned   []*proto.Entry // living members as the directory told last
	contacts  contacts

	refillAt   time.Time // zero: the view is full
	refillWait time.Duration
	hungry     bool      // refill at the end of this step
	refusals   int       // for want of room, since somebody last entered
	walkAt     time.Time // not before this a walk for ourselves starts again
	shuffleAt  time.Time
	shuffled   time.Time // last shuffle of ours; zero: never
	lonelyAt   time.Time // when to call for help; zero: not lonely
	lonelyWait time.Duration
	leaving    bool
	unchecked  bool // touched since the last Check
	renamed    bool // somebody came into a view since
}

// New makes the empty views of self. It panics on a configuration that does not
// validate. Chance comes from rng alone.
func New(cfg Config, self proto.PeerInfo, now time.Time, rng *rand.Rand) *Views {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	mustHold(!self.ID.IsZero(), "a node has an ID")
	v := &Views{cfg: cfg, self: self, rng: rng, refillWait: cfg.RefillEvery, lonelyWait: cfg.Lonely}
	v.shuffleAt = now.Add(v.upTo(cfg.ShuffleEvery))
	v.settle(now, nil)
	return v
}

// SetSelf changes what this node tells of itself from now on; the ID stays.
func (v *Views) SetSelf(self proto.PeerInfo) {
	mustHold(self.ID == v.self.ID, "a process keeps its ID")
	v.self = self
}

// Learn tells the living members that the directory knows, self included or
// not. It replaces what was told before; the slice must not change afterwards.
// They are candidates for both views when these run short.
func (v *Views) Learn(now time.Time, members []*proto.Entry, out *proto.Out) {
	v.learned = members
	for _, i := range v.sample(len(members), v.cfg.Passive-v.passive.Len()) {
		v.hear(now, members[i].Info())
	}
	v.hungry = v.hungry || v.active.Len() < v.cfg.Floor
	v.refillSoon(now)
	v.settle(now, out)
}

// refillSoon makes the next tick come within RefillEvery, with some jitter.
func (v *Views) refillSoon(now time.Time) {
	v.refillWait = v.cfg.RefillEvery
	if soon := now.Add(v.refillWait/2 + v.upTo(v.refillWait/2)); !v.refillAt.IsZero() && soon.Before(v.refillAt) {
		v.refillAt = soon
	}
}

// Forget tells that a peer is certified down up to an incarnation, or left. It
// leaves the passive view, and is not let in again by hearsay for as long as
// that is handed on; an open link to it stays, for a healthy link is never
// dropped because a third node says so.
func (v *Views) Forget(now time.Time, id peer.ID, incarnation uint64, out *proto.Out) {
	if v.active.Has(id) || id == v.self.ID {
		return
	}
	v.passive.Delete(id)
	v.coolDown(now, id, v.cfg.CoolDown, max(1, incarnation))
	c, _ := v.cooling.Get(id)
	c.until = now.Add(v.hearsayFor())
	v.cooling.Put(id, c)
	v.settle(now, out)
}

// Leave says goodbye to all members and closes their links once drained.
// Nobody is asked or accepted any more.
func (v *Views) Leave(now time.Time, out *proto.Out) {
	if v.leaving {
		return
	}
	v.leaving = true
	for _, id := range v.active.Keys() {
		l, _ := v.active.Get(id)
		v.demote(now, l, proto.ByeLeaving, nil, out)
	}
	for _, l := range v.links {
		if l.state == stateAsked {
			v.withdraw(l, proto.ByeLeaving, "leaving", out)
		}
	}
	v.settle(now, out)
}

// SendFailed tells that a SendTo of ours reached nobody.
func (v *Views) SendFailed(now time.Time, id peer.ID, _ proto.Message, out *proto.Out) {
	if k, ok := v.passive.Get(id); ok && !v.active.Has(id) {
		v.failed(now, k.info)
	}
	v.settle(now, out)
}

// Wake does what has become due, and nothing when nothing has.
func (v *Views) Wake(now time.Time, out *proto.Out) {
	if !proto.Due(now, v.Deadline()) {
		return
	}
	for _, l := range append([]*link(nil), v.links...) {
		v.expire(now, l, out)
	}
	if !v.leaving {
		if proto.Due(now, v.lonelyAt) {
			v.callForHelp(now, out)
		}
		if proto.Due(now, v.refillAt) {
			v.refill(now, true, out)
		}
		if proto.Due(now, v.contacts.startAt) {
			v.contacts.startAt = time.Time{}
			v.hungry = true
		}
		if proto.Due(now, v.shuffleAt) {
			v.shuffle(now, out)
		}
	}
	v.settle(now, out)
}

// Deadline is when Wake is wanted next; zero means never.
func (v *Views) Deadline() time.Time {
	var next time.Time
	for _, l := range v.links {
		next = proto.Sooner(next, l.deadline, l.bridgeUntil)
	}
	if v.leaving {
		return next
	}
	return proto.Sooner(next, v.refillAt, v.contacts.startAt, v.lonelyAt, v.shuffleAt)
}

// Active returns the members' IDs in order.
func (v *Views) Active() []peer.ID { return v.active.Keys() }

// Degree is how many members the active view has.
func (v *Views) Degree() int { return v.active.Len() }

// Passive returns the IDs of the passive view in order.
func (v *Views) Passive() []peer.ID { return v.passive.Keys() }

// Link returns the link to an active member.
func (v *Views) Link(id peer.ID) (proto.LinkID, bool) {
	l, ok := v.active.Get(id)
	if !ok {
		return 0, false
	}
	return l.id, true
}

// settle ends every step: it refills if something called for it, and sets the
// timers that follow from the size of the view.
func (v *Views) settle(now time.Time, out *proto.Out) {
	v.unchecked = true
	if v.hungry && !v.leaving {
		v.refill(now, false, out)
	}
	v.hungry = false
	switch {
	case v.active.Len() >= v.cfg.Active:
		v.refillAt = time.Time{}
	case v.refillAt.IsZero():
		v.refillAt = now.Add(v.refillWait)
	}
	switch {
	case v.active.Len() >= 2:
		v.lonelyAt, v.lonelyWait = time.Time{}, v.cfg.Lonely
	case v.lonelyAt.IsZero():
		v.lonelyAt = now.Add(v.cfg.Lonely)
	}
}

// callForHelp: "fewer than two members" is how an isolated node looks from
// inside. Alone in a cluster of one or two it is no emergency.
func (v *Views) callForHelp(now time.Time, out *proto.Out) {
	v.lonelyAt = now.Add(v.lonelyWait)
	v.lonelyWait = min(2*v.lonelyWait, v.cfg.CoolDownMax)
	if !v.moreKnown() {
		return
	}
	out.Add(proto.ContactsWanted{Why: "fewer than two links"})
	v.contacts.spread = v.cfg.Spread
	v.hungry = true
}

// moreKnown tells whether anybody is known, by ID or address, that is no member.
func (v *Views) moreKnown() bool {
	if v.passive.Len() > 0 {
		return true
	}
	for i := range v.contacts.list {
		if hint := v.contacts.list[i].hint; hint.IsZero() || !v.active.Has(hint) {
			return true
		}
	}
	for i := range v.learned {
		if id := v.learned[i].ID; id != v.self.ID && !v.active.Has(id) {
			return true
		}
	}
	return false
}

// upTo draws a duration from [0, d).
func (v *Views) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(v.rng.Int64N(int64(d)))
}

// sample draws up to k different indexes below n, in random order.
func (v *Views) sample(n, k int) []int {
	if k <= 0 || n <= 0 {
		return nil
	}
	if k > n {
		k = n
	}
	if n <= 64 {
		return v.rng.Perm(n)[:k]
	}
	picked := make([]int, 0, k) // n is large and k small: repeats are rare
	for len(picked) < k {
		i := v.rng.IntN(n)
		repeated := false
		for _, j := range picked {
			repeated = repeated || i == j
		}
		if !repeated {
			picked = append(picked, i)
		}
	}
	return picked
}
