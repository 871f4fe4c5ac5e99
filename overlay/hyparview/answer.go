package hyparview

import (
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// Receive takes a message of this package that came over a link of any kind.
// From is who the handshake said is at its other end.
func (v *Views) Receive(now time.Time, id proto.LinkID, from peer.ID, msg proto.Message, out *proto.Out) {
	if reply, ok := msg.(proto.ShuffleReply); ok { // comes over whatever link there is
		v.shuffleReply(now, from, reply, out)
		v.settle(now, out)
		return
	}
	l := v.find(id)
	if l == nil || l.state == stateClosing {
		ignore(out, "views_link_not_current", from)
		return
	}
	switch msg := msg.(type) {
	case proto.Join:
		v.request(now, l, &msg.Self, wish{join: true}, out)
	case proto.Neighbor:
		v.request(now, l, &msg.Self, wish{high: msg.High, bridge: msg.Bridge}, out)
	case proto.Accept:
		if l.state != stateAsked {
			ignore(out, "views_accept_unasked", from)
			break
		}
		v.accept(now, l, &msg.Self, out)
	case proto.Refuse:
		if l.state != stateAsked {
			ignore(out, "views_refuse_unasked", from)
			break
		}
		v.refused(now, l, msg, out)
	case proto.Bye:
		v.bye(now, l, msg, out)
	case proto.ForwardJoin:
		if l.state != stateActive {
			ignore(out, "views_walk_from_no_member", from)
			break
		}
		v.forwardJoin(now, l, msg, out)
	case proto.Shuffle:
		if l.state != stateActive {
			ignore(out, "views_walk_from_no_member", from)
			break
		}
		v.shuffleWalk(now, l, msg, out)
	default:
		panic("hyparview: message of another machine")
	}
	v.settle(now, out)
}

// wish is what a request asks for.
type wish struct{ join, high, bridge bool }

// request answers Join and Neighbor, always.
func (v *Views) request(now time.Time, l *link, self *proto.PeerInfo, q wish, out *proto.Out) {
	if l.state != stateIdle {
		ignore(out, "views_request_again", l.peer.ID)
		return
	}
	if self.ID != l.peer.ID {
		v.hangup(l, "request for another", false, out)
		ignore(out, "views_request_for_another", l.peer.ID)
		return
	}
	l.peer = *self
	if why := v.mustRefuse(now, l); why != 0 {
		v.refuse(now, l, why, out)
		return
	}
	if !v.supersedes(l, out) {
		v.refuse(now, l, proto.RefuseSuperseded, out)
		return
	}
	v.cancelDialTo(l.peer.ID, out)
	if old, ok := v.active.Get(l.peer.ID); ok {
		v.replace(old, "replaced", out) // it asks again: it has lost the old link
	}
	bridge := q.bridge && v.active.Len()-v.ordinary() < v.cfg.Bridges
	if !bridge && v.active.Len() >= v.cfg.Active && !v.makeRoom(now, l, q.high, out) {
		return
	}
	out.Add(proto.Send{Link: l.id, Msg: proto.Accept{Self: v.self}})
	v.enter(now, l, bridge, out)
	if q.join {
		v.walk(l, out)
	}
}

// makeRoom evicts for a request of high priority, or else refuses. Unlike in the
// paper a joiner is redirected, not let in at a member's cost: of a thousand
// that start at once each would throw out another.
func (v *Views) makeRoom(now time.Time, l *link, high bool, out *proto.Out) bool {
	if !high {
		v.refuse(now, l, proto.RefuseFull, out)
		return false
	}
	if c, ok := v.cooling.Get(l.peer.ID); ok && now.Before(c.until) && c.dead == alive && c.wait >= v.cfg.CoolDown {
		v.refuse(now, l, proto.RefuseCoolDown, out) // we evicted it just now
		return false
	}
	victim := v.victim(l.peer.ID)
	if victim == nil {
		v.refuse(now, l, proto.RefuseFull, out)
		return false
	}
	v.demote(now, victim, proto.ByeEvicted, &l.peer, out)
	return true
}

// mustRefuse says why a request must be refused whatever room there is; zero: it must not.
func (v *Views) mustRefuse(now time.Time, l *link) proto.RefuseWhy {
	if v.leaving {
		return proto.RefuseLeaving
	}
	if v.self.ID.Less(l.peer.ID) && v.dialledLately(now, l.peer.ID) {
		return proto.RefuseAlready
	}
	return 0
}

// dialledLately tells whether a connection dialled by us to this peer carries a
// request, or carried one so lately that a request of the peer's may have
// crossed it. Both sides then keep the connection dialled by the lower ID.
func (v *Views) dialledLately(now time.Time, id peer.ID) bool {
	for _, l := range v.links {
		if l.peer.ID != id || !l.ours {
			continue
		}
		crossed := l.since.Add(v.cfg.DialTimeout + v.cfg.RequestTimeout)
		if l.state == stateAsked || (l.state == stateActive && now.Before(crossed)) {
			return true
		}
	}
	return false
}

// cancelDialTo gives up requests of ours to a peer whose own request is taken.
func (v *Views) cancelDialTo(id peer.ID, out *proto.Out) {
	for _, l := range v.links {
		if l.state == stateAsked && l.peer.ID == id {
			v.hangup(l, "dialled by both", false, out)
		}
	}
}

// supersedes tells whether a peer may be a member beside those we have: of one
// name only the highest incarnation may (H1). An older one goes.
func (v *Views) supersedes(l *link, out *proto.Out) bool {
	old := v.namesake(&l.peer)
	if old == nil {
		return true
	}
	if o, n := old.peer.Incarnation, l.peer.Incarnation; o > n || (o == n && l.peer.ID.Less(old.peer.ID)) {
		return false
	}
	v.replace(old, "superseded", out)
	return true
}

// refuse says no, with a reason and with others to try. Who was refused is
// alive, and is remembered.
func (v *Views) refuse(now time.Time, l *link, why proto.RefuseWhy, out *proto.Out) {
	mustHold(why != 0, "H5: a refusal has a reason")
	msg := proto.Refuse{Why: why}
	if why == proto.RefuseFull || why == proto.RefuseCoolDown {
		msg.Peers = v.redirect(l.peer.ID)
		v.remember(l.peer, now)
	}
	out.Add(proto.Send{Link: l.id, Msg: msg})
	v.hangup(l, "refused", true, out)
}

func ignore(out *proto.Out, why string, from peer.ID) {
	out.Add(proto.Ignored{Why: why, Peer: from})
}
