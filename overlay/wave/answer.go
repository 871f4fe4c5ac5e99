package wave

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// askersMax bounds the connections on which one call's result is waited for.
const askersMax = 16

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
		r := w.overloaded()
		answer(&r)
		return
	case how == admitOld, c.exec.state == execDropped, c.exec.state == execRelay:
		answer(w.closedCall())
		return
	case c.exec.state == execDone:
		own := w.ownResult(c, true)
		answer(&own)
		return
	}
	answer(nil)
	if !slices.Contains(c.askers, on) {
		if c.askers = append(c.askers, on); len(c.askers) > askersMax {
			c.askers = c.askers[1:]
		}
	}
	if !c.whole() && len(m.Call.Payload) == int(c.msg.Size) {
		c.msg.Payload = m.Call.Payload
		w.gotBody(now, c, out)
	}
	w.decide(now, c, out)
	w.mayHaveBody(c, on, out)
	w.progress(now, c, out)
}

// closedCall is the answer for a call that this node has no entry of any more:
// it will not run, but it may have. That is no refusal, which would promise
// that it has not.
func (w *Wave) closedCall() *proto.NodeResult {
	return &proto.NodeResult{Node: w.self, Result: proto.Result{
		Outcome: proto.TimedOut, Executed: proto.ExecutedMaybe, Stage: proto.StageReceived, Reason: "this call is closed here",
	}}
}

// pullersMax bounds who waits here for one call's body.
const pullersMax = 64

// receivePull: a child wants the body.
func (w *Wave) receivePull(on proto.LinkID, m proto.Pull, out *proto.Out) {
	c := w.call(m.ID)
	switch {
	case c == nil || !c.open || !c.whole() && len(c.pullers) >= pullersMax:
		out.Add(proto.Send{Link: on, Msg: proto.CallBody{ID: m.ID, Gone: true}})
	case c.whole():
		w.stats.Pulls++
		out.Add(proto.Send{Link: on, Msg: proto.CallBody{ID: m.ID, Payload: c.msg.Payload}})
	default:
		c.pullers = append(c.pullers, on)
		if !c.pulling {
			w.pull(c, out)
		}
	}
}

// receiveBody: the body came, or is not to be had there.
func (w *Wave) receiveBody(now time.Time, m proto.CallBody, out *proto.Out) {
	c := w.call(m.ID)
	switch {
	case c == nil || !c.open || c.whole():
	case m.Gone || len(m.Payload) != int(c.msg.Size):
		out.Add(proto.Ignored{Why: "body_gone", Peer: c.msg.ID.Caller})
		w.pull(c, out)
	default:
		c.msg.Payload = m.Payload
		w.gotBody(now, c, out)
		w.progress(now, c, out)
	}
}

// gotBody: the request is complete. Who waits for it is served, and the run decided.
func (w *Wave) gotBody(now time.Time, c *call, out *proto.Out) {
	c.pulling, c.bodyFrom = false, nil
	for _, l := range c.pullers {
		w.stats.Pulls++
		out.Add(proto.Send{Link: l, Msg: proto.CallBody{ID: c.msg.ID, Payload: c.msg.Payload}})
	}
	c.pullers = nil
	if c.exec.state == execBody {
		c.exec.state = execNone
		w.decide(now, c, out)
	}
}

// mayHaveBody: the other end of a connection has the call. It is asked for the
// body if one is needed here and nobody else is being asked.
func (w *Wave) mayHaveBody(c *call, on proto.LinkID, out *proto.Out) {
	if c.whole() || !c.open {
		return
	}
	if len(c.bodyFrom) < pullersMax {
		c.bodyFrom = append(c.bodyFrom, on)
	}
	if !c.pulling && (c.exec.state == execBody || len(c.pullers) > 0) {
		w.pull(c, out)
	}
}

// pull asks the next that has the call for its body, at last the caller.
func (w *Wave) pull(c *call, out *proto.Out) {
	c.pulling = true
	for len(c.bodyFrom) > 0 {
		c.pullOn, c.bodyFrom = c.bodyFrom[0], c.bodyFrom[1:]
		if w.clocks[c.pullOn] != nil {
			out.Add(proto.Send{Link: c.pullOn, Msg: proto.Pull{ID: c.msg.ID}})
			return
		}
	}
	c.pullOn = 0
	if c.pulledAll {
		c.pulling = false // until somebody else turns out to have it
		return
	}
	c.pulledAll = true
	out.Add(proto.SendTo{Owner: proto.OwnerWave, Peer: c.msg.From, Msg: proto.Pull{ID: c.msg.ID}})
}

// helpKey is one ask that we make on somebody's behalf.
type helpKey struct {
	id   proto.CallID
	node peer.ID
}

// helping is who asked us for it, and until when.
type helping struct {
	key   helpKey
	on    proto.LinkID
	until time.Time
}

// helpMax bounds the asks that one node makes for others at once.
const helpMax = 1024

// receiveHelp: a neighbour cannot reach the target; we try for it.
func (w *Wave) receiveHelp(now time.Time, on proto.LinkID, from proto.PeerInfo, m proto.Help, out *proto.Out) {
	if m.Target.ID == w.self {
		w.receiveAsk(now, on, from, m.Ask, out)
		return
	}
	ask := w.aged(now, m.Ask, w.age(now, on, m.Ask.Call.Stamp))
	h := helping{helpKey{ask.Call.ID, m.Target.ID}, on, now.Add(ask.Call.Remaining)}
	if len(w.helping) >= helpMax {
		w.helping = slices.DeleteFunc(w.helping, func(h helping) bool { return now.After(h.until) })
	}
	if len(w.helping) >= helpMax {
		w.sayHelpless(h, proto.DialLocal, out)
		return
	}
	w.helping = append(w.helping, h)
	out.Add(proto.SendTo{Owner: proto.OwnerWave, Peer: m.Target, Msg: ask})
}

// passAnswer hands an answer on to whom we help; the last one ends the help.
func (w *Wave) passAnswer(m proto.Answer, out *proto.Out) {
	w.helping = slices.DeleteFunc(w.helping, func(h helping) bool {
		if h.key != (helpKey{m.ID, m.Node}) {
			return false
		}
		out.Add(proto.Send{Link: h.on, Msg: m})
		return m.Result != nil
	})
}

// helpFailed: we could not reach the target either.
func (w *Wave) helpFailed(key helpKey, why proto.DialWhy, out *proto.Out) {
	w.helping = slices.DeleteFunc(w.helping, func(h helping) bool {
		if h.key == key {
			w.sayHelpless(h, why, out)
		}
		return h.key == key
	})
}

// helpLinkDown: whom we help is gone, or the target is.
func (w *Wave) helpLinkDown(id proto.LinkID, who peer.ID, out *proto.Out) {
	w.helping = slices.DeleteFunc(w.helping, func(h helping) bool {
		if h.on != id && h.key.node == who {
			w.sayHelpless(h, proto.DialNetwork, out)
		}
		return h.on == id || h.key.node == who
	})
}

func (w *Wave) sayHelpless(h helping, why proto.DialWhy, out *proto.Out) {
	out.Add(proto.Send{Link: h.on, Msg: proto.Helpless{ID: h.key.id, Target: h.key.node, Why: why}})
}
