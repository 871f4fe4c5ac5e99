package directory

import (
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// inquiry is what goes on about one living member that does not answer, or is
// accused of it. It exists from the first doubt to the last.
type inquiry struct {
	id peer.ID

	// our own doubts
	silent proto.LinkID // its link that stopped answering; hung up when the redial has ended
	reset  time.Time    // when its link broke; zero: it did not
	hard   bool         // and the redial was refused, or answered by another
	fails  int          // probes that failed in a row
	tryAt  time.Time    // next probe of ours, or second look at hard evidence; zero: none

	// what stands against it
	incarnation, version uint64
	accused              time.Time // since when, here; zero: nobody accuses it
	from                 time.Time // when the rounds and the timer began: then, or when the last deny lapsed
	asked                bool      // our rank came up, and we probe or have probed
	final                bool      // the last probe before the certificate is under way

	next time.Time // when to look again
}

// clear forgets what stands against the member, not our own doubts.
func (q *inquiry) clear() {
	q.accused, q.from, q.asked, q.final, q.incarnation, q.version = time.Time{}, time.Time{}, false, false, 0, 0
}

// restart takes back all that our own stall may have made up.
func (q *inquiry) restart(now time.Time) {
	doubted := q.silent != 0 || !q.reset.IsZero() || q.fails > 0
	q.silent, q.hard, q.fails, q.asked, q.final, q.tryAt = 0, false, 0, false, false, time.Time{}
	if doubted {
		q.tryAt = now // look again, from the start
	}
	if !q.reset.IsZero() {
		q.reset = now
	}
	if !q.accused.IsZero() {
		q.accused, q.from = now, now
	}
}

// inquiry returns the open inquiry about a member, or opens one.
func (d *Directory) inquiry(r *record) *inquiry {
	q, ok := d.inquiries.Get(r.ID())
	if !ok {
		q = &inquiry{id: r.ID()}
		d.inquiries.Put(q.id, q)
	}
	return q
}

// settle closes an inquiry when neither doubt nor accusation is left.
func (d *Directory) settle(q *inquiry) {
	if q.accused.IsZero() && q.silent == 0 && q.reset.IsZero() && q.fails == 0 && q.tryAt.IsZero() {
		d.inquiries.Delete(q.id)
	}
}

// lookAgain: an accusation is off, by the member's own word or for want of
// accusers, or a probe told of the time before our doubt. If a doubt of ours is
// left and nothing will settle it, a fresh look does; what led to it is old.
func (d *Directory) lookAgain(now time.Time, q *inquiry) {
	d.settle(q)
	if d.inquiries.Has(q.id) && q.tryAt.IsZero() && !d.probes.Has(q.id) {
		q.hard, q.fails, q.tryAt = false, 0, now.Add(d.cfg.RankEvery)
		d.schedule(q, q.tryAt)
	}
}

// schedule looks at the inquiry again at the given time, or before.
func (d *Directory) schedule(q *inquiry, at time.Time) {
	if q.next.IsZero() || at.Before(q.next) {
		q.next = at
		d.timers.push(at, q.id)
	}
}

// broke: a neighbour's link broke. Redial at once.
func (d *Directory) broke(now time.Time, who peer.ID, out *proto.Out) {
	r, ok := d.records.Get(who)
	if !ok || !r.isLiving() || r == d.self || d.leaving {
		return
	}
	q := d.inquiry(r)
	q.reset, q.hard = now, false
	d.try(now, q, r, out)
}

// silent: a neighbour missed too many pings. Redial; the link stays until the
// redial has ended, for a pong may still come.
func (d *Directory) silent(now time.Time, l *link, out *proto.Out) {
	r, ok := d.records.Get(l.peer)
	if !ok || !r.isLiving() || d.leaving {
		out.Add(proto.Hangup{Link: l.id, Why: "silent"})
		l.unanswered = time.Time{}
		return
	}
	q := d.inquiry(r)
	q.silent = l.id
	d.try(now, q, r, out)
}

// try probes on our own account, or soon if no probe may start now.
func (d *Directory) try(now time.Time, q *inquiry, r *record, out *proto.Out) {
	q.tryAt = time.Time{}
	if !d.probe(now, r, forDoubt, out) {
		q.tryAt = now.Add(d.cfg.ProbeTimeout / 10)
		d.schedule(q, q.tryAt)
	}
}

// answered: a neighbour's pong came over its link.
func (d *Directory) answered(now time.Time, l *link, sent time.Time, out *proto.Out) {
	q, ok := d.inquiries.Get(l.peer)
	if !ok {
		return
	}
	if q.silent == l.id {
		q.silent = 0
	}
	d.lives(now, q, sent, out)
}

// lives drops our own doubts, and denies the others' if it answered to what was
// sent after the accusation.
func (d *Directory) lives(now time.Time, q *inquiry, sent time.Time, out *proto.Out) {
	if sent.Before(q.reset) { // it lived before the link broke
		d.lookAgain(now, q)
		return
	}
	q.reset, q.hard, q.fails, q.tryAt, q.final = time.Time{}, false, 0, time.Time{}, false
	if r, ok := d.records.Get(q.id); ok && !q.accused.IsZero() && !sent.Before(q.accused) {
		d.deny(now, r, out)
	}
	d.settle(q)
}

// failed: a probe of a living member did not get its pong. hard: refused, or
// answered by another.
func (d *Directory) failed(now time.Time, q *inquiry, r *record, p *probe, hard bool, out *proto.Out) {
	q.fails++
	switch {
	case q.final && p.wants&forFinal != 0:
		q.final = false
		if !d.mayAct(now, q.hard || hard) {
			d.schedule(q, now.Add(d.cfg.RankEvery))
			return
		}
		d.certify(now, r, out)
		return
	case q.silent != 0: // three missed pings and a failed redial
		link := q.silent
		q.silent = 0
		if !d.accuse(now, q, r, false, out) {
			d.later(now, q)
		}
		out.Add(proto.Hangup{Link: link, Why: "silent"})
		if l := d.link(link); l != nil {
			l.unanswered = time.Time{} // said once; its LinkDown is on the way
		}
		return
	case !q.reset.IsZero() && hard: // confirmed some time after the reset
		q.hard = true
		q.tryAt = q.reset.Add(d.cfg.ConfirmAfter)
		if q.tryAt.Before(now) {
			q.tryAt = now
		}
		d.schedule(q, q.tryAt)
		return
	case q.asked && p.wants&forCommittee != 0, q.fails >= d.cfg.ProbeTries:
		if !d.accuse(now, q, r, hard && !q.reset.IsZero(), out) {
			d.later(now, q)
		}
		return
	}
	// Next of three tries; not at once, for a refusal takes no time at all.
	q.tryAt = p.began.Add(d.cfg.ProbeTimeout / 2)
	if q.tryAt.Before(now) {
		q.tryAt = now
	}
	d.schedule(q, q.tryAt)
}

// later: we may not accuse now. Look anew when we may; one more failure is
// enough then.
func (d *Directory) later(now time.Time, q *inquiry) {
	q.fails, q.asked = max(0, d.cfg.ProbeTries-1), false
	q.tryAt = now.Add(5 * d.cfg.RankEvery)
	if now.Before(d.quietUntil) {
		q.tryAt = d.quietUntil
	}
	d.schedule(q, q.tryAt)
}

// inquireDue does what is due about one member.
func (d *Directory) inquireDue(now time.Time, id peer.ID, out *proto.Out) {
	q, ok := d.inquiries.Get(id)
	if !ok || q.next.IsZero() || now.Before(q.next) {
		return
	}
	q.next = time.Time{}
	if now.Before(d.quietUntil) {
		d.schedule(q, d.quietUntil)
		return
	}
	r, _ := d.records.Get(id)
	d.review(now, r, out) // a deny may have lapsed, an accuser may have gone
	if !d.inquiries.Has(id) {
		return
	}
	if !q.tryAt.IsZero() {
		if now.Before(q.tryAt) {
			d.schedule(q, q.tryAt)
		} else {
			d.doubt(now, q, r, out)
		}
	}
	switch {
	case !d.inquiries.Has(id):
	case q.accused.IsZero():
		d.lookAgain(now, q)
	default:
		d.pursue(now, q, r, out)
	}
}

// doubt follows our own evidence.
func (d *Directory) doubt(now time.Time, q *inquiry, r *record, out *proto.Out) {
	if q.hard && !q.reset.IsZero() {
		q.tryAt = time.Time{}
		if !d.accuse(now, q, r, true, out) {
			d.later(now, q)
		}
		return
	}
	d.try(now, q, r, out)
}

// pursue follows the accusation: committee by committee, then the timer. A deny
// stops both, and they start again when it has lapsed.
func (d *Directory) pursue(now time.Time, q *inquiry, r *record, out *proto.Out) {
	v := d.weigh(now, r)
	if !v.deniedTil.IsZero() {
		q.from, q.asked, q.final = v.deniedTil, false, false
		d.schedule(q, v.deniedTil)
		return
	}
	if now.Before(q.from) { // the deny that moved it was taken back
		q.from = now
	}
	round := int(now.Sub(q.from) / d.cfg.RankEvery)
	if !v.mine && !q.asked && d.ranks(r, d.cfg.Committee*(round+1)) {
		q.asked = d.probe(now, r, forCommittee, out)
	}
	certifyAt := q.from.Add(d.patience(v))
	if !v.mine { // timers run at the accusers
		certifyAt = certifyAt.Add(d.patience(v))
	}
	switch {
	case !v.mine && !q.asked, q.final: // not ours to certify, or about to be
	case now.Before(certifyAt):
		d.schedule(q, certifyAt)
	case d.mayAct(now, q.hard):
		q.final = d.probe(now, r, forFinal, out)
	}
	d.schedule(q, q.from.Add(time.Duration(round+1)*d.cfg.RankEvery))
}
