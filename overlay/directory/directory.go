package directory

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// Directory is one node's knowledge of all nodes. Every method that takes now
// must be called in the order of time, and Wake when Deadline has come: the
// directory judges its own health by how late it is called.
type Directory struct {
	// What every step looks at.
	links []link // ours, in the order of their numbers
	self  *record

	cfg   Config
	rng   *rand.Rand
	start time.Time // zero of the monotonic clock that pings carry

	// ourselves
	newborn   bool      // not born yet: nobody has been told of us, our birth may still be raised
	bornBy    time.Time // newborn no longer than this; zero: no neighbour yet
	counter   uint64    // of our opinions
	component peer.ID
	leaving   bool // our last word is said
	over      bool // Fatal was given: nothing happens any more

	// what is known
	records peer.Index[*record]
	tombs   peer.Map[tomb]
	names   names
	digest  uint64
	buckets [proto.Buckets]uint64
	living  int // records alive or suspect, self included
	recent  []certified
	nRecent int // of recent, those still down
	purgeAt time.Time

	// who is told
	roster   *proto.Roster   // nil: make it anew
	listed   []*proto.Member // of the last roster; never changed, only replaced; nil: nobody asks for rosters
	unlisted []*record       // changed since
	revision uint64
	changed  []*record // since applications were told last
	notifyAt time.Time
	dirty    peer.Set // changed by us, not yet published
	batchAt  time.Time

	// our links
	aloneSince time.Time
	pingSeq    uint64

	// who answers
	inquiries peer.Map[*inquiry]
	probes    peer.Map[*probe] // by target
	byTag     map[uint64]*probe
	byLink    map[proto.LinkID]*probe
	dials     uint64
	admitting peer.Map[*admission]
	timers    timers
	probeAt   time.Time // next probe of a member without a link to us
	sweeping  bool
	sweepAt   time.Time
	row       int // probes of this sweep that succeeded in a row
	window    int // probes that this sweep may have under way, at least 1

	// our own health
	last       time.Time // when we were last called
	tickAt     time.Time
	gapAt      time.Time // end of the last gap in our loop
	quietUntil time.Time // before this we neither accuse nor certify
	health     int       // 0 well, higher is worse
	ticks      int       // in time, in a row
}

// New makes the directory of a node that starts now. Birth, incarnation and
// version of self are set here and by what the first neighbour knows of the
// name; all else is said as it stands. start is also the zero of the monotonic
// clock in pings: whoever stamps calls must use the same. Panics if cfg is not
// valid or self has no ID.
func New(cfg Config, self proto.Entry, rng *rand.Rand, start time.Time) *Directory {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	mustHold(!self.ID.IsZero(), "a node has an ID")
	self.Birth = uint64(max(1, start.UnixMilli()))
	self.Incarnation, self.Version, self.Left = self.Birth, 1, false
	d := &Directory{
		cfg: cfg, rng: rng, start: start, newborn: true, component: self.ID,
		byTag: map[uint64]*probe{}, byLink: map[proto.LinkID]*probe{},
		aloneSince: start, last: start, tickAt: start.Add(cfg.GapMax / 2), purgeAt: start.Add(purgeEvery),
		quietUntil: start, living: 1,
	}
	d.probeAt = start.Add(d.jitter(cfg.ProbeEvery))
	d.self = &record{entry: &self, bucket: bucketOf(self.ID), status: proto.StatusAlive}
	d.records.Put(d.self)
	d.note(start, d.self)
	return d
}

// Wake does what is due.
func (d *Directory) Wake(now time.Time, out *proto.Out) {
	if !d.enter(now, out) {
		return
	}
	d.tick(now)
	d.pingDue(now, out)
	for !d.over && len(d.timers) > 0 && !now.Before(d.timers.next()) {
		id := d.timers.pop()
		d.probeDue(now, id, out)
		d.inquireDue(now, id, out)
	}
	d.watch(now, out)
	d.birthDue(now, out)
	d.purgeDue(now)
	d.flushDue(now, out)
	d.notifyDue(now, out)
	d.Check()
}

// Deadline is when Wake is wanted; zero once there is nothing left to do.
func (d *Directory) Deadline() time.Time {
	if d.over {
		return time.Time{}
	}
	at := d.tickAt
	for _, t := range []time.Time{d.probeAt, d.bornBy, d.purgeAt, d.batchAt, d.notifyAt, d.timers.next()} {
		at = proto.Sooner(at, t)
	}
	if d.sweeping {
		at = proto.Sooner(at, d.sweepAt)
	}
	for i := range d.links {
		at = proto.Sooner(at, d.links[i].pingAt, d.silentAt(&d.links[i]))
	}
	return at
}

// enter notices how long we were not called, and tells whether to go on.
func (d *Directory) enter(now time.Time, out *proto.Out) bool {
	if d.over {
		return false
	}
	gap := now.Sub(d.last)
	if gap < 0 {
		panic(fmt.Sprintf("directory: time went back by %v", -gap))
	}
	d.last = now
	switch {
	case gap >= d.cfg.StoppedMax:
		// What we know is as old as the gap: others may have purged since.
		d.end("stopped too long: the directory is out of date; start again under a new ID", out)
		return false
	case gap > d.cfg.GapMax:
		d.afterGap(now)
	}
	return true
}

// end drops the directory: this process must end.
func (d *Directory) end(why string, out *proto.Out) {
	d.over = true
	d.records, d.tombs, d.names = peer.Index[*record]{}, peer.Map[tomb]{}, nil
	d.records.Put(d.self)
	d.digest, d.buckets = 0, [proto.Buckets]uint64{}
	d.roster, d.listed, d.unlisted = nil, nil, nil
	out.Add(proto.Fatal{Why: why})
}

// afterGap forgets all that our own stall made look like others' failure.
func (d *Directory) afterGap(now time.Time) {
	d.gapAt, d.quietUntil = now, now.Add(d.cfg.GapMax)
	d.health = min(d.cfg.HealthMax, d.health+2)
	d.ticks, d.tickAt = 0, now.Add(d.cfg.GapMax/2)
	for i := range d.links {
		l := &d.links[i]
		l.unanswered, l.pingAt = time.Time{}, now
	}
	d.row = 0
	for _, q := range d.inquiries.All() {
		q.restart(now)
		d.schedule(q, d.quietUntil)
	}
}

// tick watches our own loop twice in GapMax: a gap cannot hide between two
// calls, and being late costs health, being in time restores it (Lifeguard,
// section IV-A: local health).
func (d *Directory) tick(now time.Time) {
	if now.Before(d.tickAt) {
		return
	}
	if late := now.Sub(d.tickAt); late > d.cfg.GapMax/10 {
		d.unwell()
	} else if d.ticks++; d.ticks >= 2 {
		d.ticks, d.health = 0, max(0, d.health-1)
	}
	d.tickAt = now.Add(d.cfg.GapMax / 2)
}

func (d *Directory) unwell() { d.health, d.ticks = min(d.cfg.HealthMax, d.health+1), 0 }

// Health is our own, 0 being well.
func (d *Directory) Health() int { return d.health }

// Digest is the sum over all records; two nodes with the same digest know the same.
func (d *Directory) Digest() uint64 { return d.digest }

// Living is how many members are alive or suspect, this node included.
func (d *Directory) Living() int { return d.living }

// SetComponent tells the lowest origin of a beacon heard lately.
func (d *Directory) SetComponent(id peer.ID) {
	if id != d.component {
		d.component = id
		d.roster = nil
		d.revision++
	}
}

// clock is the monotonic clock that pings carry.
func (d *Directory) clock(now time.Time) time.Duration { return now.Sub(d.start) }

// jitter spreads a period by 20 % to both sides.
func (d *Directory) jitter(period time.Duration) time.Duration {
	return period*4/5 + time.Duration(d.rng.Int64N(int64(period*2/5)+1))
}

func (d *Directory) ignore(why string, from peer.ID, out *proto.Out) {
	out.Add(proto.Ignored{Why: why, Peer: from})
}

// Check panics unless what must always hold does. It costs next to nothing.
func (d *Directory) Check() {
	if d.over {
		return
	}
	mustHold(d.self.status == proto.StatusAlive || (d.leaving && d.self.status == proto.StatusLeft), "we are alive in our own view (D6)")
	mustHold(d.living >= 0 && d.living <= d.records.Len(), "the living are among the known")
	mustHold(d.records.Len() <= d.cfg.EntriesMax && d.tombs.Len() <= d.cfg.TombsMax, "the directory is bounded (D8)")
	mustHold(d.probes.Len() <= d.cfg.ProbesMax, "probes are bounded")
}

// CheckInquiries panics if an inquiry waits for nothing: it would last for ever,
// and keep its member from being watched. For tests, because it looks at all.
func (d *Directory) CheckInquiries() {
	for id, q := range d.inquiries.All() {
		mustHold(!q.next.IsZero() || d.probes.Has(id), "an inquiry waits for nothing")
	}
}

func mustHold(ok bool, what string) {
	if !ok {
		panic("directory: broken: " + what)
	}
}
