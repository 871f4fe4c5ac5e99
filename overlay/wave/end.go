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
	for q := range w.questions.all() {
		if t := q.target(ch.Member.Entry.ID); t != nil && !t.given {
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
	case t.answered:
		t.reason = "it is gone"
		v = w.silent(t)
	case t.member.Status == proto.StatusLeft:
		v.Verdict = proto.Left
		v.Reason = "it left the cluster"
	case t.received:
		v.Verdict = proto.Lost
		v.Reason = "it had the call and went down: " + t.member.Why
	}
	if executed == proto.ExecutedMaybe {
		t.q.unsure = true
	} else {
		v.Stage = proto.StageNotSent
	}
	w.give(now, t, v, out)
}

// wake does what is due for a call of ours.
func (q *question) wake(w *Wave, now time.Time, out *proto.Out) {
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	if due(q.endAt) {
		if !q.done {
			w.giveRest(now, q, w.silent, out)
		}
		w.callOff(now, q, out)
		w.retire(q, out)
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
	if due(q.askAt) {
		w.wakeAsks(now, q, out)
	}
	w.arm(q)
}

// arm sets the question's alarm.
func (w *Wave) arm(q *question) {
	switch {
	case q.retired:
	case q.done:
		w.alarms.Set(&q.alarm, q.endAt)
	default:
		w.alarms.Set(&q.alarm, earliest(q.endAt, q.directAt, q.statusAt, q.askAt))
	}
}

// silent is the verdict on a target that gave no word.
func (w *Wave) silent(t *target) proto.CallVerdict {
	switch {
	case t.answered:
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

// waveClosed: all our links are resolved. A star becomes a wave; in a wave,
// whoever has no verdict is asked directly. After a broken link orphans get a
// moment to report first.
func (w *Wave) waveClosed(now time.Time, q *question, out *proto.Out) {
	missing := func(t target) bool { return !t.given && t.node != w.self }
	switch {
	case q.done:
		w.retire(q, out)
		return
	case q.call.part.round == 0 && len(w.links) > 0 && slices.ContainsFunc(q.targets, missing):
		w.widen(now, q, out)
	default:
		w.askSoon(now, q, out)
	}
}

// progressQuestion: once the whole wave has spread, who was not reached over
// links that still stand is asked directly, however slow the handlers are.
func (w *Wave) progressQuestion(now time.Time, q *question, out *proto.Out) {
	if q.done || !q.wave || q.spread || q.call.part.round == 0 || !q.hasSpread() {
		return
	}
	q.spread = true
	w.askSoon(now, q, out)
}

// askSoon begins the direct phase; orphans come first if a link is broken.
func (w *Wave) askSoon(now time.Time, q *question, out *proto.Out) {
	if len(q.cuts) > 0 {
		q.directAt = earliest(q.directAt, now.Add(w.cfg.OrphanWait))
	} else {
		w.askMissing(now, q, out)
	}
	w.arm(q)
}

func (q *question) hasSpread() bool {
	for _, a := range q.adopted {
		if a.round == q.call.part.round && !a.spread && !a.final && !a.broken {
			return false
		}
	}
	return q.call.part.hasSpread()
}

// brokeNow: a link of the wave is known to be broken.
func (w *Wave) brokeNow(now time.Time, q *question) {
	if q.spread || q.call.part.closed {
		q.directAt = earliest(q.directAt, now.Add(w.cfg.OrphanWait))
	}
	w.arm(q)
}

// askMissing is the direct phase. Those who were known to be down, and were too
// many to be named to the wave, are not dialled: it would have found them.
func (w *Wave) askMissing(now time.Time, q *question, out *proto.Out) {
	for i := range q.targets {
		t := &q.targets[i]
		switch {
		case t.answered, t.node == w.self, !q.call.part.closed && w.leads(q, t.node):
		case t.isGone() && !t.received && t.ask.state == askNone:
			w.giveStatus(now, t, t.mayHaveRun(), out)
		case t.ask.state == askFailed:
			w.give(now, t, w.unreachable(t), out)
		case t.ask.state == askNone:
			w.ask(now, t, out)
		}
	}
}

// askUnheard asks those of whom nobody has seen a receipt: somebody who should
// have told is silent.
func (w *Wave) askUnheard(now time.Time, q *question, out *proto.Out) {
	for i := range q.targets {
		if t := &q.targets[i]; t.node != w.self && !t.received && !t.isGone() && t.ask.state == askNone {
			w.ask(now, t, out)
		}
	}
	w.arm(q)
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
	for range len(q.parents) + 1 {
		parent, ok := q.parents[id]
		if !ok || q.cuts[edge{parent, id}] {
			return false
		}
		if parent == w.self {
			return true
		}
		id = parent
	}
	return false // a circle: receipts of different moments
}

// spokeBroke: a link of ours is gone, unresolved.
func (w *Wave) spokeBroke(now time.Time, q *question, t proto.Testimony, out *proto.Out) {
	q.hearTestimony(t)
	switch {
	case q.done:
	case q.call.part.round == 0 && len(w.links) > 0:
		w.widen(now, q, out)
	default:
		w.brokeNow(now, q)
	}
}

// receiveAdopt: an orphan reports straight to us.
func (w *Wave) receiveAdopt(now time.Time, on proto.LinkID, from proto.PeerInfo, m proto.Adopt, out *proto.Out) {
	c := w.call(m.Echo.ID)
	if c == nil || c.question == nil || c.question.done || c.part == nil {
		out.Add(proto.Send{Link: on, Msg: proto.Cancel{ID: m.Echo.ID}})
		return
	}
	q := c.question
	i := slices.IndexFunc(q.adopted, func(a *adopted) bool { return a.node == from.ID })
	if i < 0 {
		if len(q.adopted) >= len(q.targets)+16 {
			out.Add(proto.Ignored{Why: "too_many_orphans", Peer: from.ID})
			return
		}
		i = len(q.adopted)
		q.adopted = append(q.adopted, &adopted{node: from.ID})
	}
	a := q.adopted[i]
	if a.broken || a.round != m.Echo.Round {
		*a = adopted{node: from.ID, round: m.Echo.Round}
	}
	a.final, a.spread = a.final || m.Echo.Final, a.spread || m.Echo.Spread
	if a.round == c.part.round {
		q.receipt(proto.Receipt{Node: from.ID, Parent: w.self, Round: a.round})
		delete(q.cuts, edge{w.self, from.ID})
		c.part.closed = c.part.closed && a.final
	}
	w.hear(now, q, from.ID, m.Echo, out)
	w.progress(now, c, out)
}
