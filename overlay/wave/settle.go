package wave

import (
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// extrasMax bounds the answers of nodes that were not asked, per call.
const extrasMax = 1024

// heardResult takes what a peer says a node's result is. On our own nobody else
// has a word: our handler may still run.
func (w *Wave) heardResult(now time.Time, q *question, from peer.ID, r proto.NodeResult, out *proto.Out) {
	if r.Node == w.self {
		out.Add(proto.Ignored{Why: "result_of_ours", Peer: from})
		return
	}
	w.verdictOf(now, q, r, out)
}

// verdictOf draws the verdict from a target's own word.
func (w *Wave) verdictOf(now time.Time, q *question, r proto.NodeResult, out *proto.Out) {
	t := q.target(r.Node)
	switch {
	case t == nil:
		// A refusal of somebody who was not asked is no news.
		if !q.done && r.Result.Executed != proto.ExecutedNo && q.extras.Len() < extrasMax && q.extras.Add(r.Node) {
			out.Add(proto.CallVerdict{
				Ref: q.ref, Node: r.Node, Verdict: r.Result.Outcome, Executed: r.Result.Executed,
				Stage: r.Result.Stage, Elapsed: now.Sub(q.started), Reason: r.Result.Reason, Result: r.Result, Extra: true,
			})
		}
		return
	case t.given:
		q.late++
		w.stats.Late++
		return
	case int(r.Result.Size) > len(r.Result.Payload):
		t.received, t.answered, t.stage = true, true, proto.StageFinished
		w.fetch(now, t, out)
		return
	}
	if r.Result.Outcome == proto.Replied {
		q.replied++
	}
	t.received = true
	w.give(now, t, proto.CallVerdict{
		Verdict: r.Result.Outcome, Executed: r.Result.Executed, Stage: max(r.Result.Stage, proto.StageReceived),
		Reason: r.Result.Reason, Result: r.Result,
	}, out)
}

// give tells a target's one verdict, and ends the call with the last.
func (w *Wave) give(now time.Time, t *target, v proto.CallVerdict, out *proto.Out) {
	if t.given {
		panic("wave: a second verdict for one target")
	}
	q := t.q
	t.given = true
	v.Ref, v.Node = q.ref, t.node
	v.Elapsed, v.Witnesses = now.Sub(q.started), t.witnesses
	v.Attempts = t.attempts
	if q.relayed && t.node != w.self {
		v.Attempts++
	}
	out.Add(v)
	w.endAsk(now, t, v.Result.Outcome != 0, out)
	if q.open--; q.open == 0 {
		w.settle(now, q, out)
	} else if q.enough > 0 && q.replied >= q.enough && !q.done {
		w.abandon(now, q, "enough replies", out)
	}
}

// settle: every target has its verdict. The wave may go on for a moment; only
// where a verdict is not a target's own word, the rest is called off at once.
func (w *Wave) settle(now time.Time, q *question, out *proto.Out) {
	if q.done {
		return
	}
	q.done = true
	q.endAt = earliest(q.endAt, now.Add(w.cfg.Linger))
	out.Add(proto.CallDone{Ref: q.ref, Late: q.late})
	delete(w.byRef, q.ref)
	if q.unsure {
		w.callOff(now, q, out)
	}
	w.retire(q, out)
	w.arm(q)
}

// retire lets go of a call that is settled and whose wave has ended.
func (w *Wave) retire(q *question, out *proto.Out) {
	if q.retired || !q.done || q.wave && q.call != nil && !q.call.part.closed {
		return
	}
	w.alarms.Set(&q.alarm, time.Time{})
	q.retired = true
	w.questions.leave()
	if c := q.call; c != nil {
		seq := &w.waveSeq
		if !q.wave {
			seq = w.directSeq[w.self]
		}
		seq.Close(c.msg.ID.Seq)
		w.raise(c.window, c.msg.ID, seq.Oldest(), out)
		if !c.forgotten && !c.owes() {
			w.shut(c)
		}
	}
}

// Cancel: the caller's application no longer wants it.
func (w *Wave) Cancel(now time.Time, ref uint64, out *proto.Out) {
	if q := w.byRef[ref]; q != nil {
		w.abandon(now, q, "cancelled by the caller", out)
	}
}

// abandon ends a call early: who has no verdict is abandoned.
func (w *Wave) abandon(now time.Time, q *question, why string, out *proto.Out) {
	w.giveRest(now, q, func(t *target) proto.CallVerdict {
		return proto.CallVerdict{Verdict: proto.Abandoned, Executed: proto.ExecutedMaybe, Stage: t.stage, Reason: why}
	}, out)
}

// giveRest gives every target without a verdict the one that word says.
func (w *Wave) giveRest(now time.Time, q *question, word func(*target) proto.CallVerdict, out *proto.Out) {
	q.ending, q.unsure, q.enough = true, true, 0
	for i := range q.targets {
		if t := &q.targets[i]; !t.given {
			w.give(now, t, word(t), out)
		}
	}
}

// callOff sends CANCEL wherever the call may still be at work: unanswered and
// child links, adopted orphans, asked targets (endAsk told those).
func (w *Wave) callOff(now time.Time, q *question, out *proto.Out) {
	if q.call == nil || q.retired {
		return
	}
	w.cancelCall(now, q.call, "the caller has finished", out)
	for _, a := range q.adopted {
		if !a.final && !a.broken {
			a.final = true
			out.Add(proto.SendTo{Owner: proto.OwnerWave, Peer: proto.PeerInfo{ID: a.node}, Msg: proto.Cancel{ID: q.call.msg.ID}})
		}
	}
}
