package wave

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// receiveEcho: a child's news. What an older round brings still counts.
func (w *Wave) receiveEcho(now time.Time, on proto.LinkID, from proto.PeerInfo, m proto.Echo, out *proto.Out) {
	c := w.call(m.ID)
	if c == nil || c.part == nil || c.part.closed && c.question == nil {
		out.Add(proto.Ignored{Why: "echo_of_no_call", Peer: from.ID})
		if c == nil && !m.Final {
			out.Add(proto.Send{Link: on, Msg: proto.Cancel{ID: m.ID}})
		}
		return
	}
	if s := c.part.spoke(on); s != nil && m.Round == c.part.round {
		if s.quiet {
			s.quiet = false
			c.part.quietAt = earliest(c.part.quietAt, now.Add(w.quietAfter(c.part, w.cfg.AliveMin, 0)))
		}
		if c.question != nil && s.state == spokeAsked { // it implies TOOK
			c.question.receipt(proto.Receipt{Node: s.node, Parent: w.self, Round: m.Round})
		}
		s.heardFrom(now, m, w.cfg)
	}
	w.absorb(now, c, from.ID, m, out)
	w.progress(now, c, out)
}

// heardFrom notes a child's PART or ECHO.
func (s *spoke) heardFrom(now time.Time, m proto.Echo, cfg Config) {
	s.heard = now
	if len(m.Results)+len(m.Receipts)+len(m.Testimony) == 0 {
		s.interval = min(2*s.interval, cfg.AliveMax)
	} else {
		s.interval = cfg.AliveMin
	}
	if s.state == spokeAsked {
		s.state = spokeChild
	}
	s.spread = s.spread || m.Spread
	if m.Final {
		s.state = spokeResolved
	}
}

// absorb takes a child's news: the caller draws verdicts from it, a relay
// gathers it, without bodies once it carries too many bytes.
func (w *Wave) absorb(now time.Time, c *call, from peer.ID, m proto.Echo, out *proto.Out) {
	if c.question != nil {
		w.hear(now, c.question, from, m, out)
		return
	}
	f := &c.part.fresh
	f.results = slices.Grow(f.results, len(m.Results))
	for _, r := range m.Results {
		if f.bytes+c.part.all.bytes+len(r.Result.Payload) > w.cfg.RelayBytes {
			r.Result.Payload = nil
		}
		c.part.addResult(r)
	}
	if m.Round == c.part.round { // an older round's receipts name parents that are forgotten
		f.receipts = append(f.receipts, m.Receipts...)
	}
	f.testimony = append(f.testimony, m.Testimony...)
}

// progressPart echoes when all is in, and otherwise arranges for a PART.
func (w *Wave) progressPart(now time.Time, c *call, out *proto.Out) {
	p := c.part
	switch {
	case c.question != nil:
		// The caller's own handler holds up nobody: the wave has ended without it.
		if p.resolved() && c.question.adoptedClosed() {
			p.closed = true
			w.waveClosed(now, c.question, out)
		} else {
			w.progressQuestion(now, c.question, out)
		}
	case c.owesNothing():
		p.closed = true
		w.report(c, true, out)
	case p.fresh.empty() && p.spread == p.hasSpread():
	case p.fresh.bytes >= w.cfg.FlushBytes || len(p.fresh.results) >= w.cfg.FlushResults:
		w.flush(now, c, out)
	case p.flushAt.IsZero():
		p.flushAt = now.Add(w.cfg.Flush)
	}
}

// flush sends PART.
func (w *Wave) flush(now time.Time, c *call, out *proto.Out) {
	p := c.part
	p.alive = w.cfg.AliveMin
	p.flushAt, p.aliveAt = time.Time{}, now.Add(p.alive)
	w.report(c, false, out)
}

// report sends what is new to the parent, or to the caller if we are an
// orphan; in several frames where one would be too large.
func (w *Wave) report(c *call, final bool, out *proto.Out) {
	p := c.part
	p.tookAt, p.spread = time.Time{}, p.hasSpread()
	if p.again {
		p.again = false
		p.all.add(p.fresh)
		p.fresh, p.all = p.all, news{}
	}
	results, receipts, testimony := p.fresh.results, p.fresh.receipts, p.fresh.testimony
	if final {
		receipts = withoutResult(receipts, results, p.all.results)
	}
	for last := false; !last; {
		m := proto.Echo{ID: c.msg.ID, Round: p.round, Spread: p.spread}
		m.Results, results = splitResults(results)
		m.Receipts, receipts = split(receipts)
		m.Testimony, testimony = split(testimony)
		last = len(results) == 0 && len(receipts) == 0 && len(testimony) == 0
		m.Final = final && last
		w.sendUp(c, m, out)
	}
	if final { // no orphan any more
		p.fresh, p.all = news{}, news{}
		return
	}
	p.all.add(p.fresh)
	p.fresh = news{}
}

func (w *Wave) sendUp(c *call, m proto.Echo, out *proto.Out) {
	if c.part.orphan {
		w.stats.Adopts++
		out.Add(proto.SendTo{Owner: proto.OwnerWave, Peer: c.msg.From, Msg: proto.Adopt{Echo: m}})
		return
	}
	out.Add(proto.Send{Link: c.part.parent, Msg: m})
}

// split cuts a list where a frame's bound demands it.
func split[T any](list []T) (now, later []T) {
	if len(list) <= proto.MaxResults {
		return list, nil
	}
	return list[:proto.MaxResults:proto.MaxResults], list[proto.MaxResults:]
}

// splitResults cuts by count and by bytes, with room for what else a result carries.
func splitResults(list []proto.NodeResult) (now, later []proto.NodeResult) {
	bytes := 0
	for i := range list {
		bytes += len(list[i].Result.Payload) + len(list[i].Result.Reason) + 128
		if i > 0 && (i == proto.MaxResults || bytes > proto.MaxFrame/2) {
			return list[:i:i], list[i:]
		}
	}
	return list, nil
}

// withoutResult drops the receipts of nodes whose result is told: with the
// final echo nobody below is open, so no chain of receipts runs through them.
func withoutResult(receipts []proto.Receipt, told ...[]proto.NodeResult) []proto.Receipt {
	if len(receipts) == 0 {
		return nil
	}
	done := map[peer.ID]bool{}
	for _, list := range told {
		for i := range list {
			done[list[i].Node] = true
		}
	}
	var rest []proto.Receipt
	for _, r := range receipts {
		if !done[r.Node] {
			rest = append(rest, r)
		}
	}
	return rest
}

// closeLate: the budget is over here. What is open is told as pending.
func (w *Wave) closeLate(now time.Time, c *call, out *proto.Out) {
	p := c.part
	if c.question != nil {
		p.closed = true
		return // the question has its own deadline
	}
	for i := range p.spokes {
		if s := &p.spokes[i]; s.state != spokeResolved {
			p.fresh.testimony = append(p.fresh.testimony, s.testimony(now, w.self, proto.TestifyPending))
		}
	}
	if !c.exec.settled() {
		p.fresh.testimony = append(p.fresh.testimony, proto.Testimony{
			Witness: w.self, Node: w.self, Kind: proto.TestifyPending, Received: true,
		})
	}
	p.closed = true
	w.report(c, true, out)
}
