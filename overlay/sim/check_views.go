package sim

import (
	"slices"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// viewChecks: H1, H2, H3, H4, H6, H7.
type viewChecks struct {
	world *World
	of    []*viewOf // by process
}

// viewOf is what one node told of its neighbours.
type viewOf struct {
	neighbors []neighborLink
	entered   int       // members that came, since the start
	looked    []peer.ID // both views at the last look
}

type neighborLink struct {
	link     proto.LinkID
	peer     peer.ID
	draining bool
}

func (v *viewChecks) started(*Node) { v.of = append(v.of, &viewOf{}) }

// after checks a step that touched links or walks.
func (v *viewChecks) after(n *Node, in proto.Input, out []proto.Output) {
	w, of := v.world, v.of[n.Index]
	touched := false
	for _, o := range out {
		switch o := o.(type) {
		case proto.NeighborUp:
			touched = true
			v.up(n, of, o)
		case proto.NeighborDraining:
			touched = true
			i := of.find(o.Link)
			if i < 0 || of.neighbors[i].draining {
				w.fail("H3: %v: link %d drains and was no neighbour's", n, o.Link)
				return
			}
			of.neighbors[i].draining = true
		case proto.NeighborDown:
			touched = true
			v.down(n, of, in, o)
		case proto.Send:
			v.sent(n, in, o, of)
		default:
		}
	}
	if touched {
		w.stirred++
		of.looked = nil
		v.look(n)
	}
}

func (of *viewOf) find(id proto.LinkID) int {
	return slices.IndexFunc(of.neighbors, func(l neighborLink) bool { return l.link == id })
}

func (v *viewChecks) up(n *Node, of *viewOf, o proto.NeighborUp) {
	for _, l := range of.neighbors {
		if l.peer == o.Peer.ID && !l.draining {
			v.world.fail("H3: %v: %s is a neighbour twice, over links %d and %d", n, o.Peer.Name, l.link, o.Link)
		}
	}
	c, side := n.find(o.Link)
	if c == nil && !slices.ContainsFunc(n.inbox, func(x waiting) bool { d, ok := x.in.(proto.LinkDown); return ok && d.Link == o.Link }) {
		v.world.fail("H3: %v: a neighbour over link %d, which is not open", n, o.Link)
	} else if c != nil && c.ends[1-side].node.ID != o.Peer.ID {
		v.world.fail("H3: %v: link %d is not %s's", n, o.Link, o.Peer.Name)
	}
	of.neighbors = append(of.neighbors, neighborLink{o.Link, o.Peer.ID, false})
	of.entered++
}

// down: failure does not make a passive peer (H6), and only the end of the
// current link makes a failure (H7).
func (v *viewChecks) down(n *Node, of *viewOf, in proto.Input, o proto.NeighborDown) {
	i := of.find(o.Link)
	if i < 0 {
		v.world.fail("H3: %v: link %d is down and was no neighbour's", n, o.Link)
		return
	}
	of.neighbors = slices.Delete(of.neighbors, i, i+1)
	if o.Why != "failed" {
		return
	}
	if d, ok := in.(proto.LinkDown); !ok || d.Link != o.Link {
		v.world.fail("H7: %v lost neighbour %s over link %d by %#v", n, o.Peer.Short(), o.Link, in)
	}
	if slices.Contains(n.core.Passive(), o.Peer) {
		v.world.fail("H6: %v keeps %s, whose link failed, in its passive view", n, o.Peer.Short())
	}
}

// sent: walks shrink (H4); who is evicted is kept (H6).
func (v *viewChecks) sent(n *Node, in proto.Input, o proto.Send, of *viewOf) {
	r, _ := in.(proto.Received)
	switch m := o.Msg.(type) {
	case proto.ForwardJoin:
		if got, ok := r.Msg.(proto.ForwardJoin); ok && got.Joiner.ID == m.Joiner.ID && m.TTL >= got.TTL || m.TTL > v.world.cfg.Core.Views.ARWL {
			v.world.fail("H4: %v passes a join on with TTL %d", n, m.TTL)
		}
	case proto.Shuffle:
		if got, ok := r.Msg.(proto.Shuffle); ok && got.Origin.ID == m.Origin.ID && m.TTL >= got.TTL || m.TTL > v.world.cfg.Core.Views.ARWL {
			v.world.fail("H4: %v passes a shuffle on with TTL %d", n, m.TTL)
		}
	case proto.Bye:
		i := of.find(o.Link)
		if m.Why != proto.ByeEvicted || i < 0 {
			return
		}
		id := of.neighbors[i].peer
		if !slices.Contains(n.core.Passive(), id) && !slices.Contains(n.core.Active(), id) && !v.nameTaken(n, id) && !knownDead(n, id) {
			v.world.fail("H6: %v evicted %s and does not remember it", n, id.Short())
		}
	default:
	}
}

// knownDead tells whether a node's directory says that a peer is down, or has left.
func knownDead(n *Node, id peer.ID) bool {
	m := n.core.Member(id)
	return m != nil && (m.Status == proto.StatusDown || m.Status == proto.StatusLeft)
}

// nameTaken tells whether a newer process of a peer's name is known instead.
func (v *viewChecks) nameTaken(n *Node, id peer.ID) bool {
	name := v.name(id)
	for _, other := range append(n.core.Active(), n.core.Passive()...) {
		if other != id && v.name(other) == name {
			return true
		}
	}
	return false
}

func (v *viewChecks) name(id peer.ID) string {
	if n, ok := v.world.checks.byID[id]; ok {
		return n.Name
	}
	return ""
}

// look checks H1, H2 and H3 as they stand.
func (v *viewChecks) look(n *Node) {
	w, cfg := v.world, &v.world.cfg.Core.Views
	active, passive := n.core.Active(), n.core.Passive()
	held := 0
	for _, l := range v.of[n.Index].neighbors {
		if !l.draining {
			held++
		}
	}
	if held != len(active) {
		w.fail("H3: %v told of %d neighbours and has %d members", n, held, len(active))
	}
	both := append(active, passive...)
	if slices.Equal(both, v.of[n.Index].looked) {
		return
	}
	v.of[n.Index].looked = both
	if len(active) > cfg.Active+cfg.Bridges {
		w.fail("H2: %v has %d members", n, len(active))
	}
	if len(passive) > cfg.Passive {
		w.fail("H2: %v has %d passive peers", n, len(passive))
	}
	var names [64]string
	all := names[:0]
	for i, id := range both {
		if id == n.ID {
			w.fail("H1: %v is in its own view", n)
		}
		name := v.name(id)
		if name == "" {
			w.fail("H1: %v has %s in its views, whom nobody ever started", n, id.Short())
		}
		if slices.Contains(all, name) {
			w.fail("H1: %v has two entries of name %s", n, name)
		}
		all = append(all, name)
		if i < len(active) && !v.of[n.Index].holds(id) {
			w.fail("H3: %v has member %s without a neighbour's link", n, id.Short())
		}
	}
}

func (of *viewOf) holds(id peer.ID) bool {
	return slices.ContainsFunc(of.neighbors, func(l neighborLink) bool { return l.peer == id && !l.draining })
}
