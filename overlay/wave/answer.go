package wave

import (
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// receiveAsk is CALL-OR-RESULT: run if never seen, wait if running, else say
// the kept result again. Every asker is answered.
func (w *Wave) receiveAsk(now time.Time, on proto.LinkID, from proto.PeerInfo, m proto.Ask, out *proto.Out) {
	id := m.Call.ID
	answer := func(r *proto.NodeResult) {
		out.Add(proto.Send{Link: on, Msg: proto.Answer{ID: id, Node: w.self, Result: r}})
	}
	if !id.Target.IsZero() && id.Target != w.self {
		out.Add(proto.Ignored{Why: "ask_for_another", Peer: from.ID})
		return
	}
	c, how := w.admit(now, on, m.Call, out)
	switch {
	case how == admitFull:
		answer(w.overloaded())
		return
	case how == admitOld, how == admitJump, c.exec.state == execDropped:
		answer(w.closedCall())
		return
	case how == admitNew && !c.whole():
		c.exec.state = execBody
		out.Add(proto.Send{Link: on, Msg: proto.Pull{ID: id}})
	}
	if !c.whole() && len(m.Call.Request.Payload) == int(c.msg.Size) {
		w.gotBody(now, c, m.Call.Request.Payload, out)
	}
	switch c.exec.state {
	case execDone:
		answer(w.nodeResult(c, true))
		return
	case execRelay:
		answer(w.closedCall())
		return
	}
	answer(nil)
	if len(c.askers) < 8 {
		c.askers = append(c.askers, asker{on})
	}
	w.decide(now, c, out)
	w.progress(now, c, out)
}

// closedCall is the answer for a call that this node has no entry of any more:
// it will not run, but it may have.
func (w *Wave) closedCall() *proto.NodeResult {
	return &proto.NodeResult{Node: w.self, Result: proto.Result{
		Outcome: proto.Rejected, Executed: proto.ExecutedMaybe, Stage: proto.StageReceived, Reason: "this call is closed here",
	}}
}

// receivePull: a child wants the body.
func (w *Wave) receivePull(_ time.Time, on proto.LinkID, m proto.Pull, out *proto.Out) {
	c := w.calls[m.ID]
	switch {
	case c == nil:
		out.Add(proto.Send{Link: on, Msg: proto.CallBody{ID: m.ID, Gone: true}})
	case c.whole():
		w.stats.Pulls++
		out.Add(proto.Send{Link: on, Msg: proto.CallBody{ID: m.ID, Payload: c.msg.Request.Payload}})
	case len(c.pullers) < 64:
		c.pullers = append(c.pullers, on)
	}
}

// receiveBody: the body came, or is not to be had there.
func (w *Wave) receiveBody(now time.Time, m proto.CallBody, out *proto.Out) {
	c := w.calls[m.ID]
	if c == nil || c.whole() {
		return
	}
	if m.Gone || len(m.Payload) != int(c.msg.Size) {
		out.Add(proto.Ignored{Why: "body_gone", Peer: c.msg.ID.Caller})
		w.pullElsewhere(c, out)
		return
	}
	w.gotBody(now, c, m.Payload, out)
	w.progress(now, c, out)
}

// gotBody completes the request, serves who waits for it, and decides.
func (w *Wave) gotBody(now time.Time, c *call, payload []byte, out *proto.Out) {
	c.msg.Request.Payload = payload
	for _, l := range c.pullers {
		w.stats.Pulls++
		out.Add(proto.Send{Link: l, Msg: proto.CallBody{ID: c.msg.ID, Payload: payload}})
	}
	c.pullers = nil
	if c.exec.state == execBody {
		c.exec.state = execNone
		w.decide(now, c, out)
	}
}

// pullElsewhere asks the next link that has the call, at last the caller.
func (w *Wave) pullElsewhere(c *call, out *proto.Out) {
	for len(c.bodyFrom) > 0 {
		on := c.bodyFrom[0]
		c.bodyFrom = c.bodyFrom[1:]
		if w.link(on) != nil {
			out.Add(proto.Send{Link: on, Msg: proto.Pull{ID: c.msg.ID}})
			return
		}
	}
	out.Add(proto.SendTo{Owner: proto.OwnerWave, Peer: c.msg.From, Msg: proto.Pull{ID: c.msg.ID}})
}

// helpKey is one ask that we make on somebody's behalf.
type helpKey struct {
	id   proto.CallID
	node peer.ID
}

// helping is who asked us for it.
type helping struct {
	key helpKey
	on  proto.LinkID
}

// helpMax bounds the asks that one node makes for others at once.
const helpMax = 1024

// receiveHelp: a neighbour cannot reach the target; we try for it.
func (w *Wave) receiveHelp(now time.Time, on proto.LinkID, m proto.Help, out *proto.Out) {
	if len(w.helping) >= helpMax {
		w.helping = w.helping[1:]
	}
	w.helping = append(w.helping, helping{helpKey{m.Ask.Call.ID, m.Target.ID}, on})
	out.Add(proto.SendTo{Owner: proto.OwnerWave, Peer: m.Target, Msg: w.aged(now, m.Ask, w.age(now, on, m.Ask.Call.Stamp))})
}

// passAnswer hands an answer on to whom we help.
func (w *Wave) passAnswer(m proto.Answer, out *proto.Out) {
	rest := w.helping[:0]
	for _, h := range w.helping {
		if h.key != (helpKey{m.ID, m.Node}) {
			rest = append(rest, h)
			continue
		}
		out.Add(proto.Send{Link: h.on, Msg: m})
		if m.Result == nil {
			rest = append(rest, h)
		}
	}
	w.helping = rest
}

// helpless tells whom we help that we could not reach the target either.
func (w *Wave) helpless(key helpKey, out *proto.Out) {
	rest := w.helping[:0]
	for _, h := range w.helping {
		if h.key != key {
			rest = append(rest, h)
			continue
		}
		out.Add(proto.Send{Link: h.on, Msg: proto.Helpless{ID: key.id, Target: key.node, Why: proto.DialNetwork}})
	}
	w.helping = rest
}
