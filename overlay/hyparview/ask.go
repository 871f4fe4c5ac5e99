package hyparview

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// purpose is what a dial is for.
type purpose uint8

const (
	forNeighbor purpose = iota + 1 // ask a peer of the passive view for a place
	forContact                     // join at an address; who is there will turn out
	forSplit                       // take a walked joiner into a full view
	forSwap                        // exchange a member for this peer
	forBridge                      // join another component
	forProbe                       // see whether a passive entry lives
)

// attempt is a dial of ours and what came of it so far.
type attempt struct {
	tag     uint64
	purpose purpose
	peer    proto.PeerInfo // zero with forContact
	contact string         // key of the contact, with forContact
}

// needsRoom tells whether the attempt makes sense only while the view is not full.
func (a *attempt) needsRoom() bool {
	switch a.purpose {
	case forNeighbor, forContact:
		return true
	case forSplit, forSwap, forBridge, forProbe:
		return false
	}
	panic("hyparview: unknown purpose")
}

// pending counts dials and requests under way that match.
func (v *Views) pending(match func(*attempt) bool) int {
	n := 0
	for i := range v.dials {
		if match(&v.dials[i]) {
			n++
		}
	}
	for _, l := range v.links {
		if l.state == stateAsked && match(&l.attempt) {
			n++
		}
	}
	return n
}

// asking tells whether a request to this peer is under way.
func (v *Views) asking(id peer.ID) bool {
	return v.pending(func(a *attempt) bool { return a.peer.ID == id && a.purpose != forProbe }) > 0
}

func (v *Views) pendingFor(p purpose) int {
	return v.pending(func(a *attempt) bool { return a.purpose == p })
}

// wants is how many further requests may start: never more than there is room
// for, so that an Accept nearly always finds its place free.
func (v *Views) wants() int {
	n := v.pending((*attempt).needsRoom)
	return min(v.cfg.Requests, v.cfg.Active-v.active.Len()) - n
}

// urgent tells whether requests have high priority: only when the active view
// has 0 or 1 members ("raising it starts an endless eviction cascade"), and
// only after others refused: the first answers in a storm of joiners are
// redirects, and who redirects has room nearby more often than not.
func (v *Views) urgent() bool {
	return v.active.Len() <= 1 && v.refusals >= 2*v.cfg.Requests
}

// refill asks peers until enough requests are under way. "Always refill to the
// maximum": a minimum below it left islands without any failure.
func (v *Views) refill(now time.Time, tick bool, out *proto.Out) {
	if v.active.Len() >= v.cfg.Active {
		return
	}
	if tick {
		v.refillAt = now.Add(v.refillWait)
	}
	if v.contacts.spread > 0 {
		v.dialContacts(now, out)
	}
	for v.wants() > 0 {
		info, ok := v.candidate(now, tick)
		if !ok {
			break
		}
		v.dial(now, attempt{purpose: forNeighbor, peer: info}, info.Addrs, proto.LinkOverlay, out)
	}
	if tick {
		v.walkSelf(now, out)
	}
	if v.active.Len() < 2 && v.wants() > 0 {
		v.dialContacts(now, out)
	}
}

func (v *Views) dial(now time.Time, a attempt, addrs []string, kind proto.LinkKind, out *proto.Out) {
	v.mayAsk(now, &a)
	v.dialSeq++
	a.tag = proto.DialTag(proto.OwnerViews, v.dialSeq)
	v.dials = append(v.dials, a)
	out.Add(proto.Dial{
		Tag: a.tag, Owner: proto.OwnerViews, Kind: kind, Addrs: addrs, Expect: a.peer.ID, Timeout: v.cfg.DialTimeout,
	})
}

// candidate chooses whom to ask: peers that were named to us, then a random one
// of the passive view, then of the directory. With an empty view a cool-down no
// longer protects anybody, but then only ticks ask, not answers.
func (v *Views) candidate(now time.Time, tick bool) (proto.PeerInfo, bool) {
	for len(v.preferred) > 0 {
		id := v.preferred[0]
		v.preferred = slices.Delete(v.preferred, 0, 1)
		if k, ok := v.passive.Get(id); ok && v.usable(now, &k.info) {
			return k.info, true
		}
	}
	for _, i := range v.sample(v.passive.Len(), v.passive.Len()) {
		if _, k := v.passive.At(i); v.usable(now, &k.info) {
			return k.info, true
		}
	}
	for _, i := range v.sample(len(v.learned), 64) {
		if info := v.learned[i].Info(); v.usable(now, &info) {
			return info, true
		}
	}
	if !tick || v.active.Len() > 0 {
		return proto.PeerInfo{}, false
	}
	for _, i := range v.sample(v.passive.Len(), v.passive.Len()) {
		if _, k := v.passive.At(i); !v.asking(k.info.ID) {
			return k.info, true
		}
	}
	for _, i := range v.sample(len(v.learned), 64) {
		if info := v.learned[i].Info(); info.ID != v.self.ID && len(info.Addrs) > 0 && !v.asking(info.ID) {
			return info, true
		}
	}
	return proto.PeerInfo{}, false
}

// usable tells whether a peer may be asked now.
func (v *Views) usable(now time.Time, info *proto.PeerInfo) bool {
	return info.ID != v.self.ID && len(info.Addrs) > 0 && !v.active.Has(info.ID) && !v.isCooling(now, info.ID) && !v.asking(info.ID)
}

// endAttempt takes the attempt of a dial that was answered.
func (v *Views) endAttempt(tag uint64) attempt {
	i := slices.IndexFunc(v.dials, func(a attempt) bool { return a.tag == tag })
	mustHold(i >= 0, "a dial is answered once, and only if it was ours")
	a := v.dials[i]
	v.dials = slices.Delete(v.dials, i, i+1)
	return a
}

// dialled goes on where a dial of ours stands: ask, unless it came too late.
func (v *Views) dialled(now time.Time, l *link, out *proto.Out) {
	a := &l.attempt
	if a.purpose == forContact {
		v.contacts.learnt(a.contact, l.peer.ID)
		a.peer = l.peer
	} else if a.peer.ID != l.peer.ID {
		v.hangup(l, "another node", false, out)
		out.Add(proto.Ignored{Why: "views_another_node", Peer: l.peer.ID})
		return
	}
	if v.passive.Has(l.peer.ID) {
		v.remember(l.peer, now)
	}
	if why := v.tooLate(now, l); why != "" {
		v.hangup(l, why, false, out)
		return
	}
	l.state, l.deadline = stateAsked, now.Add(v.cfg.RequestTimeout)
	switch a.purpose {
	case forContact:
		out.Add(proto.Send{Link: l.id, Msg: proto.Join{Self: v.self}})
	case forNeighbor, forSplit, forSwap, forBridge:
		bridge := a.purpose == forBridge || a.purpose == forSwap
		out.Add(proto.Send{Link: l.id, Msg: proto.Neighbor{Self: v.self, High: v.urgent(), Bridge: bridge}})
	case forProbe:
		panic("hyparview: a probe asks for nothing")
	default:
		panic("hyparview: unknown purpose")
	}
}

// tooLate says why a dialled link is of no use any more, or nothing.
func (v *Views) tooLate(now time.Time, l *link) string {
	id := l.peer.ID
	switch {
	case l.attempt.purpose == forProbe:
		return "probe done"
	case v.leaving:
		return "leaving"
	case id == v.self.ID:
		return "ourselves"
	case v.active.Has(id):
		return "already linked"
	case v.pending(func(a *attempt) bool { return a.peer.ID == id && a.tag != l.attempt.tag && a.purpose != forProbe }) > 0:
		return "already asked" // a contact turned out to be somebody we also dialled
	case l.attempt.needsRoom() && v.active.Len() >= v.cfg.Active:
		return "full"
	case v.active.Len() > 0 && v.isCooling(now, id): // H8, for what began or was found out meanwhile
		return "cooling down"
	}
	return ""
}

// DialFailed takes the other answer to a dial.
func (v *Views) DialFailed(now time.Time, df proto.DialFailed, out *proto.Out) {
	a := v.endAttempt(df.Tag)
	switch {
	case a.purpose == forContact:
		if df.Why == proto.DialSelf {
			v.contacts.itIsUs(a.contact)
		}
	case df.Why == proto.DialLocal: // our own bound says nothing of the peer
		v.coolDown(now, a.peer.ID, v.cfg.RefusalWait, alive)
	default:
		v.failed(now, a.peer)
	}
	v.hungry = v.hungry || v.active.Len() < v.cfg.Floor
	v.settle(now, out)
}

// accept takes a yes: the peer has us already, now it is a member here too.
func (v *Views) accept(now time.Time, l *link, self *proto.PeerInfo, out *proto.Out) {
	if self.ID == l.peer.ID {
		l.peer = *self
	}
	mustHold(!v.active.Has(l.peer.ID), "a member is not asked")
	p := l.attempt.purpose
	bridge := p == forBridge && v.active.Len()-v.ordinary() < v.cfg.Bridges
	if !v.supersedes(l, out) {
		v.withdraw(l, proto.ByeDuplicate, "superseded", out)
		return
	}
	if !bridge && v.active.Len() >= v.cfg.Active {
		var victim *link
		if p == forSplit || p == forSwap {
			victim = v.victim(l.peer.ID)
		}
		if victim == nil {
			v.withdraw(l, proto.ByeTrimmed, "full", out)
			v.remember(l.peer, now)
			return
		}
		v.demote(now, victim, proto.ByeEvicted, &l.peer, out)
	}
	v.enter(now, l, bridge, out)
	v.hungry = true
}

// refused takes a no.
func (v *Views) refused(now time.Time, l *link, msg proto.Refuse, out *proto.Out) {
	v.hangup(l, "refused", false, out)
	id := l.peer.ID
	switch msg.Why {
	case proto.RefuseFull:
		v.refusals++
		v.coolDown(now, id, v.cfg.RefusalWait, alive)
		v.remember(l.peer, now)
		if v.active.Len() >= v.cfg.Floor {
			v.refillWait = min(2*v.refillWait, v.cfg.RefillSlowest)
		}
	case proto.RefuseAlready:
		v.coolDown(now, id, v.cfg.RefusalWait, alive)
	case proto.RefuseCoolDown:
		v.coolDown(now, id, v.cfg.CoolDown, alive)
	case proto.RefuseLeaving, proto.RefuseNameInUse, proto.RefuseSuperseded:
		v.failed(now, l.peer)
	default:
		v.coolDown(now, id, v.cfg.CoolDown, alive)
		out.Add(proto.Ignored{Why: "views_unknown_refusal", Peer: id})
	}
	v.takeHints(now, msg.Peers)
	v.hungry = v.hungry || v.active.Len() < v.cfg.Floor
}

// Bridge asks a node of another component for a link above the maximum. The
// caller has just heard of it at first hand, so no cool-down stands against it.
func (v *Views) Bridge(now time.Time, info proto.PeerInfo, out *proto.Out) {
	bridges := v.active.Len() - v.ordinary() + v.pendingFor(forBridge)
	if v.leaving || bridges >= v.cfg.Bridges || info.ID == v.self.ID || v.active.Has(info.ID) || v.asking(info.ID) || len(info.Addrs) == 0 {
		return
	}
	v.cooling.Delete(info.ID)
	v.dial(now, attempt{purpose: forBridge, peer: info}, info.Addrs, proto.LinkOverlay, out)
	v.settle(now, out)
}

// Swap exchanges one member for a node that came back, so that halves which a
// few bridges join grow together. There the link is a bridge, held above the
// maximum; here it is an ordinary one, and if the view is full a member is
// evicted once the other side has accepted. Nothing happens if it does not.
func (v *Views) Swap(now time.Time, info proto.PeerInfo, out *proto.Out) {
	if v.leaving || !v.usable(now, &info) || v.pendingFor(forSwap) > 0 {
		return
	}
	v.dial(now, attempt{purpose: forSwap, peer: info}, info.Addrs, proto.LinkOverlay, out)
	v.settle(now, out)
}
