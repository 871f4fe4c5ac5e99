package core

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/directory"
	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// held is a request for a place in the active view that waits until the
// directory knows whether the newcomer may have its name.
type held struct {
	link  proto.LinkID
	self  proto.PeerInfo
	msg   proto.Message
	until time.Time
}

const (
	// holdFor bounds the wait; the probe of a name's holder takes a second.
	holdFor = 1500 * time.Millisecond
	// holdMax bounds the requests that wait at once.
	holdMax = 64
)

// request lets a Join or Neighbor through to the views, holds it, or refuses
// it: one living process per name.
func (c *Core) request(now time.Time, l *link, self proto.PeerInfo, msg proto.Message) {
	switch {
	case l.kind != proto.LinkOverlay:
		c.inner.Add(proto.Ignored{Why: "views_on_other_link", Peer: l.peer.ID})
		return
	case self.ID != l.peer.ID:
		c.inner.Add(proto.Ignored{Why: "request_for_another", Peer: l.peer.ID})
		return
	}
	switch c.toDir().Admit(now, self, &c.inner) {
	case directory.Admitted:
		c.toViews().Receive(now, l.id, l.peer.ID, msg, &c.inner)
	case directory.Undecided:
		if len(c.held) < holdMax {
			c.stirRest()
			c.held = append(c.held, held{l.id, self, msg, now.Add(holdFor)})
		} else {
			c.refuse(l.id, proto.RefuseFull)
		}
	case directory.NameInUse:
		if self.Name == c.dir.Self().Name {
			c.twin = self.ID
		}
		c.refuse(l.id, proto.RefuseNameInUse)
	case directory.Superseded:
		c.refuse(l.id, proto.RefuseSuperseded)
	}
}

func (c *Core) refuse(id proto.LinkID, why proto.RefuseWhy) {
	c.inner.Add(proto.Send{Link: id, Msg: proto.Refuse{Why: why}})
	c.inner.Add(proto.Hangup{Link: id, Why: why.String(), Flush: true})
}

// retryHeld asks the directory again about those that wait.
func (c *Core) retryHeld(now time.Time) {
	if len(c.held) == 0 {
		return
	}
	c.stirRest()
	waiting := c.held
	c.held = nil
	for _, h := range waiting {
		l := c.links.get(h.link)
		switch {
		case l == nil:
		case !now.Before(h.until):
			c.refuse(h.link, proto.RefuseFull)
		default:
			until := h.until
			c.request(now, l, h.self, h.msg)
			if n := len(c.held); n > 0 && c.held[n-1].link == h.link {
				c.held[n-1].until = until
			}
		}
	}
}

func (c *Core) holdDeadline() time.Time {
	if len(c.held) == 0 {
		return time.Time{}
	}
	return slices.MinFunc(c.held, func(a, b held) int { return a.until.Compare(b.until) }).until
}

// refused: a contact says that we may not join at all. A node that holds links
// already is a member, whatever a contact says. Two lonely processes of one
// name that refused each other must not both end: the one of the lower ID stays.
func (c *Core) refused(by peer.ID, why proto.RefuseWhy) {
	if len(c.views.Active()) > 0 || c.leave.stage != leaveNot {
		return
	}
	name := c.dir.Self().Name
	switch why {
	case proto.RefuseNameInUse:
		if by == c.twin && c.self.Less(by) {
			return
		}
		c.inner.Add(proto.Fatal{Why: "name in use: a living node is called " + name + "; give this one another name, or end the other first"})
	case proto.RefuseSuperseded:
		c.inner.Add(proto.Fatal{Why: "superseded: a newer process is called " + name})
	}
}
