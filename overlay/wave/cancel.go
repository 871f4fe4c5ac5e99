package wave

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// raise tells that a caller has finished with all below oldest: what is kept
// of those calls is of no use to anybody any more.
func (w *Wave) raise(win *window, oldest uint64, out *proto.Out) {
	if oldest <= win.floor {
		return
	}
	win.raise(oldest)
	for _, c := range slices.Clone(win.calls) {
		if c.msg.ID.Seq < oldest {
			w.forgetCall(c, out)
		}
	}
}

// makeRoom drops the oldest finished call when the table is full. The window
// still knows that it ran.
func (w *Wave) makeRoom(out *proto.Out) bool {
	if len(w.calls) < w.cfg.CallsMax {
		return true
	}
	for _, c := range w.order {
		if !c.open {
			w.forgetCall(c, out)
			return true
		}
	}
	return false
}

// shut stops counting a call as open once it owes nobody anything.
func (w *Wave) shut(c *call) {
	if !c.open || !c.exec.settled() || c.part != nil && !c.part.closed {
		return
	}
	c.open = false
	if w.openOf[c.msg.ID.Caller]--; w.openOf[c.msg.ID.Caller] <= 0 {
		delete(w.openOf, c.msg.ID.Caller)
	}
}

// receiveCancel: nobody wants the answer any more. It is recorded for calls
// that were not seen here yet, too.
func (w *Wave) receiveCancel(now time.Time, m proto.Cancel, out *proto.Out) {
	c := w.calls[m.ID]
	if c == nil {
		if win := w.window(m.ID, m.ID.Seq); !win.jumps(m.ID.Seq) {
			win.mark(m.ID.Seq)
		}
		return
	}
	w.cancelCall(now, c, "cancelled", out)
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
	w.set(&c.alarm, time.Time{})
	delete(w.calls, c.msg.ID)
	c.exec.state = execDropped
	if c.part != nil {
		c.part.closed = true
	}
	w.shut(c)
	if i := slices.Index(c.window.calls, c); i >= 0 {
		c.window.calls = slices.Delete(c.window.calls, i, i+1)
	}
	if i := slices.Index(w.order, c); i >= 0 {
		w.order = slices.Delete(w.order, i, i+1)
	}
	if i := slices.Index(w.kept, c); i >= 0 {
		w.kept = slices.Delete(w.kept, i, i+1)
		w.keptBytes -= len(c.exec.result.Payload)
	}
}
