package wave

import (
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// hopMin is the least that a hop is taken to last, however quick the link.
const hopMin = 2 * time.Millisecond

// quietAfter is how long a child may say nothing before that is told: four of
// its intervals and four hops. In a star every link has one round trip and
// StarSilence; and the more are asked at once, the longer the caller is busy
// with their answers.
func (w *Wave) quietAfter(p *part, interval, rtt time.Duration) time.Duration {
	if p.round == 0 {
		return w.cfg.StarSilence*time.Duration(8+len(p.spokes))/8 + rtt
	}
	return 4*interval + 4*max(rtt, hopMin)
}

// wakePart does what is due: the star's late receipt, PART, an empty one, and
// testimony about children that fell silent.
func (w *Wave) wakePart(now time.Time, c *call, out *proto.Out) {
	p := c.part
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	if c.question == nil {
		if due(p.tookAt) {
			p.tookAt = time.Time{}
			out.Add(proto.Send{Link: p.parent, Msg: proto.Took{ID: c.msg.ID, Round: p.round}})
		}
		switch {
		case due(p.flushAt), due(p.aliveAt) && !p.fresh.empty():
			w.flush(now, c, out)
		case due(p.aliveAt):
			p.alive = min(2*p.alive, w.cfg.AliveMax)
			p.aliveAt = now.Add(p.alive)
			w.report(c, false, out)
		}
	}
	if due(p.quietAt) {
		w.lookForQuiet(now, c, out)
	}
}

// lookForQuiet testifies about spokes that owe something and say nothing. At
// the caller a star becomes a wave, and in a wave whoever has given no receipt
// is asked.
func (w *Wave) lookForQuiet(now time.Time, c *call, out *proto.Out) {
	p, found := c.part, false
	p.quietAt = time.Time{}
	for i := range p.spokes {
		s := &p.spokes[i]
		if s.state == spokeResolved || s.quiet {
			continue
		}
		if p.round == 0 && s.state == spokeChild {
			continue // its handler is slow; the budget ends that
		}
		if at := s.heard.Add(w.quietAfter(p, s.interval, w.clocks[s.link].latest())); now.Before(at) {
			p.quietAt = earliest(p.quietAt, at)
			continue
		}
		s.quiet, found = true, true
		t := s.testimony(now, w.self, proto.TestifySilent)
		if c.question != nil {
			c.question.hearTestimony(t)
		} else if s.told < testimonyMax {
			s.told++
			p.fresh.testimony = append(p.fresh.testimony, t)
		}
	}
	switch {
	case !found || c.question == nil || c.question.done:
	case p.round == 0:
		w.widen(now, c.question, out)
	default:
		w.askUnheard(now, c.question, out)
	}
}

// testimonyMax bounds how often one link is told to be silent.
const testimonyMax = 4

func (s *spoke) testimony(now time.Time, witness peer.ID, kind proto.TestimonyKind) proto.Testimony {
	return proto.Testimony{Witness: witness, Node: s.node, Kind: kind, Received: s.state == spokeChild, Ago: now.Sub(s.heard)}
}

// callLinkDown: a link of any kind is gone; what does that mean for this call?
func (w *Wave) callLinkDown(now time.Time, c *call, id proto.LinkID, who peer.ID, out *proto.Out) {
	c.dropLink(id)
	if c.part != nil && !c.part.closed {
		w.partLinkDown(now, c, id, who, out)
	}
	toCaller := c.pullOn == 0 && who == c.msg.ID.Caller
	if c.pulling && (c.pullOn == id || toCaller) {
		c.pulledAll = c.pulledAll && !toCaller
		w.pull(c, out)
	}
}

// partLinkDown: it may be a spoke, the parent's, or the one on which an orphan
// reports. An orphan tells everything it knows and all that follows straight to
// the caller; all of it again when that link breaks, too.
func (w *Wave) partLinkDown(now time.Time, c *call, id proto.LinkID, who peer.ID, out *proto.Out) {
	p := c.part
	if s := p.spoke(id); s != nil && s.state != spokeResolved {
		t := s.testimony(now, w.self, proto.TestifyReset)
		s.state = spokeResolved
		if c.question != nil {
			w.spokeBroke(now, c.question, t, out)
		} else {
			p.fresh.testimony = append(p.fresh.testimony, t)
		}
	}
	if p.parent == id || p.orphan && who == c.msg.ID.Caller {
		p.orphan, p.again = true, true
		if !c.owesNothing() {
			w.flush(now, c, out)
		}
	}
	w.progress(now, c, out)
}

// adoptFailed: the caller could not be reached. The next report repeats what
// was lost. A caller that is down as well will never ask for it.
func (w *Wave) adoptFailed(now time.Time, m proto.Echo, out *proto.Out) {
	c := w.call(m.ID)
	if c == nil || c.part == nil || c.part.closed || c.part.round != m.Round {
		return
	}
	c.part.again = true
	if caller := w.members.Member(m.ID.Caller); caller == nil || caller.Status == proto.StatusDown || caller.Status == proto.StatusLeft {
		w.cancelCall(now, c, "the caller is gone", out)
	}
}
