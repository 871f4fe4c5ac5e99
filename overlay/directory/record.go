package directory

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// Bounds on numbers that others write. They are absolute: whether a record is
// taken must not depend on what is already known, or the order of arrival would
// show. A number beyond its bound leaves its owner no room to answer.
const (
	birthMax   = 1 << 48 // milliseconds since 1970: the year 10889
	jumpMax    = 1 << 20 // incarnations above birth: how often one process may come back
	versionMax = 1 << 32
	counterMax = 1 << 48
)

// record is what is known of one node.
type record struct {
	entry     *proto.Entry // never changed, only replaced
	entryHash uint64
	down      uint64    // certified down up to this incarnation
	opinions  []opinion // sorted by author; all on the entry's very incarnation and version

	share  uint64 // of the digest, as it is counted in there now
	bucket uint8

	status     proto.Status
	since      time.Time
	why        string
	heard      time.Time // first-hand only
	superseded bool      // a newer process has its name; never false again
	recent     bool      // counted in Directory.recent

	member   *proto.Member // as the roster shows it; nil: make it anew
	told     *proto.Member // as applications were last told it; nil: not up
	pending  bool          // in Directory.changed
	unlisted bool          // in Directory.unlisted
	gone     bool          // no longer in the directory
}

// opinion is one node's word, and when this value of it first came to us.
type opinion struct {
	proto.Opinion
	got time.Time
}

func (r *record) id() peer.ID { return r.entry.ID }

// isLiving tells whether the node takes part: alive or suspect.
func (r *record) isLiving() bool {
	return r.status == proto.StatusAlive || r.status == proto.StatusSuspect
}

// export is the record as it travels.
func (r *record) export() proto.Record {
	rec := proto.Record{Entry: r.entry, Down: r.down}
	for i := range r.opinions {
		rec.Opinions = append(rec.Opinions, r.opinions[i].Opinion)
	}
	return rec
}

// hash is the record's share of the digest: hashRecord of what it exports.
func (r *record) hash() uint64 {
	sum := r.entryHash + hashDown(r.id(), r.down)
	for i := range r.opinions {
		sum += hashOpinion(&r.opinions[i].Opinion)
	}
	return sum
}

func (r *record) setEntry(e *proto.Entry, hash uint64) { r.entry, r.entryHash = e, hash }

// join merges what came into the record and tells whether that changed it.
// Joining is commutative, associative and idempotent, and nothing falls.
func (r *record) join(now time.Time, rec *proto.Record) bool {
	changed := false
	if hash := hashEntry(rec.Entry); r.entry == nil || replaces(rec.Entry, hash, r.entry, r.entryHash) {
		r.setEntry(rec.Entry, hash)
		changed = true
	}
	if rec.Down > r.down {
		r.down, changed = rec.Down, true
	}
	for i := range rec.Opinions {
		if r.matters(&rec.Opinions[i]) && r.put(now, rec.Opinions[i]) {
			changed = true
		}
	}
	if changed {
		r.opinions = slices.DeleteFunc(r.opinions, func(o opinion) bool { return !r.matters(&o.Opinion) })
		r.boundOpinions()
	}
	return changed
}

// replaces tells whether entry a takes the place of b. The last word is final
// whatever follows it; the hash only decides what honest owners never write.
func replaces(a *proto.Entry, hashA uint64, b *proto.Entry, hashB uint64) bool {
	switch {
	case a.Left != b.Left:
		return a.Left
	case a.Incarnation != b.Incarnation || a.Version != b.Version:
		return a.Newer(b)
	}
	return hashA > hashB
}

// matters tells whether an opinion is on the entry as it is now: an answer of
// the accused voids it, and so do a certificate and the last word.
func (r *record) matters(o *proto.Opinion) bool {
	return o.Incarnation == r.entry.Incarnation && o.Version == r.entry.Version && r.down < r.entry.Incarnation && !r.entry.Left
}

// put sets one author's register and tells whether that changed it.
func (r *record) put(now time.Time, o proto.Opinion) bool {
	i, found := slices.BinarySearchFunc(r.opinions, o.Author, func(have opinion, id peer.ID) int { return have.Author.Compare(id) })
	if !found {
		r.opinions = slices.Insert(r.opinions, i, opinion{o, now})
		return true
	}
	have := &r.opinions[i].Opinion
	if o.Counter < have.Counter || *have == o {
		return false
	}
	// Only a forger writes two values under one counter; any order will do.
	if o.Counter == have.Counter && hashOpinion(&o) < hashOpinion(have) {
		return false
	}
	r.opinions[i] = opinion{o, now}
	return true
}

// boundOpinions keeps those that decide most: denials, then the best ranks.
// Honest authors stay below the bound by far.
func (r *record) boundOpinions() {
	if len(r.opinions) <= proto.MaxOpinions {
		return
	}
	slices.SortFunc(r.opinions, func(a, b opinion) int {
		if a.Accuse != b.Accuse {
			if b.Accuse {
				return -1
			}
			return 1
		}
		if rankOf(a.Accused, a.Incarnation, a.Author) < rankOf(b.Accused, b.Incarnation, b.Author) {
			return -1
		}
		return 1
	})
	r.opinions = slices.Clip(r.opinions[:proto.MaxOpinions])
	slices.SortFunc(r.opinions, func(a, b opinion) int { return a.Author.Compare(b.Author) })
}

// opinionBy returns the author's standing opinion, or nil.
func (r *record) opinionBy(author peer.ID) *opinion {
	for i := range r.opinions {
		if r.opinions[i].Author == author {
			return &r.opinions[i]
		}
	}
	return nil
}

// invalid says why a record cannot be what an honest node sent, or nothing.
func invalid(rec *proto.Record) string {
	e := rec.Entry
	switch {
	case e.ID.IsZero():
		return "entry_without_id"
	case e.Birth == 0 || e.Birth > birthMax || e.Incarnation < e.Birth || e.Incarnation-e.Birth > jumpMax:
		return "incarnation_jump"
	case e.Version > versionMax:
		return "version_jump"
	case rec.Down > e.Incarnation:
		return "certificate_ahead"
	case len(rec.Opinions) > proto.MaxOpinions:
		return "too_many_opinions"
	}
	for i := range rec.Opinions {
		switch o := &rec.Opinions[i]; {
		case o.Accused != e.ID || o.Author == e.ID || o.Author.IsZero():
			return "opinion_misplaced"
		case o.Counter > counterMax:
			return "counter_jump"
		case o.Incarnation > e.Incarnation || (o.Incarnation == e.Incarnation && o.Version > e.Version):
			return "opinion_ahead"
		}
	}
	return ""
}

// sizeOf estimates a record's bytes in a frame, from above.
func sizeOf(rec *proto.Record) int {
	n := 64 + 80*len(rec.Opinions)
	if rec.Tomb != nil {
		n += 48 + len(rec.Tomb.Name)
	}
	e := rec.Entry
	if e == nil {
		return n
	}
	n += 96 + len(e.Name) + len(e.Zone)
	for _, list := range [][]string{e.Addrs, e.Handlers, e.Groups} {
		for _, s := range list {
			n += 4 + len(s)
		}
	}
	for _, t := range e.Tags {
		n += 8 + len(t.Key) + len(t.Value)
	}
	return n
}
