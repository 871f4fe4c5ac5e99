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
	msg     proto.Call // with an ID of its own; zero: the wave's
	way     way
	helpers []peer.ID // tried already
	at      time.Time // patience ends, or the next round begins
	rounds  int
}

type askState uint8

const (
	askNone    askState = iota
	askWaiting          // for room among the asks in flight
	askSent             // no receipt yet
	askTaken            // it has a receipt: only its answer is missing
	askPausing          // every way failed once; they are tried again
	askFailed           // every way failed
	askEnded
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
	if w.asks >= w.cfg.AsksMax {
		if t.ask.state != askWaiting {
			t.ask.state = askWaiting
			w.waiting = append(w.waiting, t)
		}
		return
	}
	w.asks++
	t.q.asking = append(t.q.asking, t)
	t.ask.state, t.ask.way, t.ask.helpers = askSent, wayNone, nil
	w.nextWay(now, t, out)
}

// nextWay tries the next way to the target; after the last one it pauses, tries
// all once more, and then gives up.
func (w *Wave) nextWay(now time.Time, t *target, out *proto.Out) {
	id := t.member.Entry.ID
	t.ask.state = askSent
	m := w.askMessage(now, t)
	switch {
	case t.ask.way == wayNone && w.linkTo(id) != nil:
		t.ask.way = wayLink
		w.sendAsk(now, t, proto.SendTo{Owner: proto.OwnerWave, Peer: t.member.Entry.Info(), Msg: m}, out)
	case t.ask.way < wayPool:
		t.ask.way = wayPool
		w.sendAsk(now, t, proto.SendTo{Owner: proto.OwnerWave, Peer: t.member.Entry.Info(), Msg: m, Fresh: true}, out)
	default:
		t.ask.way = wayHelp
		h := w.helper(t)
		if h == nil {
			w.noWayLeft(now, t, out)
			return
		}
		t.ask.helpers = append(t.ask.helpers, h.peer.ID)
		w.stats.Helps++
		t.ask.at = now.Add(2 * w.cfg.AskPatience)
		t.attempts++
		t.handed++
		t.stage = max(t.stage, proto.StageSent)
		m.Via = h.peer.ID
		out.Add(proto.Send{Link: h.id, Msg: proto.Help{Target: t.member.Entry.Info(), Ask: m}})
	}
}

func (w *Wave) sendAsk(now time.Time, t *target, s proto.SendTo, out *proto.Out) {
	w.stats.Asks++
	t.attempts++
	t.handed++
	t.stage = max(t.stage, proto.StageSent)
	t.ask.at = now.Add(w.cfg.AskPatience)
	if s.Fresh {
		t.ask.at = now.Add(3 * w.cfg.AskPatience) // the dial has a bound of its own
	}
	out.Add(s)
}

// askMessage is CALL-OR-RESULT as of now.
func (w *Wave) askMessage(now time.Time, t *target) proto.Ask {
	m := t.ask.msg
	if t.q.wave {
		m = t.q.call.msg
	}
	m.Elapsed = now.Sub(t.q.started)
	m.Remaining, m.Stamp = t.q.deadline.Sub(now), w.clock(now)
	return proto.Ask{Call: m}
}

// helper draws a neighbour that was not tried yet.
func (w *Wave) helper(t *target) *link {
	if len(t.ask.helpers) >= w.cfg.Helpers {
		return nil
	}
	var fit []*link
	for _, l := range w.links {
		if !l.draining && l.peer.ID != t.member.Entry.ID && !slices.Contains(t.ask.helpers, l.peer.ID) {
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
	if t.ask.rounds++; t.ask.rounds < askRounds && now.Add(w.cfg.AskRetry).Before(t.q.deadline) {
		t.ask.state, t.ask.way, t.ask.helpers = askPausing, wayNone, nil
		t.ask.at = now.Add(w.cfg.AskRetry)
		return
	}
	w.freeAsk(now, t, out)
	t.ask.state = askFailed
	q := t.q
	if !q.wave || q.call.part.closed || q.spread && !w.leads(q, t.member.Entry.ID) {
		w.give(now, t, w.unreachable(t), out)
	}
}

// freeAsk gives the room of an ask to the next that waits.
func (w *Wave) freeAsk(now time.Time, t *target, out *proto.Out) {
	i := slices.Index(t.q.asking, t)
	if i < 0 {
		return
	}
	t.q.asking = slices.Delete(t.q.asking, i, i+1)
	w.asks--
	for len(w.waiting) > 0 && w.asks < w.cfg.AsksMax {
		next := w.waiting[0]
		w.waiting = w.waiting[1:]
		if next.ask.state == askWaiting && !next.given {
			w.ask(now, next, out)
			w.arm(next.q)
		}
	}
}

// endAsk: the target has its verdict. If that is not its own word, it is told
// that nobody waits any more.
func (w *Wave) endAsk(now time.Time, t *target, out *proto.Out) {
	state := t.ask.state
	w.freeAsk(now, t, out)
	t.ask.state = askEnded
	if (state == askSent || state == askTaken) && t.q.unsure {
		out.Add(proto.SendTo{Owner: proto.OwnerWave, Peer: t.member.Entry.Info(), Msg: proto.Cancel{ID: t.id}})
	}
	if !t.id.Target.IsZero() && t.member.Entry.ID != w.self {
		delete(w.direct, t.id)
		w.directSeq[t.id.Target].close(t.id.Seq)
	}
	if t.fetching {
		t.q.pulls--
		w.fetchNext(now, t.q, out)
	}
}

// askFailed: one way to a target did not work.
func (w *Wave) askFailed(now time.Time, id proto.CallID, node peer.ID, why string, handed bool, out *proto.Out) {
	if id.Caller != w.self {
		w.helpless(helpKey{id, node}, out)
		return
	}
	t := w.targetOf(id, node)
	if t == nil || t.given || t.ask.state != askSent && t.ask.state != askTaken {
		return
	}
	if !handed {
		t.handed--
		if t.handed == 0 && !t.q.relayed {
			t.stage = proto.StageNotSent
		}
	}
	t.reason = why
	w.nextWay(now, t, out)
	w.arm(t.q)
}

// wakeAsks: patience with an ask is over, or its pause.
func (w *Wave) wakeAsks(now time.Time, q *question, out *proto.Out) {
	for _, t := range slices.Clone(q.asking) {
		if t.given || t.ask.at.IsZero() || now.Before(t.ask.at) {
			continue
		}
		if t.ask.state == askSent {
			t.reason = "no receipt came back"
		}
		if t.ask.state == askSent || t.ask.state == askPausing {
			w.nextWay(now, t, out)
		}
	}
}

// questionLinkDown: a link is gone over which we may have asked, or an orphan
// may have reported.
func (w *Wave) questionLinkDown(now time.Time, q *question, id proto.LinkID, who peer.ID, out *proto.Out) {
	for _, a := range q.adopted {
		if a.node == who && !a.final && !a.broken {
			a.broken = true
			q.cut(edge{w.self, who})
			w.brokeAt(now, q)
		}
	}
	for _, t := range slices.Clone(q.asking) {
		if t.given || t.ask.state != askSent && t.ask.state != askTaken {
			continue
		}
		n := len(t.ask.helpers)
		straight := t.ask.way != wayHelp && t.member.Entry.ID == who
		helped := t.ask.way == wayHelp && n > 0 && t.ask.helpers[n-1] == who
		if straight || helped {
			t.reason = "the link broke"
			w.nextWay(now, t, out)
		}
	}
	if q.call != nil && q.call.part != nil {
		w.progress(now, q.call, out)
	}
	w.arm(q)
}

// targetOf finds the target that an answer is about.
func (w *Wave) targetOf(id proto.CallID, node peer.ID) *target {
	if t := w.direct[id]; t != nil {
		return t
	}
	if c := w.calls[id]; c != nil && c.question != nil {
		t, _ := c.question.targets.Get(node)
		return t
	}
	return nil
}

// receiveAnswer: a receipt, or a target's word.
func (w *Wave) receiveAnswer(now time.Time, on proto.LinkID, from proto.PeerInfo, m proto.Answer, out *proto.Out) {
	if m.ID.Caller != w.self {
		w.passAnswer(m, out)
		return
	}
	t := w.targetOf(m.ID, m.Node)
	switch {
	case t == nil:
		w.stats.Late++
		out.Add(proto.Ignored{Why: "late_answer", Peer: from.ID})
	case m.Result != nil:
		w.verdictOf(now, t.q, *m.Result, out)
		w.arm(t.q)
	case !t.given:
		t.received = true
		t.stage = max(t.stage, proto.StageReceived)
		if t.ask.state == askSent {
			t.ask.state, t.ask.at = askTaken, time.Time{}
		}
		w.arm(t.q)
	}
}

// fetch gets a large reply straight from its node, so many at once.
func (w *Wave) fetch(now time.Time, t *target, out *proto.Out) {
	if t.fetching || t.ask.state != askNone && t.ask.state != askFailed {
		return // an ask that is under way brings it too
	}
	t.fetching, t.ask.state = true, askNone
	if t.q.pulls++; t.q.pulls <= w.cfg.PullsMax {
		w.ask(now, t, out)
		w.arm(t.q)
	}
}

func (w *Wave) fetchNext(now time.Time, q *question, out *proto.Out) {
	for _, t := range q.targets.All() {
		if t.fetching && !t.given && t.ask.state == askNone {
			w.ask(now, t, out)
			return
		}
	}
}

// askStatus asks, once, those who have the call and are silent near its end.
func (w *Wave) askStatus(q *question, out *proto.Out) {
	n := 0
	for id, t := range q.targets.All() {
		if t.given || id == w.self || t.ask.state != askNone {
			continue
		}
		if n++; n > w.cfg.AsksMax {
			return
		}
		out.Add(proto.SendTo{Owner: proto.OwnerWave, Peer: t.member.Entry.Info(), Msg: proto.StatusAsk{ID: t.id}})
	}
}

func (w *Wave) receiveStatusAsk(on proto.LinkID, m proto.StatusAsk, out *proto.Out) {
	a := proto.StatusAnswer{ID: m.ID, Node: w.self}
	if c := w.calls[m.ID]; c != nil {
		a.Stage = proto.StageReceived
		switch c.exec.state {
		case execRunning:
			a.Stage = proto.StageStarted
		case execDone:
			a.Stage = proto.StageFinished
			a.Result = w.nodeResult(c, true)
		}
	}
	out.Add(proto.Send{Link: on, Msg: a})
}

func (w *Wave) receiveStatusAnswer(now time.Time, m proto.StatusAnswer, out *proto.Out) {
	t := w.targetOf(m.ID, m.Node)
	if t == nil || t.given || m.Stage == 0 {
		return
	}
	t.received = true
	t.stage = max(t.stage, m.Stage)
	if m.Result != nil {
		w.verdictOf(now, t.q, *m.Result, out)
	}
}
