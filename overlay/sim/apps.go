package sim

import (
	"encoding/binary"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// method is what every application here serves.
const method = "sim.echo"

// apps are the applications beside the nodes: they call, answer and publish.
type apps struct {
	world *World
	calls []*Call // all that were ever made; by ref-1
	runs  map[runKey]*run
	casts []*cast

	temper Temper
}

// Call is one call, as the application that made it sees it.
type Call struct {
	By       *Node
	ref      uint64
	began    time.Duration
	budget   time.Duration
	deadline time.Duration // as its node counts
	Targets  peer.Map[*Word]
	Extra    int
	listed   bool // CallStarted came
	Done     bool
	Refused  string
	ended    time.Duration
	enough   bool // may end before its time, by the caller's will
	runs     peer.Map[*run]
}

// Word is what became of one target.
type Word struct {
	Given bool
	proto.CallVerdict
}

type runKey struct {
	id   proto.CallID
	node int
}

// run is one Dispatch.
type run struct {
	id        proto.CallID
	node      *Node
	call      *Call
	begun     bool // the handler has started
	answered  bool // LocalResult is given, or on its way
	cancelled bool
	result    proto.Result
}

// Ask starts a call to whom sel names.
func (n *Node) Ask(sel proto.Selector, budget time.Duration, size, enough int) *Call {
	a := &n.world.apps
	c := &Call{By: n, ref: uint64(len(a.calls) + 1), began: n.world.now, budget: budget, enough: enough > 0}
	a.calls = append(a.calls, c)
	a.world.Report.Calls++
	mode := proto.ModeCall
	if size%2 == 1 {
		mode = proto.ModeDeliverHandler
	}
	n.give(proto.StartCall{
		Ref: c.ref, Select: sel, Budget: budget, MinReplies: enough,
		Request: proto.Request{Mode: mode, Method: method, ContentType: "x", Payload: payload(c.ref, uint64(n.Index), max(16, size))},
	})
	return c
}

// Cancel takes a call back.
func (c *Call) Cancel() {
	if c.By.state == up && !c.Done {
		c.enough = true
		c.By.give(proto.CancelCall{Ref: c.ref})
	}
}

// Verdicts counts the call's verdicts by their names.
func (c *Call) Verdicts() map[string]int {
	counts := map[string]int{}
	for _, t := range c.Targets.All() {
		if t.Given {
			counts[t.Verdict.String()]++
		}
	}
	return counts
}

// payload is bytes that nobody else says, at least 16.
func payload(a, b uint64, size int) []byte {
	p := make([]byte, max(16, size))
	binary.BigEndian.PutUint64(p, a)
	binary.BigEndian.PutUint64(p[8:], b)
	for i := 16; i < len(p); i++ {
		p[i] = byte(i ^ int(a) ^ int(b))
	}
	return p
}

// callOf finds the call that a request belongs to.
func (a *apps) callOf(r *proto.Request) *Call {
	if len(r.Payload) < 16 {
		return nil
	}
	ref := binary.BigEndian.Uint64(r.Payload)
	if ref == 0 || ref > uint64(len(a.calls)) {
		return nil
	}
	return a.calls[ref-1]
}

// dispatch is a call that reached a node's application.
func (a *apps) dispatch(n *Node, d proto.Dispatch) {
	w := a.world
	r := &run{id: d.ID, node: n, call: a.callOf(&d.Request)}
	w.checks.calls.dispatched(n, d, r)
	if a.runs == nil {
		a.runs = map[runKey]*run{}
	}
	a.runs[runKey{d.ID, n.Index}] = r
	answer := proto.Result{Outcome: proto.Replied, Executed: proto.ExecutedYes, Stage: proto.StageFinished, ContentType: "x"}
	size := 16
	if w.chance(a.temper.Large) {
		size = 9<<10 + w.rng.IntN(40<<10)
	}
	var ref uint64
	if r.call != nil {
		ref = r.call.ref
	}
	answer.Payload = payload(ref, uint64(n.Index), size)
	took := w.between(10*time.Microsecond, 500*time.Microsecond)
	t := a.temper
	switch p := w.rng.Float64(); {
	case p < t.Slow:
		w.Report.Faults["slow handler"]++
		took = w.between(time.Millisecond, 2*d.Budget)
	case p < t.Slow+t.Hang:
		w.Report.Faults["hanging handler"]++
		w.after(0, func() { r.begin(w) })
		return
	case p < t.Slow+t.Hang+t.Queued:
		w.Report.Faults["queued call"]++
		w.after(w.between(0, 2*d.Budget), func() {
			if !r.cancelled && r.node.Living() {
				r.begin(w)
				r.answer(answer)
			}
		})
		return
	case p < t.Slow+t.Hang+t.Queued+t.Failing:
		w.Report.Faults["failing handler"]++
		answer.Outcome, answer.Code, answer.Reason = proto.AppError, "failed", "as drawn"
	case p < t.Slow+t.Hang+t.Queued+t.Failing+t.Refusing:
		w.Report.Faults["refusing application"]++
		took = 0
		answer = proto.Result{Outcome: proto.NoHandler, Executed: proto.ExecutedNo, Stage: proto.StageFinished, Reason: "as drawn"}
		if w.chance(0.5) {
			answer.Outcome = proto.Overloaded
		}
		w.after(took, func() { r.answer(answer) })
		return
	}
	r.begin(w)
	w.after(took, func() { r.answer(answer) })
}

// begin starts the handler.
func (r *run) begin(w *World) {
	if !r.begun && r.node.Living() && !r.answered {
		r.begun = true
		w.checks.calls.begun(r)
	}
}

// answer gives the one LocalResult of a Dispatch.
func (r *run) answer(result proto.Result) {
	if r.answered || !r.node.Living() {
		return
	}
	r.answered, r.result = true, result
	r.node.give(proto.LocalResult{ID: r.id, Result: result})
}

// cancel is the word that nobody waits for a Dispatch any more.
func (a *apps) cancel(n *Node, c proto.CancelDispatch) {
	w := a.world
	r := a.runs[runKey{c.ID, n.Index}]
	if r == nil {
		w.fail("%v: a dispatch was cancelled that never was: %v", n, c.ID)
		return
	}
	if r.cancelled || r.answered {
		return
	}
	r.cancelled = true
	word := proto.Result{Outcome: proto.TimedOut, Executed: proto.ExecutedMaybe, Stage: proto.StageStarted, Reason: "cancelled: " + c.Why}
	if !r.begun {
		word.Executed, word.Stage = proto.ExecutedNo, proto.StageReceived
	}
	w.after(w.between(time.Microsecond, 300*time.Microsecond), func() { r.answer(word) })
}

// cast is one application's broadcast.
type cast struct {
	by        *Node
	body      proto.CastBody
	id        proto.MsgID // zero: not accepted
	at        time.Duration
	delivered []bool // by process
	hops      int    // of the longest way to one of them
}

// Publish broadcasts to a topic.
func (n *Node) Publish(topic string, size int) {
	a := &n.world.apps
	ref := uint64(len(a.casts) + 1)
	c := &cast{by: n, at: n.world.now, body: proto.CastBody{Topic: topic, ContentType: "x", Payload: payload(ref, uint64(n.Index), size)}}
	a.casts = append(a.casts, c)
	n.give(proto.Publish{Ref: ref, Body: c.body})
}
