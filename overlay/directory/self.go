package directory

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// bornAfter is how long a node that has a neighbour waits at most to learn who
// had its name before; the neighbour may be probing the holder meanwhile.
const bornAfter = 2 * time.Second

// UpdateSelf changes what this node says of itself.
func (d *Directory) UpdateSelf(now time.Time, to proto.UpdateSelf, out *proto.Out) {
	if !d.enter(now, out) || d.leaving {
		return
	}
	e := *d.self.entry
	e.Zone, e.Tags, e.Handlers, e.Groups = to.Zone, to.Tags, to.Handlers, to.Groups
	e.Streams, e.Draining = to.Streams, to.Draining
	if e.Equal(d.self.entry) {
		return
	}
	e.Version++
	d.say(now, &e)
}

// Leave publishes our last word, at once. Nothing is said or decided after it.
func (d *Directory) Leave(now time.Time, out *proto.Out) {
	if !d.enter(now, out) || d.leaving {
		return
	}
	d.leaving = true
	e := *d.self.entry
	e.Left = true
	e.Version++
	d.say(now, &e)
	d.inquiries.Clear()
	if d.newborn {
		d.dirty, d.batchAt, d.bornBy = peer.Set{}, time.Time{}, time.Time{} // nobody knows us: nothing to take back
		return
	}
	d.publish(d.self, out)
}

// say replaces our own entry, to be published with the next batch.
func (d *Directory) say(now time.Time, e *proto.Entry) {
	was := d.share(d.self)
	d.self.setEntry(e)
	d.setStatus(now, d.self)
	d.recount(d.self, was)
	d.note(now, d.self)
	d.gather(now, d.self)
}

// heardOfSelf answers what others carry about us. Nobody but us writes our
// entry (D2); what they say of it makes us speak (D4).
func (d *Directory) heardOfSelf(now time.Time, rec *proto.Record, from peer.ID, out *proto.Out) bool {
	e := *d.self.entry
	if rec.Down > d.self.more().down && rec.Down < e.Incarnation {
		d.setOwnDown(rec.Down) // of an incarnation we left behind; all must carry the same
		d.note(now, d.self)
	}
	switch theirs := rec.Entry; {
	case d.newborn || d.leaving:
		return false
	case rec.Down >= e.Incarnation:
		// Certified while alive: applications elsewhere saw us go down, and will
		// see the next incarnation come up.
		return d.comeBack(now, rec.Down, out)
	case replaces(theirs, d.self.entry):
		d.ignore("own_entry_forged", from, out)
		if theirs.Left || theirs.Incarnation > e.Incarnation {
			return false // not to be answered within the rules
		}
		e.Version = theirs.Version
	case !slices.ContainsFunc(rec.Opinions, func(o proto.Opinion) bool {
		return o.Incarnation == e.Incarnation && o.Version == e.Version
	}):
		return false
	}
	// "Suspected" is enough: it need not have come to a status (SWIM, section 4.2).
	if e.Version >= versionMax {
		return d.comeBack(now, e.Incarnation, out)
	}
	e.Version++
	d.unwell()
	d.say(now, &e)
	return true
}

// comeBack makes us the next incarnation after one that counts as dead.
func (d *Directory) comeBack(now time.Time, dead uint64, out *proto.Out) bool {
	e := *d.self.entry
	e.Incarnation, e.Version = dead+1, 1
	if e.Incarnation-e.Birth > jumpMax {
		d.end("came back too often: no incarnation is left under this ID", out)
		return false
	}
	d.setOwnDown(dead)
	d.unwell()
	d.say(now, &e)
	return true
}

// setOwnDown notes up to which incarnation we count as dead.
func (d *Directory) setOwnDown(dead uint64) {
	was := d.share(d.self)
	d.self.own().down = dead
	d.recount(d.self, was)
}

// birthDue ends a newborn's wait for a neighbour that does not tell.
func (d *Directory) birthDue(now time.Time, out *proto.Out) {
	if d.newborn && !d.bornBy.IsZero() && !now.Before(d.bornBy) {
		d.beBorn(now, out)
	}
}

// met is called when a neighbour has told us what it knows. With shared
// certificates a living holder of our name keeps it: we ask it ourselves too,
// for the neighbour may not know of it yet.
func (d *Directory) met(now time.Time, out *proto.Out) {
	if !d.newborn || d.leaving {
		return
	}
	switch d.Admit(now, d.self.entry.Info(), out) {
	case Undecided: // bornBy ends the wait
	case NameInUse:
		d.end("name in use: "+d.self.entry.Name+" is held by a living process", out)
	case Superseded, Admitted:
		d.beBorn(now, out)
	default:
		panic("directory: unknown admission")
	}
}

// beBorn fixes our birth above all that is known of our name, and lets the
// others know of us.
func (d *Directory) beBorn(now time.Time, out *proto.Out) {
	e := *d.self.entry
	for _, c := range d.names.claims(e.Name) {
		known := c.Birth
		if r, ok := d.records.Get(c.ID); ok {
			known = max(known, r.entry.Incarnation)
		}
		if t, ok := d.tombs.Get(c.ID); ok {
			known = max(known, t.entry.Incarnation)
		}
		e.Birth = max(e.Birth, known+1)
	}
	e.Incarnation = e.Birth
	d.newborn, d.bornBy = false, time.Time{}
	d.recount(d.self, 0)
	d.say(now, &e)
	d.claimName(now, &e, out)
}

// gather puts a record into the next batch.
func (d *Directory) gather(now time.Time, r *record) {
	if d.newborn && r == d.self {
		return
	}
	d.dirty.Add(r.ID())
	if d.batchAt.IsZero() {
		spread := d.cfg.BatchMax - d.cfg.BatchMin
		d.batchAt = now.Add(d.cfg.BatchMin + time.Duration(d.rng.Int64N(int64(spread)+1)))
	}
}

// publish sends one record without waiting for the batch.
func (d *Directory) publish(r *record, out *proto.Out) {
	d.dirty.Remove(r.ID())
	out.Add(proto.PublishRecords{Records: []proto.Record{r.export()}})
}

func (d *Directory) flushDue(now time.Time, out *proto.Out) {
	if d.batchAt.IsZero() || now.Before(d.batchAt) {
		return
	}
	d.batchAt = time.Time{}
	var records []proto.Record
	for _, id := range d.dirty.IDs() {
		if r, ok := d.records.Get(id); ok {
			records = append(records, r.export())
		}
	}
	d.dirty = peer.Set{}
	for _, chunk := range d.chunks(records) {
		out.Add(proto.PublishRecords{Records: chunk})
	}
}

// chunks splits records below the limits of one message; none gives none.
func (d *Directory) chunks(records []proto.Record) [][]proto.Record {
	var all [][]proto.Record
	begin, size := 0, 0
	for i := range records {
		n := sizeOf(&records[i])
		if i > begin && (size+n > d.cfg.ChunkBytes || i-begin >= proto.MaxRecords) {
			all = append(all, records[begin:i:i])
			begin, size = i, 0
		}
		size += n
	}
	if begin < len(records) {
		all = append(all, records[begin:])
	}
	return all
}
