package directory

import (
	"cmp"
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// claim is one process's claim on a name. The highest (birth, ID) holds it.
// Births are compared, never incarnations: those of an older process, even a
// dead one, rise above a newer's when it refutes.
type claim struct {
	birth uint64
	id    peer.ID
}

// newestFirst orders claims, the holder first.
func newestFirst(a, b claim) int {
	return cmp.Or(cmp.Compare(b.birth, a.birth), b.id.Compare(a.id))
}

// claimName enters a process under its name. Whoever is not first of its name
// is superseded, for good.
func (d *Directory) claimName(now time.Time, name string, birth uint64, id peer.ID, out *proto.Out) {
	claims, c := d.names[name], claim{birth, id}
	i, known := slices.BinarySearchFunc(claims, c, newestFirst)
	if known {
		return
	}
	loser := id
	if i == 0 && len(claims) > 0 {
		loser = claims[0].id // before the insertion: it may move the claims in place
	}
	d.names[name] = slices.Insert(claims, i, c)
	if len(claims) > 0 {
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

func (d *Directory) dropClaim(name string, id peer.ID) {
	left := slices.DeleteFunc(d.names[name], func(c claim) bool { return c.id == id })
	if len(left) == 0 {
		delete(d.names, name)
	} else {
		d.names[name] = left
	}
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
	if a, ok := d.admitting.Get(newcomer.ID); ok && a.holder == holder.id() && now.Sub(a.at) < admissionFor {
		return a.answer
	}
	if d.admitting.Len() >= admissionsMax {
		d.forgetAdmissions(now)
	}
	if d.admitting.Len() >= admissionsMax || !d.probe(now, holder, forName, out) {
		return Undecided // too many at once: later
	}
	d.admitting.Put(newcomer.ID, &admission{holder.id(), now, Undecided})
	return Undecided
}

// holder is the living process that has a newcomer's name, or nil.
func (d *Directory) holder(newcomer proto.PeerInfo) *record {
	claims := d.names[newcomer.Name]
	if len(claims) == 0 || claims[0].id == newcomer.ID {
		return nil
	}
	r, ok := d.records.Get(claims[0].id)
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
			ours = ours || id == d.self.id()
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
