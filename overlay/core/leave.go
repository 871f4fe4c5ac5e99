package core

import (
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// leaving is how far a graceful end has come: no new dispatch, then the calls
// that run here end, then the last word goes out, then the links close.
type leaving struct {
	stage leaveStage
	at    time.Time // when the stage ends at the latest
}

type leaveStage uint8

const (
	leaveNot leaveStage = iota
	leaveDraining
	leaveSaid    // the last word is out: it gets a moment to spread
	leaveClosing // goodbye to the neighbours
	leaveGone
)

// leaveWord is how long the last word has to reach the neighbours, and later
// how long their links have to flush.
const leaveWord = 200 * time.Millisecond

func (c *Core) startLeaving(now time.Time) {
	if c.leave.stage != leaveNot {
		return
	}
	c.toWave().Leave()
	c.leave = leaving{stage: leaveDraining, at: now.Add(c.cfg.Drain)}
	c.progressLeave(now)
}

// progressLeave goes on to the next stage when this one is done or overdue.
func (c *Core) progressLeave(now time.Time) {
	if c.leave.stage == leaveNot {
		return
	}
	c.stirRest()
	overdue := !c.leave.at.IsZero() && !now.Before(c.leave.at)
	switch {
	case c.leave.stage == leaveDraining && (overdue || c.running <= 0):
		c.toDir().Leave(now, &c.inner)
		c.leave = leaving{stage: leaveSaid, at: now.Add(leaveWord)}
	case c.leave.stage == leaveSaid && overdue:
		c.toViews().Leave(now, &c.inner)
		c.leave = leaving{stage: leaveClosing, at: now.Add(leaveWord)}
	case c.leave.stage == leaveClosing && overdue:
		c.leave = leaving{stage: leaveGone}
		c.inner.Add(proto.Gone{})
	}
}
