package directory

import (
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// wants is what a probe is for; one probe may serve several ends.
type wants uint8

const (
	forDoubt     wants = 1 << iota // redial, or another try
	forCommittee                   // our rank came up for a suspect
	forFinal                       // the last before a certificate
	forWatch                       // a member that we hold no link to
	forName                        // a newcomer has its name
)

// probe is one dial, handshake and ping. It has ProbeTimeout, and as much again for each point of our own health: who
// is slow takes others for slow (Lifeguard, section IV-A).
type probe struct {
	target peer.ID
	wants  wants
	tag    uint64
	began  time.Time
	ends   time.Time
	link   proto.LinkID // zero: not yet connected
	over   bool         // its end was told; the dial's answer is still owed
}

// probe starts one, or adds to the one under way. It tells whether one runs.
func (d *Directory) probe(now time.Time, r *record, why wants, out *proto.Out) bool {
	if p, ok := d.probes.Get(r.ID()); ok {
		if why&(forCommittee|forFinal) != 0 && p.began.Before(now) {
			return false // its ping may be older than the accusation: wait for its end
		}
		p.wants |= why
		return true
	}
	if d.probes.Len() >= d.cfg.ProbesMax || d.leaving {
		return false
	}
	d.dials++
	p := &probe{target: r.ID(), wants: why, tag: proto.DialTag(proto.OwnerDirectory, d.dials), began: now, ends: now.Add(d.patient(d.cfg.ProbeTimeout))}
	d.probes.Put(p.target, p)
	d.byTag[p.tag] = p
	out.Add(proto.Dial{
		Tag: p.tag, Owner: proto.OwnerDirectory, Kind: proto.LinkProbe, Addrs: r.entry.Addrs, Expect: p.target, Timeout: p.ends.Sub(now),
	})
	return true
}

// LinkUp: a link that a probe dialled stands. Ping over it.
func (d *Directory) LinkUp(now time.Time, in proto.LinkUp, out *proto.Out) {
	if !d.enter(now, out) {
		return
	}
	p := d.byTag[in.Tag]
	if p == nil || p.over || in.Peer.ID != p.target {
		delete(d.byTag, in.Tag)
		out.Add(proto.Hangup{Link: in.Link, Why: "probe over"})
		if p != nil && !p.over {
			d.probeFailed(now, p, true, out)
		}
		return
	}
	delete(d.byTag, in.Tag)
	p.link = in.Link
	d.byLink[p.link] = p
	out.Add(proto.Send{Link: p.link, Msg: d.newPing(now)})
	d.timers.push(p.ends, p.target)
}

// patient stretches a time by our own health.
func (d *Directory) patient(t time.Duration) time.Duration { return t * time.Duration(d.health+1) }

// LinkDown: a probe's link is gone.
func (d *Directory) LinkDown(now time.Time, in proto.LinkDown, out *proto.Out) {
	if !d.enter(now, out) {
		return
	}
	if p := d.byLink[in.Link]; p != nil {
		d.probeFailed(now, p, false, out)
	}
}

// DialFailed: a probe's dial came to nothing.
func (d *Directory) DialFailed(now time.Time, in proto.DialFailed, out *proto.Out) {
	if !d.enter(now, out) {
		return
	}
	p := d.byTag[in.Tag]
	delete(d.byTag, in.Tag)
	if p == nil || p.over {
		return
	}
	switch in.Why {
	case proto.DialLocal:
		d.probeVoid(now, p)
	case proto.DialRefused, proto.DialOtherNode, proto.DialSelf:
		d.probeFailed(now, p, true, out)
	case proto.DialTimeout, proto.DialTLS, proto.DialCluster, proto.DialVersion, proto.DialNoAddress, proto.DialNetwork:
		d.probeFailed(now, p, false, out)
	default:
		panic("directory: unknown reason of a failed dial")
	}
}

// probeDue ends a probe whose pong did not come in time. A dial ends by itself.
func (d *Directory) probeDue(now time.Time, id peer.ID, out *proto.Out) {
	if p, ok := d.probes.Get(id); ok && p.link != 0 && !now.Before(p.ends) {
		d.probeFailed(now, p, false, out)
	}
}

// close forgets a probe; a link that it holds is hung up.
func (d *Directory) close(p *probe, out *proto.Out) {
	p.over = true
	d.probes.Delete(p.target)
	if p.link != 0 {
		delete(d.byLink, p.link)
		out.Add(proto.Hangup{Link: p.link, Why: "probe over", Flush: true})
	}
}

// probeAnswered: the pong came.
func (d *Directory) probeAnswered(now time.Time, p *probe, sent time.Time, out *proto.Out) {
	if r, ok := d.records.Get(p.target); ok && (r.more().down > 0 || len(r.more().opinions) > 0) {
		// A link alone changes nothing: it hands the opinions to the accused.
		out.Add(proto.Send{Link: p.link, Msg: proto.SyncRecords{Records: []proto.Record{r.export()}}})
	}
	d.close(p, out)
	if p.wants&forWatch != 0 {
		d.row++
		d.window = min(d.window+1, d.windowMax())
	}
	if p.wants&forName != 0 {
		d.nameProbed(now, p.target, true, out)
	}
	if q, ok := d.inquiries.Get(p.target); ok {
		if q.silent != 0 { // it lives and the link is broken: let it be replaced
			out.Add(proto.Hangup{Link: q.silent, Why: "silent"})
			if l := d.link(q.silent); l != nil {
				l.unanswered = time.Time{}
			}
			q.silent = 0
		}
		d.lives(now, q, sent, out)
	}
}

// probeFailed: no pong. What began before the end of a gap of ours tells
// nothing.
func (d *Directory) probeFailed(now time.Time, p *probe, hard bool, out *proto.Out) {
	if p.began.Before(d.gapAt) || now.Before(d.quietUntil) {
		d.close(p, out)
		d.retry(now, p)
		return
	}
	d.close(p, out)
	if p.wants&forWatch != 0 {
		d.row = 0
		d.sweep(now)
		if hard {
			d.window = min(2*d.window, d.windowMax())
		} else {
			d.window = max(1, d.window/2)
		}
	}
	if p.wants&forName != 0 {
		d.nameProbed(now, p.target, false, out)
	}
	r, ok := d.records.Get(p.target)
	if !ok || !r.isLiving() || p.wants == forName {
		return
	}
	d.failed(now, d.inquiry(r), r, p, hard, out)
}

// probeVoid: a bound of our own prevented the dial.
func (d *Directory) probeVoid(now time.Time, p *probe) {
	p.over = true
	d.probes.Delete(p.target)
	d.retry(now, p)
}

// retry repeats a probe that told nothing, once we can be trusted.
func (d *Directory) retry(now time.Time, p *probe) {
	if q, ok := d.inquiries.Get(p.target); ok {
		if p.wants&forDoubt != 0 {
			q.tryAt = now.Add(d.cfg.ProbeTimeout)
		}
		q.asked, q.final = q.asked && p.wants&forCommittee == 0, q.final && p.wants&forFinal == 0
		d.schedule(q, now.Add(d.cfg.ProbeTimeout))
	}
	for id, a := range d.admitting.All() {
		if p.wants&forName != 0 && a.holder == p.target && id != d.self.ID() && a.answer == Undecided {
			a.at = now.Add(-admissionFor) // ask again
		}
	}
}

// watch probes members that we hold no link to: one each period, and one after
// another while sweeping.
//
// A sweep must not feed on itself. Probes cost both ends a handshake; where all
// are short of processor time, probes fail because of the probes. So a sweep has
// a window of probes under way, as TCP has of bytes (RFC 5681): it opens with
// every prompt answer, be it a refusal, and closes with every time-out.
func (d *Directory) watch(now time.Time, out *proto.Out) {
	if !now.Before(d.probeAt) {
		d.probeAt = now.Add(d.jitter(d.cfg.ProbeEvery))
		d.probeAny(now, out)
	}
	if !d.sweeping || now.Before(d.sweepAt) {
		return
	}
	d.sweepAt = now.Add(d.cfg.SweepEvery)
	switch {
	case d.row >= d.cfg.SweepRow, d.isCutOff(now):
		d.sweeping = false
	case d.watching() < d.window:
		d.sweeping = d.probeAny(now, out)
	}
}

// watching is how many probes for watch are under way.
func (d *Directory) watching() (n int) {
	for _, p := range d.probes.All() {
		if p.wants&forWatch != 0 {
			n++
		}
	}
	return n
}

// windowMax is how many probes can be under way if one begins each SweepEvery.
func (d *Directory) windowMax() int { return max(1, int(d.cfg.ProbeTimeout/d.cfg.SweepEvery)) }

// sweep begins one.
func (d *Directory) sweep(now time.Time) {
	if !d.sweeping && !d.leaving && now.After(d.quietUntil) {
		d.sweeping, d.sweepAt, d.row, d.window = true, now, 0, 1
	}
}

// probeAny probes a random alive member without a link to us and tells whether
// there is any.
func (d *Directory) probeAny(now time.Time, out *proto.Out) bool {
	n := d.records.Len()
	if d.leaving || now.Before(d.quietUntil) {
		return false
	}
	first, busy := d.rng.IntN(n), false
	for i := range n {
		r := d.records.At((first + i) % n)
		id := r.ID()
		if r == d.self || r.status != proto.StatusAlive || len(r.entry.Addrs) == 0 || d.inquiries.Has(id) || d.linkTo(id) != nil {
			continue
		}
		if d.probes.Has(id) {
			busy = true // one of ours is under way: its end counts
			continue
		}
		return d.probe(now, r, forWatch, out) || d.probes.Len() > 0
	}
	return busy
}
