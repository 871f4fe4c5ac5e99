package directory

import (
	"math"
	"strings"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// evidence is what the opinions on a member amount to. Weights are in halves:
// an accuser with poor health of its own counts half.
type evidence struct {
	weight    int
	mine      bool      // we are among the accusers
	deniedTil time.Time // zero, or in the future: a deny outweighs all accusers
}

// suspects: enough opinions for the status, one accuser in good health.
func (v *evidence) suspects() bool { return v.weight >= 2 && v.deniedTil.IsZero() }

// accusers is who accuses a member, for people: by name, as far as that is known.
func (d *Directory) accusers(r *record) string {
	var who []string
	for _, o := range r.more().opinions {
		if !o.Accuse {
			continue
		}
		name := o.Author.Short()
		if author, known := d.records.Get(o.Author); known {
			name = author.entry.Name
		}
		who = append(who, name)
	}
	return "accused by " + strings.Join(who, ", ")
}

// weigh counts the opinions of those who take part.
func (d *Directory) weigh(now time.Time, r *record) evidence {
	var v evidence
	opinions := r.more().opinions
	for i := range opinions {
		o := &opinions[i]
		author, known := d.records.Get(o.Author)
		if !known || !author.isLiving() {
			continue
		}
		if !o.Accuse {
			if til := o.got.Add(d.cfg.DenyFor); now.Before(til) && til.After(v.deniedTil) {
				v.deniedTil = til
			}
			continue
		}
		v.weight += 2
		if o.HalfWeight {
			v.weight--
		}
		v.mine = v.mine || author == d.self
	}
	return v
}

// review draws the consequences of what is now known of a member: its status,
// an inquiry if it stands accused, a certificate if there are accusers enough.
func (d *Directory) review(now time.Time, r *record, out *proto.Out) {
	d.setStatus(now, r)
	if r == d.self || d.leaving || !r.isLiving() {
		return
	}
	v := d.weigh(now, r)
	q, ok := d.inquiries.Get(r.ID())
	if v.weight == 0 {
		if ok && !q.accused.IsZero() {
			q.clear()
			d.lookAgain(now, q)
		}
		return
	}
	if !ok {
		q = d.inquiry(r)
	}
	if q.accused.IsZero() || q.incarnation != r.entry.Incarnation || q.version != r.entry.Version {
		q.clear()
		q.accused, q.from, q.incarnation, q.version = now, now, r.entry.Incarnation, r.entry.Version
		d.schedule(q, now)
		if l := d.linkTo(r.ID()); l != nil {
			d.ping(now, l, out) // its pong would be a deny
		}
	}
	if v.mine && v.deniedTil.IsZero() && v.weight >= 2*min(d.cfg.Committee, d.members(now)-1) && d.mayAct(now, q.hard) {
		d.certify(now, r, out)
	}
}

// mayAct tells whether we trust ourselves to accuse and certify: not right
// after a gap of our own loop, and not on soft evidence while we have no link
// at all: then it is more likely we that are cut off.
func (d *Directory) mayAct(now time.Time, hard bool) bool {
	return !now.Before(d.quietUntil) && !d.leaving && (hard || !d.isCutOff(now))
}

func (d *Directory) isCutOff(now time.Time) bool {
	return len(d.links) == 0 && now.Sub(d.aloneSince) < d.cfg.AloneFor && d.members(now) > 3
}

// accuse writes our opinion that a member does not answer, and tells whether it
// stands now.
func (d *Directory) accuse(now time.Time, q *inquiry, r *record, hard bool, out *proto.Out) bool {
	if !d.mayAct(now, hard) {
		return false
	}
	q.hard = q.hard || hard
	v := d.weigh(now, r)
	if v.mine {
		return true
	}
	d.write(now, r, true)
	if v.weight == 0 {
		d.publish(r, out) // the first suspicion does not wait for the batch
	}
	d.review(now, r, out)
	return true
}

// deny writes that a member answered us after it was accused, unless such a
// word stands and will for another ping.
func (d *Directory) deny(now time.Time, r *record, out *proto.Out) {
	v := d.weigh(now, r)
	if v.weight == 0 || d.leaving || (!v.mine && v.deniedTil.After(now.Add(d.cfg.PingEvery))) {
		return
	}
	d.write(now, r, false)
	// Not in the batch: it must overtake the accusers.
	d.publish(r, out)
	d.review(now, r, out)
}

// write sets our opinion on a member as it is now.
func (d *Directory) write(now time.Time, r *record, accuse bool) {
	d.counter++
	was := d.share(r)
	r.put(now, proto.Opinion{
		Accused: r.ID(), Incarnation: r.entry.Incarnation, Version: r.entry.Version, Author: d.self.ID(),
		Counter: d.counter, Accuse: accuse, HalfWeight: accuse && d.health > 0,
	})
	r.rest.boundOpinions()
	d.recount(r, was)
	d.note(now, r)
	d.gather(now, r)
}

// certify puts it down that this incarnation is dead. There is no way back but
// the owner's next incarnation.
func (d *Directory) certify(now time.Time, r *record, out *proto.Out) {
	was, m := d.share(r), r.own()
	m.down, m.opinions = r.entry.Incarnation, nil
	d.recount(r, was)
	d.note(now, r)
	d.setStatus(now, r)
	d.publish(r, out)
}

// patience is how long accusers wait before they certify without a full
// committee: Lifeguard's timer (section IV-B), shrinking from SuspectMax to
// SuspectMin with the logarithm of independent confirmations.
func (d *Directory) patience(v evidence) time.Duration {
	want := max(1, d.cfg.Committee-1)
	confirmed := min(want, max(0, v.weight/2-1))
	span := float64(d.cfg.SuspectMax - d.cfg.SuspectMin)
	return d.cfg.SuspectMax - time.Duration(span*math.Log(float64(confirmed+1))/math.Log(float64(want+1)))
}

// ranks tells whether we are among the first n unsuspected members that are to
// look after a suspect. It stops at the n-th that comes before us, so that it
// costs a few steps for almost everybody.
func (d *Directory) ranks(r *record, n int) bool {
	mine := rankOf(r.ID(), r.entry.Incarnation, d.self.ID())
	before := 0
	for m := range d.records.All() {
		if m == r || m == d.self || m.status != proto.StatusAlive || rankOf(r.ID(), r.entry.Incarnation, m.ID()) > mine {
			continue
		}
		if before++; before >= n {
			return false
		}
	}
	return true
}
