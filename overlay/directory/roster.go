package directory

import (
	"iter"
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// Roster is everybody known, until something changes always the same value.
// Members that are down or left stay in it until they are purged.
func (d *Directory) Roster() *proto.Roster {
	if d.roster == nil {
		d.list()
		d.roster = &proto.Roster{Self: d.self.ID(), Revision: d.revision, Component: d.component, Members: d.listed}
	}
	return d.roster
}

// Len is how many members the roster has.
func (d *Directory) Len() int { return d.records.Len() }

// list brings the roster's members up to date: the last ones, with what changed
// since in its place. Of thousands a few change at a time, and copying pointers
// costs a tenth of visiting the records. The first time all is new.
func (d *Directory) list() {
	if d.listed == nil {
		d.unlisted = slices.AppendSeq(make([]*record, 0, d.records.Len()), d.records.All())
	}
	if len(d.unlisted) == 0 {
		return
	}
	// Stable: a record that is gone comes before the one in its place.
	slices.SortStableFunc(d.unlisted, func(a, b *record) int { return a.ID().Compare(b.ID()) })
	members, last := make([]*proto.Member, 0, d.records.Len()), d.listed
	for _, r := range d.unlisted {
		i, had := slices.BinarySearchFunc(last, r.ID(), func(m *proto.Member, id peer.ID) int { return m.Entry.ID.Compare(id) })
		members = append(members, last[:i]...)
		if last = last[i:]; had {
			last = last[1:]
		}
		if !r.gone {
			members = append(members, d.shown(r))
		}
	}
	d.forgetUnlisted()
	d.listed = append(members, last...)
	mustHold(len(d.listed) == d.records.Len(), "the roster has everybody")
}

// relist has the record shown anew. A list in which all would be new is not kept:
// nobody has asked for it for long.
func (d *Directory) relist(r *record) {
	d.roster = nil
	switch {
	case d.listed == nil || r.unlisted:
	case len(d.unlisted) >= d.records.Len():
		d.forgetUnlisted()
		d.listed = nil
	default:
		r.unlisted = true
		d.unlisted = append(d.unlisted, r)
	}
}

func (d *Directory) forgetUnlisted() {
	for _, r := range d.unlisted {
		r.unlisted = false
	}
	d.unlisted = nil
}

// Members are everybody known, in the order of the IDs: what Roster holds, made
// one after another and kept nowhere. The directory must not change meanwhile.
func (d *Directory) Members() iter.Seq[proto.Member] {
	return func(yield func(proto.Member) bool) {
		for r := range d.records.All() {
			if !yield(d.member(r)) {
				return
			}
		}
	}
}

// Member is what is known of one node, made for the caller, or nil.
func (d *Directory) Member(id peer.ID) *proto.Member {
	r, ok := d.records.Get(id)
	if !ok {
		return nil
	}
	return d.shown(r)
}

// Ended tells whether a node is down or has left, and its last incarnation.
func (d *Directory) Ended(id peer.ID) (last uint64, over bool) {
	r, ok := d.records.Get(id)
	if !ok || r.status != proto.StatusDown && r.status != proto.StatusLeft {
		return 0, false
	}
	return max(r.more().down, r.entry.Incarnation), true
}

// member is the record for others. Its time is told by the clock as it stands
// now: what was measured is how long ago that was.
func (d *Directory) member(r *record) proto.Member {
	m := r.more()
	return proto.Member{
		Entry: r.entry, Status: r.status, Since: d.last.Add(r.since - d.clock(d.last)),
		Down: m.down, Why: m.why, Heard: d.heard(r), Accused: m.words(), Superseded: r.superseded,
	}
}

func (d *Directory) shown(r *record) *proto.Member {
	m := d.member(r)
	return &m
}

// Self is what this node says of itself. It must not be changed.
func (d *Directory) Self() *proto.Entry { return d.self.entry }

// Revision counts what happened to members: while it stays, so do their entries
// and who of them lives.
func (d *Directory) Revision() uint64 { return d.revision }

// note says that something about the record changed.
func (d *Directory) note(now time.Time, r *record) {
	d.relist(r)
	d.revision++
	if r.pending {
		return
	}
	r.pending = true
	d.changed = append(d.changed, r)
	if d.notifyAt.IsZero() {
		d.notifyAt = now.Add(d.cfg.NotifyAfter)
	}
}

// notifyDue tells applications what is different from what they were told
// last, whatever happened in between. All that ended comes before all that
// began, so that a name is never up twice.
func (d *Directory) notifyDue(now time.Time, out *proto.Out) {
	if d.notifyAt.IsZero() || now.Before(d.notifyAt) {
		return
	}
	d.notifyAt = time.Time{}
	slices.SortFunc(d.changed, func(a, b *record) int { return a.ID().Compare(b.ID()) })
	var ended, began []proto.MemberChange
	for _, r := range d.changed {
		r.pending = false
		if end, ok := d.ended(now, r); ok {
			ended = append(ended, end)
		}
		began = d.begun(began, r)
	}
	d.changed = nil
	if all := append(ended, began...); len(all) > 0 {
		out.Add(proto.MembersChanged{Changes: all})
	}
}

// ended tells of the incarnation that applications know as up whether it is
// not any more. Exactly one such change follows each up (D11, M11).
func (d *Directory) ended(now time.Time, r *record) (proto.MemberChange, bool) {
	was := r.toldEntry()
	same := was != nil && (r == d.self || was.Incarnation == r.entry.Incarnation)
	if was == nil || (same && !r.gone && r.isLiving()) {
		return proto.MemberChange{}, false
	}
	r.tell(0)
	if same && !r.gone {
		kind := proto.ChangeDown
		if r.status == proto.StatusLeft {
			kind = proto.ChangeLeft
		}
		return proto.MemberChange{Kind: kind, Member: d.shown(r)}, true
	}
	why := "came back as a newer incarnation"
	if r.gone {
		why = "buried by a tombstone"
	}
	return proto.MemberChange{Kind: proto.ChangeDown, Member: &proto.Member{
		Entry: was, Status: proto.StatusDown, Since: now, Down: max(r.more().down, was.Incarnation), Why: why, Heard: d.heard(r),
	}}, true
}

// begun appends what is new about a record that is up.
func (d *Directory) begun(list []proto.MemberChange, r *record) []proto.MemberChange {
	was, suspected := r.toldEntry(), r.told == proto.StatusSuspect
	if r.gone || !r.isLiving() || (was == r.entry && r.told == r.status) {
		return list
	}
	r.tell(r.status)
	m := d.shown(r)
	switch {
	case was == nil:
		list = append(list, proto.MemberChange{Kind: proto.ChangeUp, Member: m})
	case was != r.entry:
		list = append(list, proto.MemberChange{Kind: proto.ChangeUpdated, Member: m})
	}
	switch suspect := r.status == proto.StatusSuspect; {
	case suspect && !suspected:
		list = append(list, proto.MemberChange{Kind: proto.ChangeSuspect, Member: m})
	case !suspect && suspected:
		list = append(list, proto.MemberChange{Kind: proto.ChangeUnsuspect, Member: m})
	}
	return list
}
