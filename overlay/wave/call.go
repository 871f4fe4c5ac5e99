package wave

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/wave/alarm"
)

// call is what one node knows of one call: its own run, its part in the wave,
// who asked it directly and, at the caller, the question.
//
// In a large world each step finds its call cold in memory: what all of them
// look at stands first.
type call struct {
	part      *part     // nil: reached directly only, so far
	question  *question // we are the caller
	cut       bool      // the run was told that time is up
	open      bool      // counts against the caller's bound
	kept      bool      // the result has a payload that counts as kept
	forgotten bool      // no longer in the table
	pulling   bool      // the body is asked for
	pulledAll bool      // and the caller was asked for it, too
	deadline  time.Time // the budget's end, here
	forget    time.Time // when the entry goes
	cutAt     time.Time // the part closes then
	alarm     alarm.Alarm[sleeper]
	exec      exec
	msg       proto.Call // as it came or was made; Payload is nil while the body is missing, and once nobody needs it
	window    *window
	askers    []proto.LinkID // wait for the result
	pullers   []proto.LinkID // wait for the body
	bodyFrom  []proto.LinkID // connections whose other end has the call and was not asked for the body
	pullOn    proto.LinkID   // where the body is asked for; 0: of the caller
}

// exec is the run of the local handler.
type exec struct {
	state  execState
	result proto.Result
}

type execState uint8

const (
	execNone    execState = iota // not decided yet
	execBody                     // to be run when its body comes
	execRunning                  // dispatched
	execDone                     // has a result
	execRelay                    // never runs here and says nothing: excluded, or the caller itself unasked
	execDropped                  // cancelled while running: the result is of no use
)

// settled: the local run owes nothing to the echo.
func (e *exec) settled() bool {
	return e.state == execDone || e.state == execRelay || e.state == execDropped
}

// whole tells whether the request's body is here.
func (c *call) whole() bool { return len(c.msg.Payload) >= int(c.msg.Size) }

// dropLink forgets who waited at the other end of a connection.
func (c *call) dropLink(id proto.LinkID) {
	is := func(l proto.LinkID) bool { return l == id }
	c.askers = slices.DeleteFunc(c.askers, is)
	c.pullers = slices.DeleteFunc(c.pullers, is)
}

// call finds what is known of a call; nil: nothing.
func (w *Wave) call(id proto.CallID) *call {
	if w.found != nil && w.found.msg.ID == id {
		return w.found
	}
	c := w.calls[id]
	if c != nil {
		w.found = c
	}
	return c
}

// admission is what the tables say of a call that came.
type admission uint8

const (
	admitNew   admission = iota + 1
	admitKnown           // in the table
	admitOld             // seen and forgotten, cancelled unseen, below the oldest open, or too far ahead
	admitFull            // no room: it will never run here
)

// admit looks the call up, and makes an entry for a fresh one. It reads the
// table before any budget: a late copy of a running call must never be refused.
func (w *Wave) admit(now time.Time, on proto.LinkID, msg proto.Call, out *proto.Out) (*call, admission) {
	if c := w.call(msg.ID); c != nil {
		return c, admitKnown
	}
	age := w.age(now, on, msg.Stamp)
	msg.Elapsed += age
	msg.Remaining -= age
	win := w.window(now, msg.ID, msg.Oldest, msg.Elapsed)
	if win == nil {
		out.Add(proto.Ignored{Why: "call_without_window", Peer: msg.ID.Caller})
		return nil, admitOld
	}
	w.raise(win, msg.ID, msg.Oldest, out)
	switch {
	case win.Has(msg.ID.Seq) || msg.ID.Caller == w.self:
		out.Add(proto.Ignored{Why: "call_seen_before", Peer: msg.ID.Caller})
		return nil, admitOld
	case win.Jumps(msg.ID.Seq):
		out.Add(proto.Ignored{Why: "call_sequence_jump", Peer: msg.ID.Caller})
		return nil, admitOld
	case !w.mayOpen(msg.ID.Caller) || w.openBytes+int(msg.Size) > w.cfg.OpenBytes || !w.makeRoom(out):
		win.Mark(msg.ID.Seq) // so that it never runs, whatever copy comes later
		out.Add(proto.Ignored{Why: "call_table_full", Peer: msg.ID.Caller})
		return nil, admitFull
	}
	return w.enter(now, win, msg), admitNew
}

// enter puts a call into the table; from now on it counts as seen.
func (w *Wave) enter(now time.Time, win *window, msg proto.Call) *call {
	win.Mark(msg.ID.Seq)
	win.calls++
	c := &call{msg: msg, deadline: now.Add(min(msg.Remaining, proto.MaxBudget)), window: win}
	c.forget = c.deadline.Add(w.cfg.Keep)
	c.alarm.Of = c
	w.calls[msg.ID], w.found = c, c
	w.order.add(c)
	w.openUp(c)
	return c
}

// Restamp makes a message that waited here for its link say how late it is now.
func (w *Wave) Restamp(now time.Time, msg proto.Message) proto.Message {
	ask, ok := msg.(proto.Ask)
	if !ok {
		return msg
	}
	return w.aged(now, ask, w.clock(now)-ask.Call.Stamp)
}

// aged is an ask after so long, as it leaves this node.
func (w *Wave) aged(now time.Time, ask proto.Ask, by time.Duration) proto.Ask {
	ask.Call.Elapsed += by
	ask.Call.Remaining -= by
	ask.Call.Stamp = w.clock(now)
	return ask
}

// decide starts the local run, or settles without one. Everything that a node
// refuses is recorded under the call's ID before it is sent, and repeated to
// every later copy: that makes "executed: no" true.
func (w *Wave) decide(now time.Time, c *call, out *proto.Out) {
	if c.exec.state != execNone {
		return
	}
	self := w.members.Self()
	refuse := func(why string) {
		w.finish(now, c, proto.Result{
			Outcome: proto.Rejected, Executed: proto.ExecutedNo, Stage: proto.StageFinished, Reason: why,
		}, out)
	}
	elapsed := c.msg.Elapsed
	switch {
	case slices.Contains(c.msg.Excluded, w.self):
		c.exec.state = execRelay
	case c.msg.ID.Caller == w.self && (c.question == nil || !c.question.asks(w.self)):
		c.exec.state = execRelay
	case !c.msg.Select.Match(self):
		refuse("not_selected")
	case w.leaving:
		refuse("leaving")
	case self.Draining && !c.msg.Select.Draining:
		refuse("draining")
	case !now.Before(c.deadline):
		refuse("too_late")
	case c.msg.ID.Caller != w.self && w.born.After(now.Add(-elapsed)):
		refuse("younger_than_the_call")
	case !c.whole():
		c.exec.state = execBody
	default:
		w.run(now, c, out)
	}
}

// run hands the call up.
func (w *Wave) run(now time.Time, c *call, out *proto.Out) {
	c.exec.state = execRunning
	w.stats.Dispatched++
	if c.question != nil { // our own run: without this its silence would count as never begun
		t := c.question.target(w.self)
		t.received, t.stage, t.attempts = true, max(t.stage, proto.StageStarted), 1
	}
	out.Add(proto.Dispatch{ID: c.msg.ID, From: c.msg.From, Request: c.msg.Whole(), Budget: c.deadline.Sub(now)})
}

// Result is the layer above's answer to a Dispatch.
func (w *Wave) Result(now time.Time, id proto.CallID, r proto.Result, out *proto.Out) {
	c := w.call(id)
	if c == nil || c.exec.state != execRunning {
		w.stats.Late++
		out.Add(proto.Ignored{Why: "late_local_result", Peer: id.Caller})
		return
	}
	w.finish(now, c, r, out)
}

// finish records the local result and tells everybody who waits for it.
func (w *Wave) finish(now time.Time, c *call, r proto.Result, out *proto.Out) {
	r.Size = uint32(len(r.Payload))
	c.exec = exec{state: execDone, result: r}
	w.keep(c)
	for _, l := range c.askers {
		own := w.ownResult(c, true)
		out.Add(proto.Send{Link: l, Msg: proto.Answer{ID: c.msg.ID, Node: w.self, Result: &own}})
	}
	c.askers = nil
	if c.question != nil {
		w.verdictOf(now, c.question, w.ownResult(c, true), out)
	} else if c.part != nil && !c.part.closed {
		c.part.addResult(w.ownResult(c, c.part.round == 0))
	}
	w.progress(now, c, out)
}

// ownResult is this node's own result; a large one without its payload, unless
// it goes straight to the caller.
func (w *Wave) ownResult(c *call, straight bool) proto.NodeResult {
	r := c.exec.result
	if !straight && len(r.Payload) > w.cfg.InlineReply {
		r.Payload = nil
	}
	return proto.NodeResult{Node: w.self, Incarnation: w.members.Self().Incarnation, Result: r}
}

// progress moves a call on after anything changed, and arms its alarm.
func (w *Wave) progress(now time.Time, c *call, out *proto.Out) {
	if c.part != nil && !c.part.closed {
		w.progressPart(now, c, out)
	}
	if c.forgotten {
		return
	}
	if !c.owes() {
		w.shut(c)
	}
	at := earliest(c.forget, c.cutAt)
	if !c.cut && (c.exec.state == execRunning || c.exec.state == execBody || c.part != nil && !c.part.closed) {
		at = earliest(at, c.deadline)
	}
	if c.part != nil && !c.part.closed {
		at = earliest(at, c.part.flushAt, c.part.aliveAt, c.part.tookAt, c.part.quietAt)
	}
	w.alarms.Set(&c.alarm, at)
}

// wake: something of this call has come due.
func (c *call) wake(w *Wave, now time.Time, out *proto.Out) {
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	if due(c.forget) {
		w.forgetCall(c, out)
		return
	}
	if due(c.cutAt) {
		c.cutAt = time.Time{}
		if c.part != nil && !c.part.closed {
			w.closeLate(now, c, out)
		}
	} else if !c.cut && due(c.deadline) {
		w.endRun(now, c, out)
	}
	if c.part != nil && !c.part.closed {
		w.wakePart(now, c, out)
	}
	w.progress(now, c, out)
}

// endRun ends the local run at the end of the budget. The layer above gets a
// moment to say whether it had started, then the part closes.
func (w *Wave) endRun(now time.Time, c *call, out *proto.Out) {
	c.cut, c.cutAt = true, now.Add(w.cfg.Flush)
	switch c.exec.state {
	case execRunning:
		out.Add(proto.CancelDispatch{ID: c.msg.ID, Why: "deadline"})
	case execBody:
		w.finish(now, c, proto.Result{
			Outcome: proto.TimedOut, Executed: proto.ExecutedNo, Stage: proto.StageReceived, Reason: "its body did not come in time",
		}, out)
	}
}
