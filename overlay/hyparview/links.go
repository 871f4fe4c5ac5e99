package hyparview

import (
	"cmp"
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// state is how far a link has come.
type state uint8

const (
	stateIdle     state = iota + 1 // accepted; the other side has not asked yet
	stateAsked                     // dialled; our request waits for its answer
	stateActive                    // the peer is a member over this link
	stateDraining                  // the peer was a member; what is under way may end
	stateClosing                   // hung up; nothing counts but its LinkDown
)

// link is one connection, from its LinkUp to its LinkDown. What every step
// looks at stands first, so that it is little memory.
type link struct {
	id          proto.LinkID
	state       state
	ours        bool      // we dialled it
	deadline    time.Time // idle, asked, draining: until when
	bridgeUntil time.Time // active: can not be evicted before; zero: ordinary

	peer    proto.PeerInfo
	attempt attempt   // what it was dialled for
	since   time.Time // when it became active
	why     string    // draining: for NeighborDown
}

func (l *link) bridge() bool { return !l.bridgeUntil.IsZero() }

// find returns the link with this ID, or nil.
func (v *Views) find(id proto.LinkID) *link {
	i, ok := slices.BinarySearchFunc(v.links, id, (*link).compare)
	if !ok {
		return nil
	}
	return v.links[i]
}

func (l *link) compare(id proto.LinkID) int { return cmp.Compare(l.id, id) }

func (v *Views) track(l *link) {
	i, ok := slices.BinarySearchFunc(v.links, l.id, (*link).compare)
	mustHold(!ok, "a link comes up once")
	v.links = slices.Insert(v.links, i, l)
}

// LinkUp takes a connection of kind LinkOverlay, or the answer to a dial of
// ours whatever its kind. Other links are none of its business.
func (v *Views) LinkUp(now time.Time, up proto.LinkUp, out *proto.Out) {
	l := &link{id: up.Link, peer: up.Peer, ours: up.Dialed}
	switch {
	case up.Dialed:
		v.track(l)
		l.attempt = v.endAttempt(up.Tag)
		v.dialled(now, l, out)
	case up.Kind != proto.LinkOverlay:
		return
	default:
		v.accepted(now, l, out)
	}
	v.settle(now, out)
}

func (v *Views) accepted(now time.Time, l *link, out *proto.Out) {
	v.track(l)
	idle := 0
	for _, other := range v.links {
		if other.state == stateIdle {
			idle++
		}
	}
	if idle >= v.cfg.LinksMax {
		v.hangup(l, "too many waiting links", false, out)
		out.Add(proto.Ignored{Why: "views_too_many_links", Peer: l.peer.ID})
		return
	}
	l.state = stateIdle
	// Twice, because the request starts when the other side sees the link.
	l.deadline = now.Add(2 * v.cfg.RequestTimeout)
}

// LinkDown takes the end of a connection. News of a link that was replaced or
// hung up changes nothing (H7).
func (v *Views) LinkDown(now time.Time, down proto.LinkDown, out *proto.Out) {
	l := v.find(down.Link)
	if l == nil {
		return
	}
	v.links = slices.DeleteFunc(v.links, func(x *link) bool { return x == l })
	switch l.state {
	case stateIdle, stateClosing:
	case stateAsked:
		if down.Why == proto.DownClosed { // turned away without a word
			v.coolDown(now, l.peer.ID, v.cfg.RefusalWait, alive)
		} else {
			v.failed(now, l.peer)
		}
		v.hungry = v.hungry || v.active.Len() < v.cfg.Floor
	case stateActive:
		v.active.Delete(l.peer.ID)
		v.failed(now, l.peer)
		out.Add(proto.NeighborDown{Link: l.id, Peer: l.peer.ID, Why: "failed", Down: down.Why})
		v.repair()
	case stateDraining:
		// Announced: how the connection ended is no evidence against the peer.
		out.Add(proto.NeighborDown{Link: l.id, Peer: l.peer.ID, Why: l.why})
	default:
		panic("hyparview: unknown link state")
	}
	v.settle(now, out)
}

// expire ends what a link has waited for too long.
func (v *Views) expire(now time.Time, l *link, out *proto.Out) {
	if l.state == stateActive && proto.Due(now, l.bridgeUntil) {
		l.bridgeUntil = time.Time{}
		v.trim(now, l, out)
	}
	if !proto.Due(now, l.deadline) {
		return
	}
	switch l.state {
	case stateIdle:
		v.hangup(l, "asked for nothing", false, out)
	case stateAsked:
		// Should it have accepted this moment, Bye tells it that this is no failure.
		v.withdraw(l, proto.ByeTrimmed, "no answer", out)
		v.failed(now, l.peer)
		v.hungry = v.hungry || v.active.Len() < v.cfg.Floor
	case stateDraining:
		v.hangup(l, l.why, true, out)
		out.Add(proto.NeighborDown{Link: l.id, Peer: l.peer.ID, Why: l.why})
	case stateActive, stateClosing:
		panic("hyparview: a link in this state has no deadline")
	default:
		panic("hyparview: unknown link state")
	}
}

// enter makes the link's peer a member. There is room: the caller saw to it.
func (v *Views) enter(now time.Time, l *link, bridge bool, out *proto.Out) {
	id := l.peer.ID
	v.passive.Delete(id)
	v.forgetName(l.peer)
	v.endDrain(id, out)
	l.state, l.since, l.deadline = stateActive, now, time.Time{}
	if bridge {
		l.bridgeUntil = now.Add(v.cfg.BridgeFor)
	}
	v.active.Put(id, l)
	v.renamed = true
	v.contacts.met(id)
	v.refusals, v.refillWait = 0, v.cfg.RefillEvery
	out.Add(proto.NeighborUp{Link: l.id, Peer: l.peer})
	if bridge {
		v.shuffleOver(now, l, out)
	}
	if v.active.Len() >= v.cfg.Active {
		v.contacts.spread = 0
		for _, other := range v.links {
			if other.state == stateAsked && other.attempt.needsRoom() {
				v.withdraw(other, proto.ByeTrimmed, "full", out)
			}
		}
	}
}

// demote takes a member out for a reason of ours and drains its link. Evicted
// members go to the passive view (H6).
func (v *Views) demote(now time.Time, l *link, why proto.ByeWhy, newcomer *proto.PeerInfo, out *proto.Out) {
	id := l.peer.ID
	v.active.Delete(id)
	var others []proto.PeerInfo
	if why != proto.ByeLeaving {
		others = v.farewell(id, newcomer)
		v.coolDown(now, id, v.cfg.CoolDown, alive)
		v.remember(l.peer, now)
	}
	l.state, l.deadline, l.bridgeUntil, l.why = stateDraining, now.Add(v.cfg.Drain), time.Time{}, why.String()
	out.Add(proto.Send{Link: l.id, Msg: proto.Bye{Why: why, Peers: others}})
	out.Add(proto.NeighborDraining{Link: l.id, Peer: id})
}

// bye takes the other side's word that it will close the link.
func (v *Views) bye(now time.Time, l *link, msg proto.Bye, out *proto.Out) {
	left, dead := msg.Why == proto.ByeLeaving, uint64(alive)
	if left {
		dead = max(1, l.peer.Incarnation)
	}
	switch l.state {
	case stateIdle:
		v.hangup(l, "withdrawn", false, out)
	case stateAsked:
		v.hangup(l, "refused", false, out)
		v.coolDown(now, l.peer.ID, v.cfg.RefusalWait, dead)
	case stateActive:
		v.active.Delete(l.peer.ID)
		v.coolDown(now, l.peer.ID, v.cfg.CoolDown, dead)
		if !left {
			v.remember(l.peer, now)
		}
		// The other side closes it; should it never, twice the time is enough.
		l.state, l.bridgeUntil = stateDraining, time.Time{}
		l.deadline, l.why = now.Add(2*v.cfg.Drain), "bye_"+msg.Why.String()
		out.Add(proto.NeighborDraining{Link: l.id, Peer: l.peer.ID})
		if left || v.active.Len() <= 1 {
			v.repair()
		} else { // "repair on failure, never on eviction": the next tick will do
			v.refillSoon(now)
		}
	case stateDraining:
	case stateClosing:
		return
	default:
		panic("hyparview: unknown link state")
	}
	v.takeHints(now, msg.Peers)
}

// repair asks for a refill in this very step.
func (v *Views) repair() {
	v.hungry, v.refillWait = true, v.cfg.RefillEvery
}

// trim brings the ordinary members back to the maximum. The links above it are
// taken from the others: "dropping bridges first split the halves again".
func (v *Views) trim(now time.Time, keep *link, out *proto.Out) {
	for v.ordinary() > v.cfg.Active {
		l := v.victim(keep.peer.ID)
		mustHold(l != nil, "among more members than the maximum one can be trimmed")
		v.demote(now, l, proto.ByeTrimmed, nil, out)
	}
}

// victim draws a member that may be evicted, never the one spared; nil if there is none.
func (v *Views) victim(spared peer.ID) *link {
	var ordinary []*link
	for id, l := range v.active.All() {
		if !l.bridge() && id != spared {
			ordinary = append(ordinary, l)
		}
	}
	if len(ordinary) == 0 {
		return nil
	}
	return ordinary[v.rng.IntN(len(ordinary))]
}

// ordinary counts the members that are no bridges.
func (v *Views) ordinary() int {
	n := 0
	for _, l := range v.active.All() {
		if !l.bridge() {
			n++
		}
	}
	return n
}

// replace closes an active or draining link because its peer has a newer one,
// or because another process has taken its name.
func (v *Views) replace(l *link, why string, out *proto.Out) {
	if l.state == stateActive {
		v.active.Delete(l.peer.ID)
	}
	v.hangup(l, why, false, out)
	out.Add(proto.NeighborDown{Link: l.id, Peer: l.peer.ID, Why: why, Down: proto.DownHungUp})
}

// endDrain closes what still drains to a peer that comes back, so that nobody
// ever sees two neighbours of one ID.
func (v *Views) endDrain(id peer.ID, out *proto.Out) {
	for _, l := range v.links {
		if l.state == stateDraining && l.peer.ID == id {
			v.replace(l, l.why, out)
		}
	}
}

// withdraw takes a request back.
func (v *Views) withdraw(l *link, bye proto.ByeWhy, why string, out *proto.Out) {
	out.Add(proto.Send{Link: l.id, Msg: proto.Bye{Why: bye}})
	v.hangup(l, why, true, out)
}

func (v *Views) hangup(l *link, why string, flush bool, out *proto.Out) {
	l.state, l.deadline, l.bridgeUntil = stateClosing, time.Time{}, time.Time{}
	out.Add(proto.Hangup{Link: l.id, Why: why, Flush: flush})
}
