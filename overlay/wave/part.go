package wave

import (
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// part is a node's part in one round of a wave: who gave it the call, whom it
// passed it on to, and what it gathers for its parent. The caller's own part
// has no parent.
type part struct {
	round   uint8
	closed  bool         // the final echo is out, or the call was cancelled
	orphan  bool         // the parent's link broke: news goes straight to the caller
	spread  bool         // told the parent so
	again   bool         // what was told is lost: the next report repeats it
	parent  proto.LinkID // 0: the caller itself
	spokes  []spoke      // the set of links, frozen at first receipt
	fresh   news         // not told yet
	tookAt  time.Time
	flushAt time.Time // news goes up then
	aliveAt time.Time // an empty PART goes up then
	quietAt time.Time // a spoke may have fallen silent by then
	alive   time.Duration
	all     news // told, and kept for an adoption
}

// news is what goes up: results, receipts and testimony.
type news struct {
	results   []proto.NodeResult
	receipts  []proto.Receipt
	testimony []proto.Testimony
	bytes     int // of payload
}

func (n *news) empty() bool {
	return len(n.results) == 0 && len(n.receipts) == 0 && len(n.testimony) == 0
}

// add appends what another says.
func (n *news) add(o news) {
	n.results = append(n.results, o.results...)
	n.receipts = append(n.receipts, o.receipts...)
	n.testimony = append(n.testimony, o.testimony...)
	n.bytes += o.bytes
}

// spoke is one link of the frozen set.
type spoke struct {
	link     proto.LinkID
	node     peer.ID
	state    spokeState
	spread   bool  // a child that said so
	quiet    bool  // found silent, and not heard since
	told     uint8 // how often that was told
	heard    time.Time
	interval time.Duration // between the child's PARTs, as it doubles it
}

type spokeState uint8

const (
	spokeAsked    spokeState = iota // CALL is out, nothing came back
	spokeChild                      // TOOK: it owes an ECHO
	spokeResolved                   // crossed, SEEN, ECHO, or down
)

func (p *part) spoke(id proto.LinkID) *spoke {
	for i := range p.spokes {
		if p.spokes[i].link == id {
			return &p.spokes[i]
		}
	}
	return nil
}

func (p *part) resolved() bool {
	for i := range p.spokes {
		if p.spokes[i].state != spokeResolved {
			return false
		}
	}
	return true
}

// hasSpread: every other link is resolved, or is a child's that has spread.
func (p *part) hasSpread() bool {
	for i := range p.spokes {
		if s := &p.spokes[i]; s.state != spokeResolved && !s.spread {
			return false
		}
	}
	return true
}

func (p *part) addResult(r proto.NodeResult) {
	p.fresh.results = append(p.fresh.results, r)
	p.fresh.bytes += len(r.Result.Payload)
}

// owesNothing: every link is resolved, and the local run is settled.
func (c *call) owesNothing() bool { return c.part.resolved() && c.exec.settled() }

// receiveCall: a CALL on a link. It gets exactly one answer on that link: the
// crossing CALL that is already out, TOOK (and ECHO), or SEEN.
func (w *Wave) receiveCall(now time.Time, on proto.LinkID, from proto.PeerInfo, m proto.Call, out *proto.Out) {
	c, how := w.admit(now, on, m, out)
	switch {
	case how == admitFull:
		w.refuseFull(on, m, out)
	case how == admitOld:
		w.seen(on, m, out)
	case how == admitKnown && c.part != nil && m.Round <= c.part.round:
		w.receiveCrossing(now, c, on, m, out)
	case c.exec.state == execDropped || c.question != nil:
		w.seen(on, m, out) // cancelled; or our own, which no part of ours can join
	default:
		w.takePart(now, c, on, from, m, out)
	}
}

// seen answers a CALL that came too late, or from outside the frozen set.
func (w *Wave) seen(on proto.LinkID, m proto.Call, out *proto.Out) {
	out.Add(proto.Send{Link: on, Msg: proto.Seen{ID: m.ID, Round: m.Round}})
}

// overloaded is this node's word that it has no room, and never will for this call.
func (w *Wave) overloaded() proto.NodeResult {
	return proto.NodeResult{Node: w.self, Result: proto.Result{
		Outcome: proto.Overloaded, Executed: proto.ExecutedNo, Stage: proto.StageFinished, Reason: "too_many_open_calls",
	}}
}

// refuseFull answers a CALL for which there is no room: a receipt and a
// refusal, and it is not relayed.
func (w *Wave) refuseFull(on proto.LinkID, m proto.Call, out *proto.Out) {
	out.Add(proto.Send{Link: on, Msg: proto.Took{ID: m.ID, Round: m.Round}})
	out.Add(proto.Send{Link: on, Msg: proto.Echo{
		ID: m.ID, Round: m.Round, Final: true, Spread: true, Results: []proto.NodeResult{w.overloaded()},
	}})
}

// receiveCrossing: the call is in the table with a part. A CALL that crosses
// ours on a link of the frozen set resolves it for both; any other gets SEEN.
func (w *Wave) receiveCrossing(now time.Time, c *call, on proto.LinkID, m proto.Call, out *proto.Out) {
	w.mayHaveBody(c, on, out)
	s := c.part.spoke(on)
	if m.Round < c.part.round || s == nil || s.state != spokeAsked {
		w.seen(on, m, out)
		return
	}
	s.state = spokeResolved
	w.progress(now, c, out)
}

// takePart is the first receipt of a call, or of its next round: the sender
// becomes the parent, the set of links is frozen, CALL goes out on them, and
// only then the handler is asked.
func (w *Wave) takePart(now time.Time, c *call, on proto.LinkID, from proto.PeerInfo, m proto.Call, out *proto.Out) {
	p := &part{round: m.Round, parent: on, alive: w.cfg.AliveMin, spread: m.Round == 0}
	p.aliveAt = now.Add(p.alive)
	c.part = p
	if !c.open { // reached directly, or in the round before, and finished
		w.openUp(c)
	}
	if len(c.msg.Payload) == 0 {
		c.msg.Payload = m.Payload
	}
	if p.round > 0 {
		out.Add(proto.Send{Link: on, Msg: proto.Took{ID: c.msg.ID, Round: p.round}})
		p.fresh.receipts = append(p.fresh.receipts, proto.Receipt{Node: w.self, Parent: from.ID, Round: p.round})
		w.forward(now, c, w.links, on, out)
	} else {
		p.tookAt = now.Add(w.cfg.StarReceipt)
	}
	if c.exec.state == execDone { // the kept result goes up
		p.addResult(w.ownResult(c, p.round == 0))
	}
	if c.whole() {
		w.gotBody(now, c, out)
	}
	w.decide(now, c, out)
	w.mayHaveBody(c, on, out)
	w.progress(now, c, out)
}

// forward writes CALL on every link but the parent's. A child is given less
// time than we have, so that children close before their parents; where that
// leaves none, nothing is sent.
func (w *Wave) forward(now time.Time, c *call, links []link, except proto.LinkID, out *proto.Out) {
	p := c.part
	remaining := c.deadline.Sub(now)
	m := c.msg
	m.Round = p.round
	m.Elapsed += m.Remaining - remaining
	m.Stamp = w.clock(now)
	if p.round > 0 && int(m.Size) > w.cfg.InlineRequest {
		m.Payload = nil
	}
	p.spokes = make([]spoke, 0, len(links))
	for i := range links {
		l := &links[i]
		if l.id == except || l.draining {
			continue
		}
		left := remaining - 2*l.clock.latest() - 2*w.cfg.Flush
		if left <= 0 {
			continue
		}
		p.spokes = append(p.spokes, spoke{link: l.id, node: l.node, heard: now, interval: w.cfg.AliveMin})
		m.Remaining = left
		out.Add(proto.Send{Link: l.id, Msg: m})
		w.stats.Relayed++
	}
	p.quietAt = now.Add(w.quietAfter(p, w.cfg.AliveMin, 0))
}

// receiveTook: the other side is our child now.
func (w *Wave) receiveTook(now time.Time, on proto.LinkID, m proto.Took, out *proto.Out) {
	c := w.call(m.ID)
	if c == nil || c.part == nil || m.Round != c.part.round {
		return
	}
	s := c.part.spoke(on)
	if s == nil || s.state != spokeAsked {
		return // ECHO implied it
	}
	s.state, s.heard, s.spread = spokeChild, now, m.Round == 0
	if c.question != nil {
		c.question.receipt(proto.Receipt{Node: s.node, Parent: w.self, Round: m.Round})
	}
	w.progress(now, c, out)
}

// receiveSeen: the link is resolved; the other side belongs elsewhere.
func (w *Wave) receiveSeen(now time.Time, on proto.LinkID, m proto.Seen, out *proto.Out) {
	c := w.call(m.ID)
	if c == nil || c.part == nil || m.Round != c.part.round || c.part.closed {
		return
	}
	if s := c.part.spoke(on); s != nil && s.state == spokeAsked {
		s.state, s.heard = spokeResolved, now
		w.progress(now, c, out)
	}
}
