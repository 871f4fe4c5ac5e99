package sim

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// callChecks: M1 to M6, M8.
type callChecks struct {
	world *World
	open  []int // calls without their end, by process
}

// lateBy is ε of M2: how long after its deadline a call may still end, at a
// caller that is neither stopped nor slow.
const lateBy = 5 * time.Millisecond

// watch demands a call's end in time (M2).
func (c *callChecks) watch(call *Call) {
	c.world.at(call.deadline+lateBy, func() { c.overdue(call) })
}

func (c *callChecks) overdue(call *Call) {
	n := call.By
	switch {
	case call.Done || call.Refused != "" || !n.Living():
	case n.state == paused || len(n.inbox) > 0 || n.freeAt > c.world.now || n.resumed+lateBy > c.world.now:
		c.world.after(20*time.Millisecond, func() { c.overdue(call) })
	default:
		c.world.fail("M2: call %d of %v has not ended %v after its deadline; missing: %s", call.ref, n, c.world.now-call.deadline, call.missing())
	}
}

func (call *Call) missing() string {
	var names []string
	for id, t := range call.Targets.All() {
		if !t.Given {
			names = append(names, id.Short())
		}
	}
	return strings.Join(names, " ")
}

func (c *callChecks) call(n *Node, ref uint64) *Call {
	if ref == 0 || ref > uint64(len(c.world.apps.calls)) || c.world.apps.calls[ref-1].By != n {
		c.world.fail("M1: %v speaks of call %d, which it never made", n, ref)
		return nil
	}
	return c.world.apps.calls[ref-1]
}

func (c *callChecks) started(n *Node, o proto.CallStarted) {
	call := c.call(n, o.Ref)
	if call == nil {
		return
	}
	if call.listed {
		c.world.fail("M1: call %d of %v starts twice", o.Ref, n)
	}
	// The budget counts from the step that began it: a slow node's application waited before. Its clock may run slow, too.
	call.listed, call.deadline = true, c.world.now+call.budget+call.budget/1e6*driftMost
	c.watch(call)
	for _, m := range o.Targets {
		if call.Targets.Has(m.Entry.ID) {
			c.world.fail("M1: call %d of %v has target %s twice", o.Ref, n, m.Entry.Name)
		}
		call.Targets.Put(m.Entry.ID, &Word{})
	}
	for len(c.open) <= n.Index {
		c.open = append(c.open, 0)
	}
	if c.open[n.Index]++; c.open[n.Index] > c.world.cfg.Core.Wave.OpenMax {
		c.world.fail("M8: %v has %d open calls", n, c.open[n.Index])
	}
}

func (c *callChecks) refused(n *Node, o proto.CallRefused) {
	call := c.call(n, o.Ref)
	if call == nil {
		return
	}
	call.Refused = o.Why
	c.world.Report.Faults["call refused at the bound"]++
	if n.Index >= len(c.open) || c.open[n.Index] < c.world.cfg.Core.Wave.OpenMax {
		c.world.fail("M8: %v refuses a call below its bound", n)
	}
}

func (c *callChecks) verdict(n *Node, v proto.CallVerdict) {
	call := c.call(n, v.Ref)
	if call == nil {
		return
	}
	w := c.world
	w.Report.Verdicts[v.Verdict.String()+" / "+v.Executed.String()]++
	if v.Extra {
		call.Extra++
		if call.Targets.Has(v.Node) {
			w.fail("M1: call %d of %v: %s is a target and extra", v.Ref, n, v.Node.Short())
		}
		return
	}
	t, ok := call.Targets.Get(v.Node)
	if !ok || t.Given {
		w.fail("M1: call %d of %v: a verdict (%v) on %s, which is no target or had one (%v)", v.Ref, n, v.Verdict, v.Node.Short(), ok)
		return
	}
	t.Given, t.CallVerdict = true, v
	r, _ := call.runs.Get(v.Node)
	ran := r != nil && r.begun
	switch v.Executed {
	case proto.ExecutedNo:
		if ran {
			w.fail("M3: call %d of %v: %v on %s says executed no, and its handler ran: %s", v.Ref, n, v.Verdict, v.Node.Short(), v.Reason)
		}
	case proto.ExecutedYes:
		if !ran {
			w.fail("M3: call %d of %v: %v on %s says executed yes, and its handler did not run", v.Ref, n, v.Verdict, v.Node.Short())
		}
	case proto.ExecutedMaybe:
	default:
		w.fail("M3: call %d of %v: a verdict without a word on execution", v.Ref, n)
	}
	if v.Verdict == proto.Replied || v.Verdict == proto.AppError {
		if r == nil || !r.answered || r.result.Outcome != v.Result.Outcome || !bytes.Equal(r.result.Payload, v.Result.Payload) {
			w.fail("M5: call %d of %v: the answer of %s is not what it said", v.Ref, n, v.Node.Short())
		}
	}
}

func (c *callChecks) done(n *Node, o proto.CallDone) {
	call := c.call(n, o.Ref)
	if call == nil {
		return
	}
	if call.Done || !call.listed {
		c.world.fail("M1: call %d of %v ends twice, or before it starts", o.Ref, n)
	}
	call.Done, call.ended = true, c.world.now
	if missing := call.missing(); missing != "" {
		c.world.fail("M1: call %d of %v ends without a verdict on %s", o.Ref, n, missing)
	}
	if c.open[n.Index]--; c.world.cfg.Log != nil {
		counts := call.Verdicts()
		var words []string
		for _, k := range slices.Sorted(maps.Keys(counts)) {
			words = append(words, fmt.Sprintf("%d %s", counts[k], k))
		}
		c.world.say("call %d of %s to %d ends after %v: %s", call.ref, n, call.Targets.Len(), c.world.now-call.began, strings.Join(words, ", "))
	}
}

// dispatched: at most once (M4), and never after the budget, as the caller's
// own clock has it (M6). A link's delay that nobody has measured yet is allowed.
func (c *callChecks) dispatched(n *Node, d proto.Dispatch, r *run) {
	w := c.world
	if r.call == nil && w.checks.hostile {
		r.call = &Call{By: n, deadline: w.now + d.Budget}
		return
	}
	if r.call == nil {
		w.fail("M5: %v is asked to run %v, which nobody called", n, d.ID)
		return
	}
	if r.call.By.ID != d.ID.Caller {
		w.fail("M5: %v runs call %d in the name of %s", n, r.call.ref, d.ID.Caller.Short())
	}
	if old, again := r.call.runs.Get(n.ID); again {
		w.fail("M4: %v runs call %d twice, as %v and %v", n, r.call.ref, old.id, d.ID)
	}
	r.call.runs.Put(n.ID, r)
	if late := w.now + d.Budget - r.call.deadline; late > 0 && late > n.waited+w.oneDelay() {
		w.fail("M6: %v may run call %d of %v until %v after its deadline (called %v ago, budget %v, left %v)", n, r.call.ref, r.call.By,
			late, w.now-r.call.began, r.call.budget, d.Budget)
	}
}

// begun: no target that was told not executed may run after that (M3).
func (c *callChecks) begun(r *run) {
	if t, ok := r.call.Targets.Get(r.node.ID); ok && t.Given && t.Executed == proto.ExecutedNo {
		c.world.fail("M3: %v runs call %d of %v after a verdict (%v) that said executed no: %s", r.node, r.call.ref, r.call.By, t.Verdict, t.Reason)
	}
}

func (c *callChecks) ended(n *Node) {
	if n.Index < len(c.open) {
		c.open[n.Index] = 0
	}
}

// oneDelay is the longest that a frame takes on any link now.
func (w *World) oneDelay() time.Duration {
	most := time.Duration(0)
	for _, h := range w.hosts {
		most = max(most, h.lag)
		if w.now-h.lagEnd < time.Second {
			most = max(most, h.lagged)
		}
	}
	return w.cfg.Latency + w.cfg.Jitter + 2*most + w.net.slowBy + time.Millisecond
}
