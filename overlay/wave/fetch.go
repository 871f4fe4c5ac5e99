package wave

import (
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// fetch gets a large reply straight from its node, so many at once.
func (w *Wave) fetch(now time.Time, t *target, out *proto.Out) {
	if t.fetching || t.ask.state != askNone && t.ask.state != askFailed {
		return // waits its turn; or an ask that is under way brings it too
	}
	t.ask.state, t.ask.rounds = askNone, 0
	t.q.fetches = append(t.q.fetches, t)
	w.fetchNext(now, t.q, out)
}

// fetchNext begins as many fetches as there is room for.
func (w *Wave) fetchNext(now time.Time, q *question, out *proto.Out) {
	for len(q.fetches) > 0 && q.fetching < w.cfg.PullsMax && !q.ending {
		t := q.fetches[0]
		q.fetches = q.fetches[1:]
		if !t.given && !t.fetching {
			t.fetching = true
			q.fetching++
			w.ask(now, t, out)
		}
	}
	w.arm(q)
}

// askStatus asks, once, those who have the call and are silent near its end.
func (w *Wave) askStatus(q *question, out *proto.Out) {
	n := 0
	for i := range q.targets {
		t := &q.targets[i]
		if t.node == w.self || t.ask.state != askNone {
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
	if c := w.call(m.ID); c != nil {
		a.Stage = proto.StageReceived
		switch c.exec.state {
		case execRunning:
			a.Stage = proto.StageStarted
		case execDone:
			own := w.ownResult(c, true)
			a.Stage, a.Result = proto.StageFinished, &own
		}
	}
	out.Add(proto.Send{Link: on, Msg: a})
}

func (w *Wave) receiveStatusAnswer(now time.Time, from proto.PeerInfo, m proto.StatusAnswer, out *proto.Out) {
	t := w.targetOf(m.ID, m.Node)
	if t == nil || m.Stage == 0 {
		return
	}
	if m.Node == w.self { // nobody else knows how far our own handler is
		out.Add(proto.Ignored{Why: "result_of_ours", Peer: from.ID})
		return
	}
	t.received = true
	t.stage = max(t.stage, m.Stage)
	if m.Result != nil {
		m.Result.Node = m.Node
		w.heardResult(now, t.q, from.ID, *m.Result, out)
		w.arm(t.q)
	}
}
