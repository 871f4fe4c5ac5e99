package wave

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// MemberChanged: the directory's word on a member. Who goes down or leaves
// while it is asked gets its verdict now.
func (w *Wave) MemberChanged(now time.Time, ch proto.MemberChange, out *proto.Out) {
	if ch.Kind != proto.ChangeDown && ch.Kind != proto.ChangeLeft {
		return
	}
	for _, q := range slices.Clone(w.questions) {
		if t, ok := q.targets.Get(ch.Member.Entry.ID); ok && !t.given {
			t.member = ch.Member
			w.giveStatus(now, t, t.mayHaveRun(), out)
			w.arm(q)
		}
	}
}

// mayHaveRun is "no" only while nothing of the call was handed to any socket
// that could lead to the target.
func (t *target) mayHaveRun() proto.Executed {
	if t.q.relayed || t.handed > 0 || t.received {
		return proto.ExecutedMaybe
	}
	return proto.ExecutedNo
}

// giveStatus gives the verdict that follows from a member's status: down, left,
// or lost if it had the call.
func (w *Wave) giveStatus(now time.Time, t *target, executed proto.Executed, out *proto.Out) {
	v := proto.CallVerdict{Verdict: proto.Down, Executed: executed, Stage: t.stage, Reason: t.member.Why}
	switch {
	case t.member.Status == proto.StatusLeft:
		v.Verdict = proto.Left
		v.Reason = "it left the cluster"
	case t.received:
		v.Verdict = proto.Lost
		v.Reason = "it had the call and went down: " + t.member.Why
	}
	if executed == proto.ExecutedMaybe {
		t.q.unsure = true
	}
	w.give(now, t, v, out)
}

// wakeQuestion does what is due for a call of ours.
func (w *Wave) wakeQuestion(now time.Time, q *question, out *proto.Out) {
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch {
	case q.done:
		w.endWave(now, q, out)
		return
	case due(q.endAt(w.cfg)):
		w.endBudget(now, q, out)
		w.endWave(now, q, out)
		return
	}
	if due(q.directAt) {
		q.directAt = time.Time{}
		w.askMissing(now, q, out)
	}
	if due(q.statusAt) {
		q.statusAt = time.Time{}
		w.askStatus(q, out)
	}
	w.wakeAsks(now, q, out)
	w.arm(q)
}

// endAt is when verdicts are drawn from what is known: the budget, and the
// moment that this node's own application has for its word.
func (q *question) endAt(cfg Config) time.Time { return q.deadline.Add(cfg.Flush) }

// arm sets the question's alarm.
func (w *Wave) arm(q *question) {
	if q.alarm.question == nil || !slices.Contains(w.questions, q) {
		return
	}
	at := q.endAt(w.cfg)
	if !q.done {
		at = earliest(at, q.directAt, q.statusAt)
		for _, t := range q.asking {
			at = earliest(at, t.ask.at)
		}
	}
	w.set(&q.alarm, at)
}

// endWave: the budget is over for a wave whose call is settled.
func (w *Wave) endWave(now time.Time, q *question, out *proto.Out) {
	if q.call != nil && q.call.part != nil && !q.call.part.closed {
		w.callOff(now, q, out)
	}
	w.retire(q, out)
}

// endBudget draws the verdicts that silence leaves.
func (w *Wave) endBudget(now time.Time, q *question, out *proto.Out) {
	w.giveRest(now, q, func(t *target) proto.CallVerdict { return w.silent(t) }, out)
}

// silent is the verdict on a target that gave no word.
func (w *Wave) silent(t *target) proto.CallVerdict {
	switch {
	case t.fetching:
		return proto.CallVerdict{
			Verdict: proto.ResultLost, Executed: proto.ExecutedYes, Stage: proto.StageFinished,
			Reason: "it answered, and its large reply could not be fetched: " + t.reason,
		}
	case t.received:
		return proto.CallVerdict{
			Verdict: proto.TimedOut, Executed: proto.ExecutedMaybe, Stage: max(t.stage, proto.StageReceived),
			Reason: "it has the call and gave no answer in the budget",
		}
	case t.mayHaveRun() == proto.ExecutedNo && t.attempts == 0:
		return proto.CallVerdict{
			Verdict: proto.NotAttempted, Executed: proto.ExecutedNo, Stage: proto.StageNotSent,
			Reason: "the budget ended before anything could be sent to it",
		}
	}
	v := proto.CallVerdict{Verdict: proto.Unreachable, Executed: t.mayHaveRun(), Stage: t.stage, Reason: t.reason}
	if v.Executed == proto.ExecutedNo {
		v.Stage = proto.StageNotSent
	}
	if v.Reason == "" {
		v.Reason = "nothing was heard from it"
	}
	return v
}

// waveClosed: all our links are resolved. Whoever has no verdict is asked
// directly; after a broken link orphans get a moment to report first.
func (w *Wave) waveClosed(now time.Time, q *question, out *proto.Out) {
	switch {
	case q.done:
		w.retire(q, out)
	case q.call.part.round == 0 && len(w.links) > 0:
		w.widen(now, q, out)
	case len(q.cuts) > 0:
		q.directAt = earliest(q.directAt, now.Add(w.cfg.OrphanWait))
	default:
		w.askMissing(now, q, out)
	}
	w.arm(q)
}

// progressQuestion: once the whole wave has spread, who was not reached over
// links that still stand is asked directly, however slow the handlers are.
func (w *Wave) progressQuestion(now time.Time, q *question, out *proto.Out) {
	if q.done || !q.wave || q.spread || q.call.part.round == 0 || !q.hasSpread() {
		return
	}
	q.spread = true
	if len(q.cuts) > 0 {
		q.directAt = earliest(q.directAt, now.Add(w.cfg.OrphanWait))
		w.arm(q)
	} else {
		w.askMissing(now, q, out)
		w.arm(q)
	}
}

func (q *question) hasSpread() bool {
	for _, a := range q.adopted {
		if !a.spread && !a.final && !a.broken {
			return false
		}
	}
	return q.call.part.hasSpread()
}

// brokeAt: a link of the wave is known to be broken.
func (w *Wave) brokeAt(now time.Time, q *question) {
	if q.spread || q.call.part.closed {
		q.directAt = earliest(q.directAt, now.Add(w.cfg.OrphanWait))
	}
	w.arm(q)
}

// askMissing is the direct phase.
func (w *Wave) askMissing(now time.Time, q *question, out *proto.Out) {
	for _, id := range q.targets.Keys() {
		t, _ := q.targets.Get(id)
		if t.given || id == w.self || t.ask.state != askNone && t.ask.state != askFailed {
			continue
		}
		if q.call.part.closed || !w.leads(q, id) {
			if t.ask.state == askFailed {
				w.give(now, t, w.unreachable(t), out)
			} else {
				w.ask(now, t, out)
			}
		}
	}
}

// unreachable gives up on a target; it is not its own word.
func (w *Wave) unreachable(t *target) proto.CallVerdict {
	t.q.unsure = true
	v := w.silent(t)
	if v.Verdict == proto.TimedOut {
		v.Verdict, v.Reason = proto.Lost, "it had the call and can no longer be reached: "+t.reason
	}
	if v.Verdict == proto.NotAttempted {
		v.Verdict, v.Reason = proto.Unreachable, t.reason
	}
	return v
}

// leads: the receipts lead from the target, parent by parent, over unbroken
// links to us. Then the wave still owes its answer.
func (w *Wave) leads(q *question, id peer.ID) bool {
	for range q.parents.Len() + 1 {
		parent, ok := q.parents.Get(id)
		if !ok || q.cuts[edge{parent, id}] {
			return false
		}
		if parent == w.self {
			return true
		}
		id = parent
	}
	return false
}

// spokeQuiet: a link of ours says nothing. A star becomes a wave; in a wave,
// who has given no receipt is asked.
func (w *Wave) spokeQuiet(now time.Time, q *question, t proto.Testimony, out *proto.Out) {
	w.hearTestimony(now, q, t)
	if q.done {
		return
	}
	if q.call.part.round == 0 {
		w.widen(now, q, out)
		return
	}
	for _, id := range q.targets.Keys() {
		if x, _ := q.targets.Get(id); id != w.self && !x.given && !x.received && x.ask.state == askNone {
			w.ask(now, x, out)
		}
	}
	w.arm(q)
}

// spokeBroke: a link of ours is gone, unresolved.
func (w *Wave) spokeBroke(now time.Time, q *question, t proto.Testimony, out *proto.Out) {
	w.hearTestimony(now, q, t)
	if !q.done && q.call.part.round == 0 && len(w.links) > 0 {
		w.widen(now, q, out)
	}
}

// receiveAdopt: an orphan reports straight to us.
func (w *Wave) receiveAdopt(now time.Time, on proto.LinkID, from proto.PeerInfo, m proto.Adopt, out *proto.Out) {
	c := w.calls[m.Echo.ID]
	if c == nil || c.question == nil || c.question.done || c.part == nil {
		out.Add(proto.Send{Link: on, Msg: proto.Cancel{ID: m.Echo.ID}})
		return
	}
	q := c.question
	i := slices.IndexFunc(q.adopted, func(a *adopted) bool { return a.node == from.ID })
	if i < 0 {
		if len(q.adopted) >= q.targets.Len()+16 {
			out.Add(proto.Ignored{Why: "too_many_orphans", Peer: from.ID})
			return
		}
		i = len(q.adopted)
		q.adopted = append(q.adopted, &adopted{node: from.ID})
	}
	a := q.adopted[i]
	a.broken = false
	a.final, a.spread = a.final || m.Echo.Final, a.spread || m.Echo.Spread
	if !a.final {
		c.part.closed = false
	}
	w.hear(now, q, m.Echo, out)
	if m.Echo.Round == c.part.round {
		q.receipt(proto.Receipt{Node: from.ID, Parent: w.self, Round: m.Echo.Round})
		delete(q.cuts, edge{w.self, from.ID})
	}
	w.progress(now, c, out)
}
