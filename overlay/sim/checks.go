package sim

import (
	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// checks are what must always hold, by family. The names (H1, P2 …) are those
// of ARCHITECTURE.md. A checker sees each input before and each output after
// its step, and everything at each look.
type checks struct {
	world   *World
	byID    map[peer.ID]*Node // looked up only
	looks   int               // so far
	hostile bool              // somebody here keeps no rules: what it alone asked for is not checked

	views     viewChecks
	broadcast castChecks
	directory directoryChecks
	calls     callChecks
}

func (c *checks) init(w *World) {
	c.world, c.byID = w, map[peer.ID]*Node{}
	c.broadcast = castChecks{byID: map[proto.MsgID]*cast{}, gaps: map[gapKey]uint64{}, reached: map[gapKey]uint64{}}
	c.directory.bodies = map[proto.MsgID]proto.Body{}
	c.views.world, c.broadcast.world, c.directory.world, c.calls.world = w, w, w, w
}

func (c *checks) started(n *Node) {
	c.byID[n.ID] = n
	c.views.started(n)
	c.directory.started(n, []said{say(n.core.Self())})
}

// startedHostile makes room for a process that is not checked.
func (c *checks) startedHostile(n *Node) {
	c.byID[n.ID] = n
	c.views.started(n)
	c.directory.started(n, nil)
}

func (c *checks) ended(n *Node) { c.calls.ended(n) }

func (c *checks) before(n *Node, in proto.Input) {
	c.directory.before(n, in)
}

func (c *checks) after(n *Node, in proto.Input, out []proto.Output) {
	c.directory.after(n, in, out)
	c.views.after(n, in, out)
	for _, o := range out {
		switch o := o.(type) {
		case proto.Published:
			c.broadcast.published(n, o)
		case proto.Deliver:
			c.broadcast.deliver(n, o)
		case proto.Gap:
			c.broadcast.gap(n, o)
		case proto.MembersChanged:
			c.directory.told(n, o)
		case proto.CallStarted:
			c.calls.started(n, o)
		case proto.CallVerdict:
			c.calls.verdict(n, o)
		case proto.CallDone:
			c.calls.done(n, o)
		case proto.CallRefused:
			c.calls.refused(n, o)
		default:
		}
	}
}

// lookAtMost is how many directories are looked at in one look: of larger
// worlds the nodes take turns, for each knows as many as there are.
const lookAtMost = 1000

// look is a look at everything that stands still between two events.
func (c *checks) look() {
	turns := 1 + (len(c.world.Nodes)-1)/lookAtMost
	c.looks++
	for i, n := range c.world.Nodes {
		if n.Living() && n.core != nil {
			c.views.look(n)
			if i%turns == c.looks%turns {
				c.directory.look(n)
			}
		}
	}
	c.directory.unchanged()
	c.broadcast.look()
	c.world.sweepConns()
}

// fatal: a process says that it must end. Only a namesake is a reason.
func (c *checks) fatal(n *Node, why string) {
	for _, o := range c.world.Nodes {
		if o != n && o.Name == n.Name {
			return
		}
	}
	c.world.fail("D3: %v must end though nobody else had its name: %s", n, why)
}
