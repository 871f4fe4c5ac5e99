package wave

import (
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// A star costs two messages a node, the full wave about seven, and each
// message costs two processes a wake-up. So whoever asks everybody again and
// again gets pooled links to those that are no neighbours, a few with each
// call, and once there is an open link to every target the call is a star over
// them: one hop, under the same rules as a star over neighbours. They close
// when they have been idle. Who asks now and then keeps to its few links.

const (
	// warmAfter so many waves to everybody within warmFor is "again and again".
	warmAfter = 3
	warmFor   = 10 * time.Second
	// warmStep bounds the links that one call asks for: a handshake costs both
	// sides a millisecond of CPU.
	warmStep = 8
)

// PoolUp: a pooled link stands over which this node may send.
func (w *Wave) PoolUp(id proto.LinkID, who proto.PeerInfo) {
	w.pooled = append(w.pooled, link{id: id, node: who.ID, clock: w.clocks[id]})
}

// openLinkTo is the link to a node, as a neighbour or pooled.
func (w *Wave) openLinkTo(id peer.ID) *link {
	if l := linkTo(w.links, id); l != nil {
		return l
	}
	return linkTo(w.pooled, id)
}

// starLinks are links to all targets but ourselves, or nil if there is not one
// to each.
func (w *Wave) starLinks(q *question) []link {
	if len(q.targets) > w.cfg.StarMax+1 {
		return nil
	}
	links := make([]link, 0, len(q.targets))
	for i := range q.targets {
		t := &q.targets[i]
		if t.given || t.node == w.self {
			continue
		}
		l := w.openLinkTo(t.node)
		if l == nil {
			return nil
		}
		links = append(links, *l)
	}
	return links
}

// warm asks for some of the links that would make this caller's waves stars.
func (w *Wave) warm(now time.Time, q *question, out *proto.Out) {
	if len(q.targets) > w.cfg.StarMax+1 {
		return
	}
	if now.Sub(w.waveAt) > warmFor {
		w.waved, w.waveAt = 0, now
	}
	if w.waved++; w.waved <= warmAfter {
		return
	}
	var keep proto.KeepOpen
	for i := range q.targets {
		t := &q.targets[i]
		if len(keep.Peers) == warmStep {
			break
		}
		if !t.given && t.node != w.self && t.member.Status == proto.StatusAlive && w.openLinkTo(t.node) == nil {
			keep.Peers = append(keep.Peers, t.member.Entry.Info())
		}
	}
	if len(keep.Peers) > 0 {
		out.Add(keep)
	}
}
