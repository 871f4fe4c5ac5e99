package directory

import (
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
		d.roster = &proto.Roster{Self: d.self.id(), Revision: d.revision, Component: d.component, Members: d.listed}
	}
	return d.roster
}

// Len is how many members the roster has.
func (d *Directory) Len() int { return d.records.Len() }

// list brings the roster's members up to date: the last ones, with what changed
// since in its place. Of thousands a few change at a time, and copying pointers
// costs a tenth of visiting the records.
func (d *Directory) list() {
	if len(d.unlisted) == 0 {
		return
	}
	members := make([]*proto.Member, 0, d.records.Len())
	if 8*len(d.unlisted) > d.records.Len() {
		for _, r := range d.records.All() {
			members = append(members, r.shown())
		}
	} else {
		// Stable: a record that is gone comes before the one in its place.
		slices.SortStableFunc(d.unlisted, func(a, b *record) int { return a.id().Compare(b.id()) })
		rest := d.listed
		for _, r := range d.unlisted {
			i, had := slices.BinarySearchFunc(rest, r.id(), func(m *proto.Member, id peer.ID) int { return m.Entry.ID.Compare(id) })
			members = append(members, rest[:i]...)
			if rest = rest[i:]; had {
				rest = rest[1:]
			}
			if !r.gone {
				members = append(members, r.shown())
			}
		}
		members = append(members, rest...)
	}
	for _, r := range d.unlisted {
		r.unlisted = false
	}
	clear(d.unlisted)
	d.listed, d.unlisted = members, d.unlisted[:0]
	mustHold(len(members) == d.records.Len(), "the roster has everybody")
}

// Member is what is known of one node, or nil. Heard is as of the member's last
// change: a sign of life alone does not make a new one.
func (d *Directory) Member(id peer.ID) *proto.Member {
	r, ok := d.records.Get(id)
	if !ok {
		return nil
	}
	return r.shown()
}

// Self is what this node says of itself. It must not be changed.
func (d *Directory) Self() *proto.Entry { return d.self.entry }

// shown is the record as the roster shows it.
func (r *record) shown() *proto.Member {
	if r.member == nil {
		r.member = &proto.Member{
			Entry: r.entry, Status: r.status, Since: r.since, Down: r.down, Why: r.why, Heard: r.heard, Superseded: r.superseded,
		}
		for i := range r.opinions {
			r.member.Accused = append(r.member.Accused, r.opinions[i].Opinion)
		}
	}
	return r.member
}

// relist has the record shown anew.
func (d *Directory) relist(r *record) {
	r.member, d.roster = nil, nil
	if !r.unlisted {
		r.unlisted = true
		d.unlisted = append(d.unlisted, r)
	}
}

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
	slices.SortFunc(d.changed, func(a, b *record) int { return a.id().Compare(b.id()) })
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
	was := r.told
	same := was != nil && (r == d.self || was.Entry.Incarnation == r.entry.Incarnation)
	if was == nil || (same && !r.gone && r.isLiving()) {
		return proto.MemberChange{}, false
	}
	r.told = nil
	if same && !r.gone {
		kind := proto.ChangeDown
		if r.status == proto.StatusLeft {
			kind = proto.ChangeLeft
		}
		return proto.MemberChange{Kind: kind, Member: r.shown()}, true
	}
	m := *was
	m.Status, m.Since, m.Down, m.Why = proto.StatusDown, now, max(r.down, was.Entry.Incarnation), "came back as a newer incarnation"
	if r.gone {
		m.Why = "buried by a tombstone"
	}
	return proto.MemberChange{Kind: proto.ChangeDown, Member: &m}, true
}

// begun appends what is new about a record that is up.
func (d *Directory) begun(list []proto.MemberChange, r *record) []proto.MemberChange {
	if r.gone || !r.isLiving() {
		return list
	}
	m, was := r.shown(), r.told
	r.told = m
	suspected := false
	if was == nil {
		list = append(list, proto.MemberChange{Kind: proto.ChangeUp, Member: m})
	} else {
		suspected = was.Status == proto.StatusSuspect
		if was.Entry != m.Entry {
			list = append(list, proto.MemberChange{Kind: proto.ChangeUpdated, Member: m})
		}
	}
	switch suspect := m.Status == proto.StatusSuspect; {
	case suspect && !suspected:
		list = append(list, proto.MemberChange{Kind: proto.ChangeSuspect, Member: m})
	case !suspect && suspected:
		list = append(list, proto.MemberChange{Kind: proto.ChangeUnsuspect, Member: m})
	}
	return list
}
