package directory

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// names lists by name who claims it: the entries of all processes that are known
// or have a tombstone. Of one name the highest (birth, ID) comes first, and holds
// it. Births are compared, never incarnations: those of an older process, even a
// dead one, rise above a newer's when it refutes.
type names []*proto.Entry

func byName(a, b *proto.Entry) int {
	if c := strings.Compare(a.Name, b.Name); c != 0 {
		return c
	}
	if c := cmp.Compare(b.Birth, a.Birth); c != 0 {
		return c
	}
	return b.ID.Compare(a.ID)
}

// span is where the claims on one name are.
func (n names) span(name string) (first, end int) {
	first, _ = slices.BinarySearchFunc(n, name, func(e *proto.Entry, name string) int { return strings.Compare(e.Name, name) })
	for end = first; end < len(n) && n[end].Name == name; {
		end++
	}
	return first, end
}

// claims are those on one name, the holder's first.
func (n names) claims(name string) []*proto.Entry {
	first, end := n.span(name)
	return n[first:end]
}

// enter puts in a process, or its present entry in place of a former. It tells
// who is thereby not the first of its name, if anybody: the process itself, or
// whoever was.
func (n *names) enter(e *proto.Entry) (loser peer.ID) {
	all := *n
	i, known := slices.BinarySearchFunc(all, e, byName)
	switch {
	case known:
		all[i] = e
		return peer.ID{}
	case i > 0 && all[i-1].Name == e.Name:
		loser = e.ID
	case i < len(all) && all[i].Name == e.Name:
		loser = all[i].ID
	}
	*n = slices.Insert(all, i, e)
	return loser
}

// drop takes back what a process claims.
func (n *names) drop(name string, id peer.ID) {
	first, end := n.span(name)
	left := slices.DeleteFunc((*n)[first:end], func(e *proto.Entry) bool { return e.ID == id })
	*n = slices.Delete(*n, first+len(left), end)
}

// claimName enters a process under its name. Whoever is not first of its name is
// superseded, for good.
func (d *Directory) claimName(now time.Time, e *proto.Entry, out *proto.Out) {
	if loser := d.names.enter(e); !loser.IsZero() {
		d.supersede(now, loser, out)
	}
}

// supersede marks one process as replaced by a newer one of its name.
func (d *Directory) supersede(now time.Time, id peer.ID, out *proto.Out) {
	r, ok := d.records.Get(id)
	if !ok || r.superseded {
		return
	}
	r.superseded = true
	if r == d.self {
		name := r.entry.Name
		d.Leave(now, out)
		d.end("superseded: a newer process is called "+name, out)
		return
	}
	d.relist(r) // shown as superseded, though its status may stay down
	d.setStatus(now, r)
}

// Admission answers whether a node may join.
type Admission uint8

const (
	// Admitted: nobody living has its name, or it may take it.
	Admitted Admission = iota + 1
	// Undecided: the holder of its name is being probed; ask again after the
	// next Wake. It takes ProbeTimeout at most.
	Undecided
	// NameInUse: the holder of its name lives.
	NameInUse
	// Superseded: this very node left or was superseded; it never returns.
	Superseded
)

// admission is a newcomer whose name is held by somebody.
type admission struct {
	holder peer.ID
	at     time.Time // asked or answered
	answer Admission
}

// Bounds of the admissions remembered: how long an answer counts, how many.
const (
	admissionFor  = 5 * time.Second
	admissionsMax = 256
)

// Admit tells whether a node that asks to join may have its name. With shared
// certificates a name is a claim, and its living holder keeps it: the contact
// that was asked probes the holder first.
func (d *Directory) Admit(now time.Time, newcomer proto.PeerInfo, out *proto.Out) Admission {
	if r, known := d.records.Get(newcomer.ID); known && r != d.self {
		if r.superseded || r.status == proto.StatusLeft {
			return Superseded
		}
		return Admitted
	}
	holder := d.holder(newcomer)
	if d.cfg.PerNode || holder == nil {
		return Admitted
	}
	if holder == d.self {
		return NameInUse // we live
	}
	if a, ok := d.admitting.Get(newcomer.ID); ok && a.holder == holder.ID() && now.Sub(a.at) < admissionFor {
		return a.answer
	}
	if d.admitting.Len() >= admissionsMax {
		d.forgetAdmissions(now)
	}
	if d.admitting.Len() >= admissionsMax || !d.probe(now, holder, forName, out) {
		return Undecided // too many at once: later
	}
	d.admitting.Put(newcomer.ID, &admission{holder.ID(), now, Undecided})
	return Undecided
}

// holder is the living process that has a newcomer's name, or nil.
func (d *Directory) holder(newcomer proto.PeerInfo) *record {
	claims := d.names.claims(newcomer.Name)
	if len(claims) == 0 || claims[0].ID == newcomer.ID {
		return nil
	}
	r, ok := d.records.Get(claims[0].ID)
	if !ok || !r.isLiving() {
		return nil
	}
	return r
}

// nameProbed answers all newcomers that wait for a holder.
func (d *Directory) nameProbed(now time.Time, holder peer.ID, lives bool, out *proto.Out) {
	answer, ours := Admitted, false
	if lives {
		answer = NameInUse
	}
	for id, a := range d.admitting.All() {
		if a.holder == holder && a.answer == Undecided {
			a.at, a.answer = now, answer
			ours = ours || id == d.self.ID()
		}
	}
	if ours {
		d.met(now, out)
	}
}

func (d *Directory) forgetAdmissions(now time.Time) {
	for _, id := range d.admitting.Keys() {
		if a, _ := d.admitting.Get(id); now.Sub(a.at) >= admissionFor {
			d.admitting.Delete(id)
		}
	}
}
