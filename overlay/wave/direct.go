package wave

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// ask is the state of asking one target directly: its own link if there is
// one, else a pooled link, else neighbours that help, one after another.
type ask struct {
	state   askState
	msg     *proto.Call // with an ID of its own; nil: the wave's
	way     way
	room    bool      // counts among the asks in flight
	listed  bool      // in the question's asking
	helpers []peer.ID // tried already
	at      time.Time // patience ends, or the next round begins
	rounds  int
}

// helper is who asks for us now; zero: nobody.
func (a *ask) helper() peer.ID {
	if a.way != wayHelp || len(a.helpers) == 0 {
		return peer.ID{}
	}
	return a.helpers[len(a.helpers)-1]
}

type askState uint8

const (
	askNone    askState = iota
	askWaiting          // for room among the asks in flight
	askSent             // no receipt yet
	askTaken            // it has a receipt: only its answer is missing
	askPausing          // every way failed once; they are tried again
	askFailed           // every way failed
	askEnded            // the target has its verdict, asked or not
)

type way uint8

const (
	wayNone way = iota
	wayLink
	wayPool
	wayHelp
)

const askRounds = 2

// ask begins to ask a target directly.
func (w *Wave) ask(now time.Time, t *target, out *proto.Out) {
	a := &t.ask
	if !a.room && w.asks >= w.cfg.AsksMax {
		if a.state != askWaiting {
			a.state = askWaiting
			w.waiting = append(w.waiting, t)
		}
		return
	}
	if !a.room {
		a.room = true
		w.asks++
	}
	if !a.listed {
		a.listed = true
		t.q.asking = append(t.q.asking, t)
	}
	a.way, a.helpers = wayNone, nil
	w.nextWay(now, t, out)
}

// nextWay tries the next way to the target; after the last one it pauses, tries
// all once more, and then gives up.
func (w *Wave) nextWay(now time.Time, t *target, out *proto.Out) {
	to := t.member.Entry.Info()
	m := w.askMessage(now, t)
	t.ask.state = askSent
	switch {
	case t.ask.way == wayNone && linkTo(w.links, to.ID) != nil:
		t.ask.way = wayLink
		w.stats.Asks++
		w.tried(now, t, w.cfg.AskPatience)
		out.Add(proto.SendTo{Owner: proto.OwnerWave, Peer: to, Msg: m})
	case t.ask.way < wayPool && w.mayDial(now, t):
		t.ask.way = wayPool
		w.stats.Asks++
		w.tried(now, t, 3*w.cfg.AskPatience) // the dial has a bound of its own
		out.Add(proto.SendTo{Owner: proto.OwnerWave, Peer: to, Msg: m, Fresh: true})
	default:
		t.ask.way = wayHelp
		h := w.helper(t)
		if h == nil {
			w.noWayLeft(now, t, out)
			return
		}
		t.ask.helpers = append(t.ask.helpers, h.node)
		w.stats.Helps++
		w.tried(now, t, 2*w.cfg.AskPatience)
		m.Via = h.node
		out.Add(proto.Send{Link: h.id, Msg: proto.Help{Target: to, Ask: m}})
	}
}

// tried notes that an ask goes out, and how long its receipt may take.
func (w *Wave) tried(now time.Time, t *target, patience time.Duration) {
	t.attempts++
	t.handed++
	t.stage = max(t.stage, proto.StageSent)
	w.lookAt(t, now.Add(patience))
}

// lookAt is when an ask needs a look.
func (w *Wave) lookAt(t *target, at time.Time) {
	t.ask.at = at
	t.q.askAt = earliest(t.q.askAt, at)
}

// askMessage is CALL-OR-RESULT as of now.
func (w *Wave) askMessage(now time.Time, t *target) proto.Ask {
	msg := t.ask.msg
	if msg == nil {
		msg = &t.q.call.msg
	}
	m := *msg
	m.Elapsed = now.Sub(t.q.started)
	m.Remaining, m.Stamp = t.q.deadline.Sub(now), w.clock(now)
	return proto.Ask{Call: m}
}

// failedDial is what all calls may know of a node for a moment.
type failedDial struct {
	until time.Time
	why   proto.DialWhy
}

// failedMax bounds how many such are remembered.
const failedMax = 1024

func (w *Wave) noteUndialled(now time.Time, to peer.ID, why proto.DialWhy) {
	if why == proto.DialLocal {
		return // a bound of our own says nothing about the node
	}
	if w.undialled.Len() >= failedMax {
		w.undialled.Clear()
	}
	w.undialled.Put(to, failedDial{now.Add(w.cfg.AskRetry), why})
}

// mayDial: nobody has just found that the target cannot be dialled.
func (w *Wave) mayDial(now time.Time, t *target) bool {
	f, ok := w.undialled.Get(t.node)
	if ok && now.Before(f.until) {
		t.reason = f.why.String()
		return false
	}
	return true
}

// helper draws a neighbour that was not tried yet.
func (w *Wave) helper(t *target) *link {
	if len(t.ask.helpers) >= w.cfg.Helpers {
		return nil
	}
	var fit []*link
	for i := range w.links {
		if l := &w.links[i]; !l.draining && l.node != t.node && !slices.Contains(t.ask.helpers, l.node) {
			fit = append(fit, l)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return fit[w.rng.IntN(len(fit))]
}

// noWayLeft: pause and try again, or give up. Giving up is a verdict only when
// the wave no longer owes the node.
func (w *Wave) noWayLeft(now time.Time, t *target, out *proto.Out) {
	q := t.q
	w.leaveRoom(now, t, out)
	if t.ask.rounds++; t.ask.rounds < askRounds && now.Add(w.cfg.AskRetry).Before(q.deadline) {
		t.ask.state = askPausing
		w.lookAt(t, now.Add(w.cfg.AskRetry))
		return
	}
	t.ask.state = askFailed
	if !q.wave || t.answered || q.call.part.closed || q.spread && !w.leads(q, t.node) {
		w.give(now, t, w.unreachable(t), out)
	}
}

// leaveRoom: an ask has its receipt, pauses or has ended; the next may begin.
func (w *Wave) leaveRoom(now time.Time, t *target, out *proto.Out) {
	if !t.ask.room {
		return
	}
	t.ask.room = false
	w.asks--
	for len(w.waiting) > 0 && w.asks < w.cfg.AsksMax {
		next := w.waiting[0]
		w.waiting = w.waiting[1:]
		if next.ask.state == askWaiting && !next.q.ending {
			w.ask(now, next, out)
			w.arm(next.q)
		}
	}
}

// endAsk: the target has its verdict. If that is not its own word, it is told
// that nobody waits any more.
func (w *Wave) endAsk(now time.Time, t *target, own bool, out *proto.Out) {
	state := t.ask.state
	t.ask.state = askEnded
	if i := slices.Index(t.q.asking, t); i >= 0 {
		t.q.asking = slices.Delete(t.q.asking, i, i+1)
	}
	if !own && t.handed > 0 && (state == askSent || state == askTaken || state == askPausing) {
		out.Add(proto.SendTo{Owner: proto.OwnerWave, Peer: t.member.Entry.Info(), Msg: proto.Cancel{ID: t.id}})
	}
	if !t.q.wave && w.direct[t.id] == t {
		delete(w.direct, t.id)
		w.directSeq[t.id.Target].Close(t.id.Seq)
	}
	if t.fetching {
		t.q.fetching--
		w.fetchNext(now, t.q, out)
	}
	w.leaveRoom(now, t, out)
}

// askFailed: one way to a target did not work: straight, or by way of a helper.
// News of a way that was given up before changes nothing.
func (w *Wave) askFailed(now time.Time, id proto.CallID, node, helper peer.ID, why string, handed bool, out *proto.Out) {
	t := w.targetOf(id, node)
	if t == nil || t.ask.state != askSent && t.ask.state != askTaken {
		return
	}
	if !handed {
		t.handed--
		if t.handed == 0 && !t.q.relayed {
			t.stage = proto.StageNotSent
		}
	}
	if t.ask.helper() == helper {
		w.anotherWay(now, t, why, out)
	}
}

// anotherWay: this one has failed. Who had the call already is asked from the
// first way on.
func (w *Wave) anotherWay(now time.Time, t *target, why string, out *proto.Out) {
	t.reason = why
	if t.ask.state == askTaken {
		w.ask(now, t, out)
	} else {
		w.nextWay(now, t, out)
	}
	w.arm(t.q)
}

// wakeAsks: patience with an ask is over, or its pause.
func (w *Wave) wakeAsks(now time.Time, q *question, out *proto.Out) {
	q.askAt = time.Time{}
	for _, t := range slices.Clone(q.asking) {
		switch {
		case t.ask.at.IsZero():
		case now.Before(t.ask.at):
			q.askAt = earliest(q.askAt, t.ask.at)
		case t.ask.state == askSent:
			t.reason = "no receipt came back"
			w.nextWay(now, t, out)
		case t.ask.state == askPausing:
			w.ask(now, t, out)
		}
	}
}

// questionLinkDown: a link is gone over which we may have asked, or an orphan
// may have reported.
func (w *Wave) questionLinkDown(now time.Time, q *question, who peer.ID, out *proto.Out) {
	for _, a := range q.adopted {
		if a.node == who && !a.final && !a.broken {
			a.broken = true
			q.cut(edge{w.self, who})
			w.brokeNow(now, q)
		}
	}
	for _, t := range slices.Clone(q.asking) {
		if t.ask.state != askSent && t.ask.state != askTaken {
			continue
		}
		if h := t.ask.helper(); h == who || h.IsZero() && t.node == who {
			w.anotherWay(now, t, "the link broke", out)
		}
	}
	if q.call != nil && q.call.part != nil && !q.done {
		w.progress(now, q.call, out)
	}
	w.arm(q)
}

// targetOf finds the target that an answer is about.
func (w *Wave) targetOf(id proto.CallID, node peer.ID) *target {
	if t := w.direct[id]; t != nil {
		return t
	}
	if c := w.call(id); c != nil && c.question != nil {
		return c.question.target(node)
	}
	return nil
}

// receiveAnswer: a receipt, or a target's word.
func (w *Wave) receiveAnswer(now time.Time, from proto.PeerInfo, m proto.Answer, out *proto.Out) {
	if m.ID.Caller != w.self {
		w.passAnswer(m, out)
		return
	}
	t := w.targetOf(m.ID, m.Node)
	switch {
	case t == nil || t.node != m.Node:
		w.stats.Late++
		out.Add(proto.Ignored{Why: "late_answer", Peer: from.ID})
	case m.Result != nil:
		m.Result.Node = m.Node
		w.heardResult(now, t.q, from.ID, *m.Result, out)
		w.arm(t.q)
	default:
		t.q.hasIt(m.Node)
		if t.ask.state == askSent {
			t.ask.state, t.ask.at = askTaken, time.Time{}
			w.leaveRoom(now, t, out)
		}
		w.arm(t.q)
	}
}
