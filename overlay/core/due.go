package core

import (
	"time"

	"github.com/starlingmesh/starling/overlay/hyparview"
	"github.com/starlingmesh/starling/overlay/plumtree"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/wave"
)

// part is one of what a step may concern. Most steps are one message for one
// machine: only whom a step has called is asked anew when it wants to be woken,
// and whether it is still sound. The rest was left as it was, and looking at it
// would fetch memory that the step does without.
type part uint8

const (
	partViews part = iota
	partTree
	partDir
	partWave
	partRest // healing, pooled links, requests held, leaving, learning
	parts
)

// These are how the core calls a machine to do something. To ask it something
// that changes nothing it may do without.

func (c *Core) toViews() *hyparview.Views { c.called[partViews] = true; return c.views }
func (c *Core) toTree() *plumtree.Tree    { c.called[partTree] = true; return c.tree }
func (c *Core) toDir() Directory          { c.called[partDir] = true; return c.dir }
func (c *Core) toWave() *wave.Wave        { c.called[partWave] = true; return c.wave }
func (c *Core) toHeal() *heal             { c.stirRest(); return c.heal }
func (c *Core) toPool() *pool             { c.stirRest(); return &c.pool }
func (c *Core) stirRest()                 { c.called[partRest] = true }

// deadlineOf asks a part when it wants to be woken; zero is never.
func (c *Core) deadlineOf(p part) time.Time {
	switch p {
	case partViews:
		return c.views.Deadline()
	case partTree:
		return c.tree.Deadline()
	case partDir:
		return c.dir.Deadline()
	case partWave:
		return c.wave.Deadline()
	case partRest:
		return proto.Sooner(c.heal.Deadline(), c.pool.deadline(), c.learnAt, c.leave.at, c.holdDeadline())
	default:
		panic("core: a part that is none")
	}
}

// ask brings the deadlines up to date.
func (c *Core) ask() {
	c.next = time.Time{}
	for p := range parts {
		if c.called[p] {
			c.due[p] = c.deadlineOf(p)
		}
		c.next = proto.Sooner(c.next, c.due[p])
	}
}

// wake runs whatever has come due, until nothing is.
func (c *Core) wake(now time.Time) {
	for range 64 {
		c.ask()
		if !proto.Due(now, c.next) {
			return
		}
		out := &c.inner
		if proto.Due(now, c.due[partViews]) {
			c.toViews().Wake(now, out)
		}
		if proto.Due(now, c.due[partTree]) {
			c.toTree().Wake(now, out)
		}
		c.toDir().Wake(now, out) // due or not: it judges our health by how often it is called
		if proto.Due(now, c.due[partWave]) {
			c.toWave().Wake(now, out)
		}
		if proto.Due(now, c.due[partRest]) {
			c.wants(now, c.toHeal().Wake(now, c.dir, out))
			c.toPool().wake(now, c.toDir().Measure, out)
			if proto.Due(now, c.learnAt) {
				c.learn(now)
			}
		}
		c.route(now)
		c.retryHeld(now)
		c.progressLeave(now)
		c.route(now)
	}
	panic("core: a deadline that its machine does not act on")
}

// CheckAll panics if a part wants to be woken at another time than it is known
// to, or waits for nothing: for tests, because it asks all of them, and looks
// at what broadcasts keep for it.
func (c *Core) CheckAll() {
	for p := range parts {
		if at := c.deadlineOf(p); !at.Equal(c.due[p]) {
			panic("core: part " + string('0'+rune(p)) + " is known to be due at " + c.due[p].String() + ", and wants to be woken at " + at.String())
		}
	}
	c.dir.CheckInquiries()
	c.tree.CheckKept()
}
