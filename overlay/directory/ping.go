package directory

import (
	"cmp"
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// link is a connection to a neighbour: a member of the active view.
type link struct {
	id         proto.LinkID
	peer       peer.ID
	heard      time.Time // last sign of life over any link
	pingAt     time.Time // next ping
	pinged     time.Time // last ping
	unanswered time.Time // the first ping since the last pong; zero: none
	digest     uint64    // the neighbour's, as last heard
	syncAt     time.Time // no new exchange before
}

// NeighborUp: a link's peer entered the active view. It is pinged at once, and
// so the directories are compared at once.
func (d *Directory) NeighborUp(now time.Time, id proto.LinkID, who proto.PeerInfo, out *proto.Out) {
	if !d.enter(now, out) {
		return
	}
	i, known := d.findLink(id)
	if known {
		return
	}
	d.links = slices.Insert(d.links, i, link{id: id, peer: who.ID})
	l := &d.links[i]
	if d.newborn && d.bornBy.IsZero() {
		d.bornBy = now.Add(bornAfter)
	}
	if !d.records.Has(who.ID) && d.tombs.Len() > 0 {
		d.sendTombs(l.id, out)
	}
	d.ping(now, l, out)
	// Neighbours must not ping in step: who falls silent is noticed by the first.
	l.pingAt = now.Add(time.Duration(d.rng.Int64N(int64(d.cfg.PingEvery)) + 1))
}

// NeighborDown: a link's peer left the active view. If the link broke, that is
// the first half of evidence; if either side closed it in order, it is none.
func (d *Directory) NeighborDown(now time.Time, id proto.LinkID, who peer.ID, why proto.DownWhy, out *proto.Out) {
	if !d.enter(now, out) {
		return
	}
	i, known := d.findLink(id)
	if !known {
		return
	}
	if r, ok := d.records.Get(d.links[i].peer); ok {
		r.own().heard = d.heard(r)
	}
	d.links = slices.Delete(d.links, i, i+1)
	if len(d.links) == 0 {
		d.aloneSince = now
	}
	switch why {
	case proto.DownReset, proto.DownStalled, proto.DownClosed:
		// A process that dies may well close its sockets in order: the redial
		// tells. Evictions are announced, and come here without a reason.
		d.broke(now, who, out)
	case proto.DownHungUp, proto.DownGarbage:
	default: // demoted: the link lives on for a while
	}
}

func (d *Directory) findLink(id proto.LinkID) (int, bool) {
	return slices.BinarySearchFunc(d.links, id, func(l link, id proto.LinkID) int { return cmp.Compare(l.id, id) })
}

func (d *Directory) link(id proto.LinkID) *link {
	if i, ok := d.findLink(id); ok {
		return &d.links[i]
	}
	return nil
}

// linkTo is a link to the peer, or nil.
func (d *Directory) linkTo(id peer.ID) *link {
	for i := range d.links {
		if d.links[i].peer == id {
			return &d.links[i]
		}
	}
	return nil
}

// Receive takes a Ping, Pong, SyncHashes or SyncRecords over any kind of link
// from an authenticated peer; others are ignored.
func (d *Directory) Receive(now time.Time, id proto.LinkID, from peer.ID, msg proto.Message, out *proto.Out) {
	if !d.enter(now, out) {
		return
	}
	switch m := msg.(type) {
	case proto.Ping:
		d.Heard(now, from)
		mine := d.clock(now)
		out.Add(proto.Send{Link: id, Msg: proto.Pong{
			Seq: m.Seq, Echo: m.Sent, Received: mine, Sent: mine,
			Digest: d.digest, Component: d.component, Size: uint32(d.living), Load: d.load(),
		}})
		d.compare(now, id, m.Digest, out)
	case proto.Pong:
		d.Heard(now, from)
		d.pong(now, id, from, m, out)
	case proto.SyncHashes:
		d.syncHashes(id, from, m, out)
	case proto.SyncRecords:
		d.syncRecords(now, id, from, m, out)
	default:
		d.ignore("not_for_the_directory", from, out)
	}
	d.Check()
}

// Heard notes a first-hand sign of life, any message from an authenticated
// peer. It shows in Member and decides nothing: only a pong answers a ping.
func (d *Directory) Heard(now time.Time, from peer.ID) {
	if l := d.linkTo(from); l != nil {
		l.heard = now // to look among thousands takes longer than all else that a message does
	} else if r, ok := d.records.Get(from); ok {
		r.own().heard = now
	}
}

// heard is when a node was last heard itself.
func (d *Directory) heard(r *record) time.Time {
	at := r.more().heard
	if l := d.linkTo(r.ID()); l != nil && l.heard.After(at) {
		return l.heard
	}
	return at
}

func (d *Directory) load() uint8 { return uint8(min(d.health, 255)) }

func (d *Directory) newPing(now time.Time) proto.Ping {
	d.pingSeq++
	return proto.Ping{
		Seq: d.pingSeq, Sent: d.clock(now), Digest: d.digest, Component: d.component, Size: uint32(d.living), Load: d.load(),
	}
}

func (d *Directory) ping(now time.Time, l *link, out *proto.Out) {
	out.Add(proto.Send{Link: l.id, Msg: d.newPing(now)})
	l.pinged = now
	if l.unanswered.IsZero() {
		l.unanswered = now
	}
}

// pingDue pings, and notices who stopped answering.
func (d *Directory) pingDue(now time.Time, out *proto.Out) {
	for i := range d.links {
		l := &d.links[i]
		if at := d.silentAt(l); !at.IsZero() && !now.Before(at) {
			d.silent(now, l, out)
		}
		if !now.Before(l.pingAt) {
			d.ping(now, l, out)
			l.pingAt = now.Add(d.cfg.PingEvery)
		}
	}
}

// silentAt is when a link will have missed too many pings, more if we are not
// well ourselves; zero if nothing is owed, or its silence is being looked into.
func (d *Directory) silentAt(l *link) time.Time {
	if l.unanswered.IsZero() {
		return time.Time{}
	}
	if q, ok := d.inquiries.Get(l.peer); ok && q.silent == l.id {
		return time.Time{}
	}
	return l.unanswered.Add(d.silentFor())
}

func (d *Directory) silentFor() time.Duration {
	return time.Duration(d.cfg.MissedMax*(d.health+1)) * d.cfg.PingEvery
}

// pong takes an answer over any link. What it answers was sent at Echo.
func (d *Directory) pong(now time.Time, id proto.LinkID, from peer.ID, m proto.Pong, out *proto.Out) {
	sent := d.start.Add(m.Echo)
	if m.Echo < 0 || sent.After(now) || m.Sent < m.Received || m.Seq > d.pingSeq {
		d.ignore("pong_without_ping", from, out)
		return
	}
	if p := d.byLink[id]; p != nil {
		d.probeAnswered(now, p, sent, out)
		d.compare(now, id, m.Digest, out)
		return
	}
	busy := m.Sent - m.Received
	rtt := max(0, now.Sub(sent)-busy)
	stalled := !sent.After(d.gapAt) || rtt >= d.silentFor() // that was measured, and not the link
	if !stalled {
		out.Add(proto.LinkTiming{Link: id, RTT: rtt, Offset: m.Echo + (now.Sub(sent)-busy)/2 - m.Received})
	}
	if l := d.link(id); l != nil {
		l.unanswered = time.Time{}
		d.answered(now, l, sent, out)
	} else if stalled || rtt > d.cfg.PingEvery {
		d.Measure(now, id, out)
	}
	d.compare(now, id, m.Digest, out)
}

// Measure pings over a link that is no neighbour's until one round trip was no
// stall: its LinkTiming tells how the clocks differ.
func (d *Directory) Measure(now time.Time, id proto.LinkID, out *proto.Out) {
	if d.enter(now, out) {
		out.Add(proto.Send{Link: id, Msg: d.newPing(now)})
	}
}
