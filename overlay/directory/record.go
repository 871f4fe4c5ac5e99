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

// record is what is known of one node. A cluster of N nodes keeps N times N of
// them, so it is small: what is to be known of few nodes only stands in rest.
type record struct {
	entry *proto.Entry  // never changed, only replaced
	rest  *rest         // nil: nothing to be known; read through more, written through own
	since time.Duration // when the status began, on Directory.clock

	status     proto.Status
	told       proto.Status // as applications were last told it, alive or suspect; zero: not up
	bucket     uint8
	superseded bool // a newer process has its name; never false again
	recent     bool // counted in Directory.recent
	pending    bool // in Directory.changed
	unlisted   bool // in Directory.unlisted
	gone       bool // no longer in the directory
}

// rest is the part of a record that most have not got.
type rest struct {
	down     uint64       // certified down up to this incarnation
	opinions []opinion    // sorted by author; all on the entry's very incarnation and version
	why      string       // the evidence for the status
	heard    time.Time    // first-hand only; of a neighbour its link may know better
	told     *proto.Entry // as applications were last told it; nil: as it is now
}

// nothing is the rest of a record that has none.
var nothing rest

// more is the rest of the record, to be read only.
func (r *record) more() *rest {
	if r.rest == nil {
		return &nothing
	}
	return r.rest
}

// own is the rest of the record, to be written.
func (r *record) own() *rest {
	if r.rest == nil {
		r.rest = &rest{}
	}
	return r.rest
}

// opinion is one node's word, and when this value of it first came to us.
type opinion struct {
	proto.Opinion
	got time.Time
}

// ID is that of the node.
func (r *record) ID() peer.ID { return r.entry.ID }

// Group is the bucket that the node belongs to.
func (r *record) Group() uint8 { return r.bucket }

// isLiving tells whether the node takes part: alive or suspect.
func (r *record) isLiving() bool {
	return r.status == proto.StatusAlive || r.status == proto.StatusSuspect
}

// export is the record as it travels.
func (r *record) export() proto.Record {
	return proto.Record{Entry: r.entry, Down: r.more().down, Opinions: r.more().words()}
}

// words are the opinions as others may see them; nil if there are none.
func (m *rest) words() (list []proto.Opinion) {
	for i := range m.opinions {
		list = append(list, m.opinions[i].Opinion)
	}
	return list
}

// is tells whether the record would travel as this one.
func (r *record) is(rec *proto.Record) bool {
	m := r.more()
	return r.entry.Equal(rec.Entry) && m.down == rec.Down &&
		slices.EqualFunc(m.opinions, rec.Opinions, func(have opinion, o proto.Opinion) bool { return have.Opinion == o })
}

// hash is the record's share of the digest. Shares are added, so that a change
// costs the same whatever the number of members.
func (r *record) hash() uint64 {
	m := r.more()
	sum := hashEntry(r.entry) + hashDown(r.ID(), m.down)
	for i := range m.opinions {
		sum += hashOpinion(&m.opinions[i].Opinion)
	}
	return sum
}

// setEntry replaces the entry. Applications may yet have to hear the end of the
// one that they were told of.
func (r *record) setEntry(e *proto.Entry) {
	if r.told != 0 && r.more().told == nil {
		r.own().told = r.entry
	}
	r.entry = e
}

// toldEntry is the entry that applications know as up, or nil.
func (r *record) toldEntry() *proto.Entry {
	switch was := r.more().told; {
	case r.told == 0:
		return nil
	case was != nil:
		return was
	}
	return r.entry
}

// tell notes that applications know the record as it is now, or as not up: zero.
func (r *record) tell(status proto.Status) {
	r.told = status
	if r.rest != nil {
		r.rest.told = nil
	}
}

// join merges what came into the record and tells whether that changed it.
// Joining is commutative, associative and idempotent, and nothing falls.
func (r *record) join(now time.Time, rec *proto.Record) bool {
	changed := false
	if r.entry == nil || replaces(rec.Entry, r.entry) {
		r.setEntry(rec.Entry)
		changed = true
	}
	if rec.Down > r.more().down {
		r.own().down, changed = rec.Down, true
	}
	for i := range rec.Opinions {
		if r.matters(&rec.Opinions[i]) && r.put(now, rec.Opinions[i]) {
			changed = true
		}
	}
	if changed && len(r.more().opinions) > 0 {
		r.rest.opinions = slices.DeleteFunc(r.rest.opinions, func(o opinion) bool { return !r.matters(&o.Opinion) })
		r.rest.boundOpinions()
	}
	return changed
}

// replaces tells whether entry a takes the place of b. The last word is final
// whatever follows it; the hash only decides what honest owners never write.
func replaces(a, b *proto.Entry) bool {
	switch {
	case a.Left != b.Left:
		return a.Left
	case a.Incarnation != b.Incarnation || a.Version != b.Version:
		return a.Newer(b)
	}
	return !a.Equal(b) && hashEntry(a) > hashEntry(b)
}

// matters tells whether an opinion is on the entry as it is now: an answer of
// the accused voids it, and so do a certificate and the last word.
func (r *record) matters(o *proto.Opinion) bool {
	return o.Incarnation == r.entry.Incarnation && o.Version == r.entry.Version && r.more().down < r.entry.Incarnation && !r.entry.Left
}

// put sets one author's register and tells whether that changed it.
func (r *record) put(now time.Time, o proto.Opinion) bool {
	m := r.own()
	i, found := slices.BinarySearchFunc(m.opinions, o.Author, func(have opinion, id peer.ID) int { return have.Author.Compare(id) })
	if !found {
		m.opinions = slices.Insert(m.opinions, i, opinion{o, now})
		return true
	}
	have := &m.opinions[i].Opinion
	if o.Counter < have.Counter || *have == o {
		return false
	}
	// Only a forger writes two values under one counter; any order will do.
	if o.Counter == have.Counter && hashOpinion(&o) < hashOpinion(have) {
		return false
	}
	m.opinions[i] = opinion{o, now}
	return true
}

// boundOpinions keeps those that decide most: denials, then the best ranks.
// Honest authors stay below the bound by far.
func (m *rest) boundOpinions() {
	if len(m.opinions) <= proto.MaxOpinions {
		return
	}
	slices.SortFunc(m.opinions, func(a, b opinion) int {
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
	m.opinions = slices.Clip(m.opinions[:proto.MaxOpinions])
	slices.SortFunc(m.opinions, func(a, b opinion) int { return a.Author.Compare(b.Author) })
}

// opinionBy returns the author's standing opinion, or nil.
func (r *record) opinionBy(author peer.ID) *opinion {
	for i := range r.more().opinions {
		if o := &r.rest.opinions[i]; o.Author == author {
			return o
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
