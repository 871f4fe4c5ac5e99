package wave

import (
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// quietAfter is how long a child may say nothing before that is told: four of
// its intervals and four hops.
func (w *Wave) quietAfter(round uint8, interval, rtt time.Duration) time.Duration {
	if round == 0 {
		return w.cfg.StarSilence
	}
	return 4*interval + 4*max(rtt, 2*time.Millisecond)
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
		if due(p.flushAt) {
			w.flush(now, c, out)
		}
		if due(p.aliveAt) {
			p.alive = min(2*p.alive, w.cfg.AliveMax)
			p.aliveAt = now.Add(p.alive)
			w.report(c, false, out)
		}
	} else {
		p.flushAt, p.aliveAt, p.tookAt = time.Time{}, time.Time{}, time.Time{}
	}
	if due(p.quietAt) {
		w.lookForQuiet(now, c, out)
	}
}

// lookForQuiet testifies about spokes that owe something and say nothing.
func (w *Wave) lookForQuiet(now time.Time, c *call, out *proto.Out) {
	p := c.part
	p.quietAt = time.Time{}
	for i := range p.spokes {
		s := &p.spokes[i]
		if s.state == spokeResolved || s.quiet {
			continue
		}
		if p.round == 0 && s.state == spokeChild {
			continue // its handler is slow; the budget ends that
		}
		var rtt time.Duration
		if l := w.link(s.link); l != nil {
			rtt = l.rtt
		}
		at := s.heard.Add(w.quietAfter(p.round, s.interval, rtt))
		if now.Before(at) {
			p.quietAt = earliest(p.quietAt, at)
			continue
		}
		s.quiet = true
		t := proto.Testimony{
			Witness: w.self, Node: s.peer.ID, Kind: proto.TestifySilent,
			Received: s.state == spokeChild, Ago: now.Sub(s.heard),
		}
		if c.question != nil {
			w.spokeQuiet(now, c.question, t, out)
		} else {
			p.fresh.testimony = append(p.fresh.testimony, t)
		}
	}
}

// partLinkDown: a link of this call's part is gone.
func (w *Wave) partLinkDown(now time.Time, c *call, id proto.LinkID, out *proto.Out) {
	p := c.part
	if p.parent == id && id != 0 && !p.orphan {
		w.orphaned(now, c, out)
		return
	}
	s := p.spoke(id)
	if s == nil || s.broken {
		return
	}
	s.broken = true
	if s.state == spokeResolved {
		return
	}
	t := proto.Testimony{
		Witness: w.self, Node: s.peer.ID, Kind: proto.TestifyReset,
		Received: s.state == spokeChild, Ago: now.Sub(s.heard),
	}
	s.state = spokeResolved
	if c.question != nil {
		w.spokeBroke(now, c.question, t, out)
	} else {
		p.fresh.testimony = append(p.fresh.testimony, t)
	}
	w.progress(now, c, out)
}

// orphaned: the parent's link broke before our final echo. Everything we know
// and all that follows goes straight to the caller.
func (w *Wave) orphaned(now time.Time, c *call, out *proto.Out) {
	p := c.part
	p.orphan = true
	p.fresh = news{
		results:   append(p.all.results, p.fresh.results...),
		receipts:  append(p.all.receipts, p.fresh.receipts...),
		testimony: append(p.all.testimony, p.fresh.testimony...),
		bytes:     p.all.bytes + p.fresh.bytes,
	}
	p.all = news{}
	if c.exec.state == execBody {
		out.Add(proto.SendTo{Owner: proto.OwnerWave, Peer: c.msg.From, Msg: proto.Pull{ID: c.msg.ID}})
	}
	if p.resolved() && c.exec.settled() {
		p.closed = true
		w.report(c, true, out)
	} else {
		w.flush(now, c, out)
	}
	w.progress(now, c, out)
}
