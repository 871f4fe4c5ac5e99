package wave

import (
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// raise tells that a caller has finished with all below oldest: what is kept
// of those calls is of no use to anybody any more.
func (w *Wave) raise(win *window, id proto.CallID, oldest uint64, out *proto.Out) {
	if win.calls > 0 {
		for id.Seq = range win.Below(oldest) {
			if c := w.call(id); c != nil {
				w.forgetCall(c, out)
			}
		}
	}
	win.Raise(oldest)
}

// makeRoom drops the oldest finished call when the table is full. The window
// still knows that it ran.
func (w *Wave) makeRoom(out *proto.Out) bool {
	if len(w.calls) < w.cfg.CallsMax {
		return true
	}
	if w.openCalls < len(w.calls) {
		for c := range w.order.all() {
			if !c.open {
				w.forgetCall(c, out)
				return true
			}
		}
	}
	return false
}

// openUp counts a call as open: it owes somebody something, and holds its request.
func (w *Wave) openUp(c *call) {
	c.open = true
	w.openCalls++
	c.window.open++
	w.openBytes += int(c.msg.Size)
}

// owes tells whether anybody still waits for this node because of the call.
func (c *call) owes() bool {
	return !c.exec.settled() || c.part != nil && !c.part.closed || c.question != nil && !c.question.retired
}

// shut stops counting a call as open. Its request goes: whoever may still want
// it has its own parent, or the caller.
func (w *Wave) shut(c *call) {
	if !c.open {
		return
	}
	c.open = false
	w.openCalls--
	c.window.open--
	w.openBytes -= int(c.msg.Size)
	c.msg.Payload = nil
}

// receiveCancel: nobody wants the answer any more. It is recorded for calls
// that were not seen here yet, too.
func (w *Wave) receiveCancel(now time.Time, m proto.Cancel, out *proto.Out) {
	if c := w.call(m.ID); c != nil {
		if c.question == nil {
			w.cancelCall(now, c, "cancelled", out)
		}
		return
	}
	if win := w.window(now, m.ID, m.ID.Seq, 0); win != nil && !win.Jumps(m.ID.Seq) {
		win.Mark(m.ID.Seq)
	}
}

// cancelCall ends a call here and passes the word on to whoever may still work.
func (w *Wave) cancelCall(now time.Time, c *call, why string, out *proto.Out) {
	switch c.exec.state {
	case execRunning:
		out.Add(proto.CancelDispatch{ID: c.msg.ID, Why: why})
		c.exec.state = execDropped
	case execBody, execNone:
		c.exec.state = execDropped
	}
	c.askers, c.pullers = nil, nil
	if c.part != nil && !c.part.closed {
		c.part.closed = true
		for i := range c.part.spokes {
			if s := &c.part.spokes[i]; s.state != spokeResolved {
				out.Add(proto.Send{Link: s.link, Msg: proto.Cancel{ID: c.msg.ID}})
			}
		}
	}
	w.progress(now, c, out)
}

// forgetCall removes the entry; the window remembers that the call was here.
func (w *Wave) forgetCall(c *call, out *proto.Out) {
	if c.exec.state == execRunning {
		out.Add(proto.CancelDispatch{ID: c.msg.ID, Why: "forgotten"})
	}
	w.alarms.Set(&c.alarm, time.Time{})
	delete(w.calls, c.msg.ID)
	if w.found == c {
		w.found = nil
	}
	c.window.calls--
	c.exec.state = execDropped
	w.shut(c)
	w.dropKept(c)
	c.exec.result, c.askers, c.pullers = proto.Result{}, nil, nil
	if p := c.part; p != nil {
		p.closed, p.spokes, p.fresh, p.all = true, nil, news{}, news{}
	}
	c.forgotten = true
	w.order.leave()
}

// keep holds a result's payload for callers that ask again, within a bound of
// bytes. What is left of an evicted one is that it ran.
func (w *Wave) keep(c *call) {
	if len(c.exec.result.Payload) == 0 {
		return
	}
	c.kept = true
	w.kept.add(c)
	w.keptBytes += len(c.exec.result.Payload)
	for old := range w.kept.all() {
		if w.keptBytes <= w.cfg.KeptBytes || old == c {
			break
		}
		w.dropKept(old)
		if r := &old.exec.result; r.Executed == proto.ExecutedYes {
			*r = proto.Result{
				Outcome: proto.ResultLost, Executed: proto.ExecutedYes, Stage: proto.StageFinished,
				Reason: "the kept reply was dropped before it was fetched",
			}
		} else {
			r.Payload, r.Size = nil, 0
		}
	}
}

func (w *Wave) dropKept(c *call) {
	if c.kept {
		c.kept = false
		w.keptBytes -= len(c.exec.result.Payload)
		w.kept.leave()
	}
}
