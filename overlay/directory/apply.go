package directory

import (
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// purgeEvery is how often records are looked through for those to be purged.
const purgeEvery = time.Minute

// tomb is a tombstone and since when we have it, on Directory.clock.
type tomb struct {
	entry *proto.Entry // says what a tombstone says and no more; in Directory.names, too
	at    time.Duration
}

func entomb(t proto.Tombstone) *proto.Entry {
	return &proto.Entry{ID: t.ID, Name: t.Name, Birth: t.Birth, Incarnation: t.Incarnation}
}

// stone is the tombstone as it travels.
func (t tomb) stone() *proto.Tombstone {
	return &proto.Tombstone{ID: t.entry.ID, Name: t.entry.Name, Birth: t.entry.Birth, Incarnation: t.entry.Incarnation}
}

// Delivered takes records from the broadcast. What it says is second-hand: it
// is merged and never counts as a sign of life (D2).
func (d *Directory) Delivered(now time.Time, origin peer.ID, body proto.DirectoryBody, out *proto.Out) {
	if !d.enter(now, out) {
		return
	}
	for i := range body.Records {
		d.apply(now, &body.Records[i], origin, out)
		if d.over {
			return
		}
	}
	d.Check()
}

// apply merges one record, whoever brought it. It tells whether that was news,
// and the tombstone that refused the record, if one did.
func (d *Directory) apply(now time.Time, rec *proto.Record, from peer.ID, out *proto.Out) (news bool, refused *proto.Tombstone) {
	if rec.Tomb != nil {
		news = d.bury(now, *rec.Tomb, from, out)
	}
	if rec.Entry == nil || d.over {
		return news, nil
	}
	if why := invalid(rec); why != "" {
		d.ignore(why, from, out)
		return news, nil
	}
	for i := range rec.Opinions {
		// Forged, or we would know it: outdo it, or our own word is lost.
		if o := &rec.Opinions[i]; o.Author == d.self.ID() {
			d.counter = max(d.counter, o.Counter)
		}
	}
	id := rec.Entry.ID
	if id == d.self.ID() {
		return d.heardOfSelf(now, rec, from, out) || news, nil
	}
	if t, ok := d.tombs.Get(id); ok && rec.Entry.Incarnation <= t.entry.Incarnation {
		return news, t.stone()
	}
	r, known := d.records.Get(id)
	was := uint64(0)
	switch {
	case known && r.is(rec):
		return news, nil
	case known && (r.entry.Birth != rec.Entry.Birth || r.entry.Name != rec.Entry.Name):
		d.ignore("identity_changed", from, out)
		return news, nil
	case !known:
		if d.records.Len() >= d.cfg.EntriesMax && !d.makeRoom(now) {
			d.ignore("directory_full", from, out)
			return news, nil
		}
		r = &record{bucket: bucketOf(id)}
	default:
		was = r.hash()
	}
	before := r.entry
	if !r.join(now, rec) {
		return news, nil
	}
	if !known {
		d.records.Put(r)
	}
	if r.entry != before {
		d.claimName(now, r.entry, out)
		if d.over {
			return true, nil // it superseded us
		}
	}
	d.recount(r, was)
	d.note(now, r)
	d.review(now, r, out)
	return true, nil
}

// share is what a record contributes to the digest.
func (d *Directory) share(r *record) uint64 {
	if r.gone || (d.newborn && r == d.self) {
		return 0
	}
	return r.hash()
}

// recount brings the digest up to date with a record whose share was another.
func (d *Directory) recount(r *record, was uint64) {
	is := d.share(r)
	d.digest += is - was
	d.buckets[r.bucket] += is - was
}

// setStatus derives the status; see the table in overlay/proto. Left outranks
// down, down suspect, suspect alive.
func (d *Directory) setStatus(now time.Time, r *record) {
	status, why := proto.StatusAlive, ""
	switch v := d.weigh(now, r); {
	case r.entry.Left:
		status = proto.StatusLeft
	case r == d.self:
	case r.more().down >= r.entry.Incarnation:
		status, why = proto.StatusDown, "certified down"
		if r.status == proto.StatusSuspect {
			why += ": " + r.more().why
		}
	case r.superseded:
		status, why = proto.StatusDown, "superseded by a newer process of its name"
	case v.suspects():
		status, why = proto.StatusSuspect, d.accusers(r)
	}
	if status == r.status {
		if status == proto.StatusSuspect {
			r.own().why = why
		}
		return
	}
	was := r.isLiving()
	r.status, r.since = status, d.clock(now)
	if why != r.more().why {
		r.own().why = why
	}
	if r.recent && status != proto.StatusDown {
		r.recent = false
		d.nRecent--
	}
	switch {
	case was && !r.isLiving():
		d.living--
		d.inquiries.Delete(r.ID())
		if status == proto.StatusDown && !r.superseded {
			d.wasCertified(now, r)
		}
	case !was && r.isLiving():
		d.living++
	}
	d.note(now, r)
}

// certified says when a member was certified down.
type certified struct {
	r  *record
	at time.Time
}

// wasCertified counts a fresh death: for a while the dead count among those who
// could have borne witness, and many of them at once call for a sweep.
func (d *Directory) wasCertified(now time.Time, r *record) {
	if !r.recent {
		r.recent = true
		d.nRecent++
	}
	d.recent = append(d.recent, certified{r, now})
	if d.sweeping {
		return
	}
	few := (d.living + d.nRecent) * d.cfg.SweepShare / 100
	n := 0
	for i := len(d.recent) - 1; i >= 0 && n <= few && now.Sub(d.recent[i].at) <= d.cfg.SweepWindow; i-- {
		n++
	}
	if n > few {
		d.sweep(now)
	}
}

// members is how many count as living, self included: the living, and those
// certified lately.
func (d *Directory) members(now time.Time) int {
	for len(d.recent) > 0 && now.Sub(d.recent[0].at) > d.cfg.RecentFor {
		old := d.recent[0]
		d.recent = d.recent[1:]
		if old.r.recent && d.clock(now)-old.r.since >= d.cfg.RecentFor {
			old.r.recent = false
			d.nRecent--
		}
	}
	return d.living + d.nRecent
}

// bury takes a tombstone: what is at or below it is dead and gone. A living
// owner answers with its next incarnation.
func (d *Directory) bury(now time.Time, t proto.Tombstone, from peer.ID, out *proto.Out) bool {
	if t.ID.IsZero() || t.Birth == 0 || t.Birth > birthMax || t.Incarnation < t.Birth || t.Incarnation-t.Birth > jumpMax {
		d.ignore("incarnation_jump", from, out)
		return false
	}
	if t.ID == d.self.ID() {
		if d.newborn || d.leaving || t.Incarnation < d.self.entry.Incarnation {
			return false
		}
		return d.comeBack(now, t.Incarnation, out)
	}
	if have, ok := d.tombs.Get(t.ID); ok && have.entry.Incarnation >= t.Incarnation {
		return false
	}
	if d.tombs.Len() >= d.cfg.TombsMax {
		d.dropOldestTomb()
	}
	dead := entomb(t)
	d.tombs.Put(t.ID, tomb{dead, d.clock(now)})
	if r, ok := d.records.Get(t.ID); ok && r.entry.Incarnation <= t.Incarnation {
		d.remove(now, r)
	}
	d.claimName(now, dead, out)
	return true
}

// remove takes a record out of the directory.
func (d *Directory) remove(now time.Time, r *record) {
	id, was := r.ID(), d.share(r)
	r.gone = true
	d.recount(r, was)
	if r.isLiving() {
		d.living--
	}
	if r.recent {
		r.recent = false
		d.nRecent--
	}
	d.inquiries.Delete(id)
	d.dirty.Remove(id)
	d.records.Delete(id)
	d.note(now, r)
}

// purge turns a dead record into a tombstone.
func (d *Directory) purge(now time.Time, r *record) {
	e := r.entry
	if d.tombs.Len() >= d.cfg.TombsMax {
		d.dropOldestTomb()
	}
	dead := entomb(proto.Tombstone{ID: e.ID, Name: e.Name, Birth: e.Birth, Incarnation: max(e.Incarnation, r.more().down)})
	d.tombs.Put(e.ID, tomb{dead, d.clock(now)})
	d.names.enter(dead)
	d.remove(now, r)
}

// purgeDue ages the dead: records become tombstones, tombstones are forgotten.
func (d *Directory) purgeDue(now time.Time) {
	if now.Before(d.purgeAt) {
		return
	}
	d.purgeAt = now.Add(purgeEvery)
	var old []*record
	for r := range d.records.All() {
		if r != d.self && !r.isLiving() && d.clock(now)-r.since >= d.cfg.PurgeAfter {
			old = append(old, r)
		}
	}
	for _, r := range old {
		d.purge(now, r)
	}
	var expired []peer.ID
	for id, t := range d.tombs.All() {
		if d.clock(now)-t.at >= d.cfg.TombFor {
			expired = append(expired, id)
		}
	}
	for _, id := range expired {
		d.dropTomb(id)
	}
	d.members(now)
}

// makeRoom purges the longest dead before its time and tells whether there was one.
func (d *Directory) makeRoom(now time.Time) bool {
	var oldest *record
	for r := range d.records.All() {
		if r != d.self && !r.isLiving() && (oldest == nil || r.since < oldest.since) {
			oldest = r
		}
	}
	if oldest != nil {
		d.purge(now, oldest)
	}
	return oldest != nil
}

func (d *Directory) dropOldestTomb() {
	var oldest peer.ID
	var at time.Duration
	for id, t := range d.tombs.All() {
		if oldest.IsZero() || t.at < at {
			oldest, at = id, t.at
		}
	}
	d.dropTomb(oldest)
}

func (d *Directory) dropTomb(id peer.ID) {
	t, _ := d.tombs.Get(id)
	d.tombs.Delete(id)
	if !d.records.Has(id) {
		d.names.drop(t.entry.Name, id)
	}
}
