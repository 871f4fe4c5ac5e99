package hyparview

import (
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// walk sends a joiner that was taken through the overlay, over all other links
// (HyParView, 4.2).
func (v *Views) walk(joiner *link, out *proto.Out) {
	for id, l := range v.active.All() {
		if id != joiner.peer.ID {
			out.Add(proto.Send{Link: l.id, Msg: proto.ForwardJoin{Joiner: joiner.peer, TTL: v.cfg.ARWL}})
		}
	}
}

// walkSelf sends a walk for this node, if its view stays below the floor while
// others are known, because these are full or cooling down. Where the walk ends
// an edge is split. High priority could do the same and must not: it is for
// views of 0 or 1, "raising it starts an endless eviction cascade".
func (v *Views) walkSelf(now time.Time, out *proto.Out) {
	n := v.active.Len()
	if n == 0 || n >= v.cfg.Floor || v.passive.Len() == 0 || now.Before(v.walkAt) || len(v.self.Addrs) == 0 {
		return
	}
	if v.refusals < v.cfg.Requests && v.wants() <= 0 {
		return
	}
	v.walkAt = now.Add(v.cfg.RefillEvery)
	_, l := v.active.At(v.rng.IntN(n))
	out.Add(proto.Send{Link: l.id, Msg: proto.ForwardJoin{Joiner: v.self, TTL: v.cfg.ARWL}})
}

// forwardJoin takes a joiner's walk one hop on. Unlike the paper a node with
// room ends it early, and one without takes the joiner at the end of the walk
// alone, in exchange for a member.
func (v *Views) forwardJoin(now time.Time, from *link, msg proto.ForwardJoin, out *proto.Out) {
	joiner, ttl := msg.Joiner, min(msg.TTL, v.cfg.ARWL)
	if joiner.ID == v.self.ID || joiner.ID.IsZero() || len(joiner.Addrs) == 0 {
		ignore(out, "views_walk_of_nobody", from.peer.ID)
		return
	}
	usable := !v.leaving && v.usable(now, &joiner)
	if usable && v.wants() > 0 {
		v.dial(now, attempt{purpose: forNeighbor, peer: joiner}, joiner.Addrs, proto.LinkOverlay, out)
		return
	}
	if ttl == v.cfg.PRWL {
		v.hear(now, joiner)
	}
	if ttl > 0 {
		if next := v.hop(from.peer.ID, joiner.ID); next != nil {
			v.forward(next, proto.ForwardJoin{Joiner: joiner, TTL: ttl - 1}, ttl, ttl-1, out)
			return
		}
	}
	v.hear(now, joiner)
	full := v.active.Len() >= v.cfg.Active
	if usable && full && v.pendingFor(forSplit) == 0 && v.victim(joiner.ID) != nil {
		v.dial(now, attempt{purpose: forSplit, peer: joiner}, joiner.Addrs, proto.LinkOverlay, out)
	}
}

// forward sends a walk on. Walks shrink (H4).
func (v *Views) forward(next *link, msg proto.Message, came, goes uint8, out *proto.Out) {
	mustHold(goes < came, "a walk grows shorter with each hop")
	out.Add(proto.Send{Link: next.id, Msg: msg})
}

// hop draws a member to send a walk to, not back and not to its origin; nil if there is none.
func (v *Views) hop(from, origin peer.ID) *link {
	var members []*link
	for id, l := range v.active.All() {
		if id != from && id != origin {
			members = append(members, l)
		}
	}
	if len(members) == 0 {
		return nil
	}
	return members[v.rng.IntN(len(members))]
}

// shuffle starts an exchange of views with a node a walk away, and looks
// whether one passive entry lives.
func (v *Views) shuffle(now time.Time, out *proto.Out) {
	v.shuffleAt = now.Add(v.cfg.ShuffleEvery*4/5 + v.upTo(v.cfg.ShuffleEvery*2/5))
	if n := v.active.Len(); n > 0 {
		_, l := v.active.At(v.rng.IntN(n))
		v.shuffleOver(now, l, out)
	}
	v.probe(now, out)
}

// shuffleOver offers a sample of both views over this link (HyParView, 4.4).
func (v *Views) shuffleOver(now time.Time, l *link, out *proto.Out) {
	var peers []proto.PeerInfo
	for _, i := range v.sample(v.active.Len(), v.cfg.ShuffleActive) {
		if id, other := v.active.At(i); id != l.peer.ID {
			peers = append(peers, other.peer)
		}
	}
	passive := v.vouched(now)
	for _, i := range v.sample(len(passive), v.cfg.ShufflePassive) {
		peers = append(peers, passive[i])
	}
	v.shuffled = now
	out.Add(proto.Send{Link: l.id, Msg: proto.Shuffle{Origin: v.self, TTL: v.cfg.ARWL, Peers: peers}})
}

// probe dials the passive entry that was not heard of for longest. Whom the
// directory does not know alive comes first: a process that died before it became
// a member, or was refused as a second one of its name, is certified down by
// nobody, and forgotten only when somebody looks.
func (v *Views) probe(now time.Time, out *proto.Out) {
	if v.pendingFor(forProbe) > 0 {
		return
	}
	var living peer.Set
	for i := range v.learned {
		if id := v.learned[i].ID; v.passive.Has(id) {
			living.Add(id)
		}
	}
	var first known
	for _, i := range v.sample(v.passive.Len(), v.passive.Len()) {
		id, k := v.passive.At(i)
		if now.Sub(k.heard) < v.cfg.ShuffleEvery {
			continue
		}
		member, other := living.Has(id), living.Has(first.info.ID)
		if first.info.ID.IsZero() || (!member && other) || (member == other && k.heard.Before(first.heard)) {
			first = k
		}
	}
	if p := first.info; !p.ID.IsZero() {
		v.dial(now, attempt{purpose: forProbe, peer: p}, p.Addrs, proto.LinkProbe, out)
	}
}

// shuffleWalk takes another's shuffle one hop on, or answers it where it ends:
// "shuffle answers go to the originator, with random members".
func (v *Views) shuffleWalk(now time.Time, from *link, msg proto.Shuffle, out *proto.Out) {
	origin, ttl := msg.Origin, min(msg.TTL, v.cfg.ARWL)
	if origin.ID == v.self.ID || origin.ID.IsZero() {
		ignore(out, "views_own_shuffle", from.peer.ID)
		return
	}
	peers := msg.Peers[:min(len(msg.Peers), proto.MaxPeers)]
	if ttl > 1 && v.active.Len() > 1 {
		if next := v.hop(from.peer.ID, origin.ID); next != nil {
			v.forward(next, proto.Shuffle{Origin: origin, TTL: ttl - 1, Peers: peers}, ttl, ttl-1, out)
			return
		}
	}
	var reply []proto.PeerInfo
	all := v.vouched(now)
	for _, l := range v.active.All() {
		all = append(all, l.peer)
	}
	for _, i := range v.sample(len(all), v.cfg.ShuffleActive+v.cfg.ShufflePassive) {
		if all[i].ID != origin.ID {
			reply = append(reply, all[i])
		}
	}
	if len(origin.Addrs) > 0 {
		out.Add(proto.SendTo{Owner: proto.OwnerViews, Peer: origin, Msg: proto.ShuffleReply{Peers: reply}})
	}
	v.hear(now, origin)
	for _, p := range peers {
		v.hear(now, p)
	}
}

// shuffleReply takes the answer. One that nobody asked for changes nothing.
func (v *Views) shuffleReply(now time.Time, from peer.ID, msg proto.ShuffleReply, out *proto.Out) {
	if v.shuffled.IsZero() || now.Sub(v.shuffled) > v.cfg.ShuffleEvery {
		ignore(out, "views_shuffle_reply_unasked", from)
		return
	}
	for _, p := range msg.Peers[:min(len(msg.Peers), proto.MaxPeers)] {
		v.hear(now, p)
	}
}
