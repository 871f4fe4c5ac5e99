package core

import (
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// receive hands a message to the machine that speaks it. What only a neighbour
// may say is taken from neighbours alone.
func (c *Core) receive(now time.Time, in proto.Received) {
	l := c.links.get(in.Link)
	if l == nil {
		panic("core: a message over a link that never was")
	}
	out := &c.inner
	c.dir.Heard(now, l.peer.ID)
	switch m := in.Msg.(type) {
	case proto.Join:
		c.request(now, l, m.Self, m)
	case proto.Neighbor:
		c.request(now, l, m.Self, m)
	case proto.ForwardJoin, proto.Accept, proto.Refuse, proto.Bye, proto.Shuffle:
		if l.kind != proto.LinkOverlay {
			out.Add(proto.Ignored{Why: "views_on_other_link", Peer: l.peer.ID})
			return
		}
		c.toViews().Receive(now, l.id, l.peer.ID, m, out)
		c.forgetDead(now)
		if m, ok := m.(proto.Refuse); ok {
			c.refused(l.peer.ID, m.Why)
		}
	case proto.ShuffleReply:
		c.toViews().Receive(now, l.id, l.peer.ID, m, out)
		c.forgetDead(now)
	case proto.Gossip, proto.IHave, proto.Graft, proto.GraftMiss, proto.Prune, proto.Last:
		if !l.active {
			out.Add(proto.Ignored{Why: "broadcast_from_no_neighbor", Peer: l.peer.ID})
			return
		}
		c.toTree().Receive(now, l.id, l.peer.ID, m, out)
	case proto.Pong:
		if l.kind != proto.LinkOverlay {
			c.wants(now, c.toHeal().Pong(l.id, l.peer, m.Component, out))
		}
		if l.owner != proto.OwnerHeal {
			c.toDir().Receive(now, l.id, l.peer.ID, m, out)
		}
	case proto.Ping, proto.SyncHashes, proto.SyncRecords:
		c.toDir().Receive(now, l.id, l.peer.ID, m, out)
	case proto.Call, proto.Took, proto.Seen, proto.Echo:
		// A star may come over a pooled link; a wave keeps to the overlay's.
		if call, ok := m.(proto.Call); l.kind == proto.LinkProbe || ok && call.Round > 0 && l.kind != proto.LinkOverlay {
			out.Add(proto.Ignored{Why: "wave_on_other_link", Peer: l.peer.ID})
			return
		}
		c.pool.touch(now, l.peer.ID, l.id)
		c.toWave().Receive(now, l.id, l.peer, m, out)
	case proto.Adopt, proto.Cancel, proto.Pull, proto.CallBody, proto.Ask, proto.Answer,
		proto.StatusAsk, proto.StatusAnswer, proto.Help, proto.Helpless:
		c.pool.touch(now, l.peer.ID, l.id)
		c.toWave().Receive(now, l.id, l.peer, m, out)
	default:
		panic("core: a message that nobody takes")
	}
}

// route carries the machines' outputs: some to other machines, the rest out.
// What a machine adds on the way is routed behind, so causes come first.
func (c *Core) route(now time.Time) {
	for i := 0; i < len(c.inner.List); i++ {
		out := c.inner.List[i]
		c.inner.List[i] = nil
		switch o := out.(type) {
		case proto.Send:
			if l := c.links.get(o.Link); l != nil {
				if call, ok := o.Msg.(proto.Call); ok && call.Round == 0 {
					c.pool.touch(now, l.peer.ID, l.id)
				}
				c.outer = append(c.outer, out)
			}
		case proto.Dispatch:
			c.running++
			c.outer = append(c.outer, out)
		case proto.CancelDispatch, proto.CallStarted, proto.CallVerdict, proto.CallDone, proto.CallRefused, proto.Ignored:
			c.outer = append(c.outer, out)
		default:
			c.deal(now, o)
		}
	}
	c.inner.List = c.inner.List[:0]
}

// deal acts on what concerns more than a call.
func (c *Core) deal(now time.Time, out proto.Output) {
	switch o := out.(type) {
	case proto.PublishRecords:
		if _, refused := c.toTree().Publish(now, proto.DirStream, proto.DirectoryBody(o), &c.inner); refused != "" {
			c.outer = append(c.outer, proto.Ignored{Why: "own_records_refused"}) // the digests will carry them
		}
	case proto.DeliverBody:
		c.deliver(now, o)
	case proto.LinkTiming:
		c.toWave().Timing(now, o.Link, o.RTT, o.Offset)
		c.toTree().Timing(o.Link, o.RTT)
	case proto.SendTo:
		c.sendTo(now, o)
	case proto.KeepOpen:
		c.keepOpen(now, o)
	case proto.Hangup:
		if c.links.get(o.Link) != nil {
			c.outer = append(c.outer, out)
		}
	case proto.NeighborUp:
		c.neighborUp(now, o)
		c.outer = append(c.outer, out)
	case proto.NeighborDraining:
		c.neighborDown(now, o.Link, o.Peer, 0) // announced: its end is no evidence
		c.outer = append(c.outer, out)
	case proto.NeighborDown:
		c.neighborDown(now, o.Link, o.Peer, o.Down)
		c.outer = append(c.outer, out)
	case proto.MembersChanged:
		c.membersChanged(now, o)
		c.outer = append(c.outer, out)
	default:
		c.outer = append(c.outer, out)
	}
}

// neighborUp tells the other machines of a new member of the active view.
func (c *Core) neighborUp(now time.Time, o proto.NeighborUp) {
	out := &c.inner
	if l := c.links.get(o.Link); l != nil {
		l.active = true
	}
	c.toTree().NeighborUp(now, o.Link, o.Peer.ID, out)
	c.toDir().NeighborUp(now, o.Link, o.Peer, out)
	c.toWave().NeighborUp(now, o.Link, o.Peer, out)
}

// neighborDown tells the other machines that a link has left the active view.
func (c *Core) neighborDown(now time.Time, link proto.LinkID, who peer.ID, why proto.DownWhy) {
	out := &c.inner
	if l := c.links.get(link); l != nil {
		l.active = false
	}
	c.toTree().NeighborDown(now, link, out)
	c.toDir().NeighborDown(now, link, who, why, out)
	c.toWave().NeighborDraining(link)
}

// deliver routes a broadcast by what it carries.
func (c *Core) deliver(now time.Time, o proto.DeliverBody) {
	switch b := o.Body.(type) {
	case proto.DirectoryBody:
		if !o.Local {
			c.toDir().Delivered(now, o.ID.Origin, b, &c.inner)
		}
	case proto.BeaconBody:
		c.toHeal().Beacon(now, o.ID.Origin)
		c.toDir().SetComponent(c.heal.Component())
	case proto.CastBody:
		// In place among the gaps of its sequence, which go out from here as well.
		c.outer = append(c.outer, proto.Deliver{ID: o.ID, Body: b, Hops: o.Hops, Local: o.Local})
	default:
		panic("core: a broadcast that nobody takes")
	}
}

// forgetDead takes out of the passive view whom the directory knows to be dead.
// A newcomer learns of them as dead: nothing changes for it when the views of
// others still name them.
func (c *Core) forgetDead(now time.Time) {
	for _, id := range c.views.Passive() {
		if last, over := c.dir.Ended(id); over {
			c.toViews().Forget(now, id, last, &c.inner)
		}
	}
}

// membersChanged tells the views and the calls whom they can no longer count on.
func (c *Core) membersChanged(now time.Time, o proto.MembersChanged) {
	for _, ch := range o.Changes {
		if ch.Kind == proto.ChangeDown || ch.Kind == proto.ChangeLeft {
			c.toViews().Forget(now, ch.Member.Entry.ID, max(ch.Member.Down, ch.Member.Entry.Incarnation), &c.inner)
		}
		c.toWave().MemberChanged(now, ch, &c.inner)
	}
	if c.learnAt.IsZero() {
		// Large clusters change often: telling the views costs their size.
		c.learnAt = now.Add(time.Duration(c.dir.Len()) * time.Millisecond)
		c.stirRest()
	}
	c.toViews().SetSelf(c.dir.Self().Info())
}
