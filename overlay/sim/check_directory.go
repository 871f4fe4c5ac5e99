package sim

import (
	"slices"

	"github.com/starlingmesh/starling/overlay/proto"
)

// directoryChecks: D1, D2, D4, D6, M11.
type directoryChecks struct {
	world *World
	of    []*knownTo       // by observer
	truth [][]*proto.Entry // by process: what it said of itself, in order

	accused proto.Entry // D4: what stood accused in the input of this step; zero ID: nothing
	down    uint64      // and up to which incarnation it was certified down
}

// knownTo is what one node knew and told, by process.
type knownTo struct {
	roster  *proto.Roster // at the last look
	entries []*proto.Entry
	told    []toldOf
}

// toldOf is what applications at one node were told about one process.
type toldOf struct {
	up    bool
	inc   uint64 // of the incarnation that is up, or was last
	never bool   // it left: nothing may follow
}

func (d *directoryChecks) started(n *Node) {
	d.of = append(d.of, &knownTo{})
	d.truth = append(d.truth, []*proto.Entry{n.core.Self()})
}

// entry is what the process last said of itself.
func (d *directoryChecks) entry(n *Node) *proto.Entry {
	all := d.truth[n.Index]
	return all[len(all)-1]
}

// before notes what an input says against the node itself.
func (d *directoryChecks) before(n *Node, in proto.Input) {
	d.accused, d.down = proto.Entry{}, 0
	r, ok := in.(proto.Received)
	if !ok {
		return
	}
	var records []proto.Record
	switch m := r.Msg.(type) {
	case proto.SyncRecords:
		records = m.Records
	case proto.Gossip:
		if b, ok := m.Body.(proto.DirectoryBody); ok {
			records = b.Records
		}
	default:
		return
	}
	self := n.core.Self()
	for i := range records {
		e := records[i].Entry
		if e == nil || e.ID != n.ID {
			continue
		}
		d.down = max(d.down, records[i].Down)
		for _, o := range records[i].Opinions {
			if o.Accuse && o.Incarnation == self.Incarnation && o.Version == self.Version {
				d.accused = *self
			}
		}
	}
}

// after: a node's own entry only rises (D1), and answers what stands against it (D4).
func (d *directoryChecks) after(n *Node, in proto.Input, out []proto.Output) {
	self, last := n.core.Self(), d.entry(n)
	if self != last && !sameEntryAt(self, last) {
		if !self.Newer(last) || self.ID != n.ID || self.Name != n.Name {
			d.world.fail("D1: %v wrote %d.%d of itself after %d.%d", n, self.Incarnation, self.Version, last.Incarnation, last.Version)
		}
		d.truth[n.Index] = append(d.truth[n.Index], self)
		if self.Incarnation > last.Incarnation && last.Birth == self.Birth {
			d.world.Report.Faults["came back from certified down"]++
			d.world.say("%s comes back as incarnation +%d", n, self.Incarnation-self.Birth)
		}
	}
	if (d.accused.ID.IsZero() && d.down == 0) || n.leaving || self.Left || slices.ContainsFunc(out, isRefusal) {
		return
	}
	if d.down >= self.Incarnation {
		d.world.fail("D4: %v hears itself certified down up to %d and stays at %d: %T", n, d.down, self.Incarnation, in)
	}
	if !d.accused.ID.IsZero() && !self.Newer(&d.accused) {
		d.world.fail("D4: %v hears itself accused at %d.%d and does not answer", n, self.Incarnation, self.Version)
	}
}

// isRefusal tells whether an output says that the input did not count.
func isRefusal(o proto.Output) bool {
	switch o.(type) {
	case proto.Ignored, proto.Fatal:
		return true
	default:
		return false
	}
}

// look compares what a node knows with what it knew (D1) and with what the
// owners said (D2).
func (d *directoryChecks) look(n *Node) {
	of := d.of[n.Index]
	roster := n.core.Roster()
	if roster == of.roster {
		return
	}
	of.roster = roster
	for _, m := range roster.Members {
		owner, ok := d.world.checks.byID.Get(m.Entry.ID)
		if !ok {
			d.world.fail("D2: %v knows %s (%s), whom nobody ever started", n, m.Entry.ID.Short(), m.Entry.Name)
			return
		}
		for len(of.entries) <= owner.Index {
			of.entries = append(of.entries, nil)
		}
		last := of.entries[owner.Index]
		if last == m.Entry {
			continue
		}
		of.entries[owner.Index] = m.Entry
		if last != nil && last.Newer(m.Entry) {
			d.world.fail("D1: %v fell back from %d.%d to %d.%d of %v", n, last.Incarnation, last.Version, m.Entry.Incarnation, m.Entry.Version, owner)
		}
		if !d.said(owner, m.Entry) {
			d.world.fail("D2: %v has %d.%d of %v, which it never said: %+v", n, m.Entry.Incarnation, m.Entry.Version, owner, m.Entry)
		}
	}
	self := roster.Get(n.ID)
	if self == nil || self.Status != proto.StatusAlive && (self.Status != proto.StatusLeft || !n.leaving) {
		d.world.fail("D6: %v is not alive in its own view: %+v", n, self)
	}
}

// said tells whether the owner wrote exactly this entry.
func (d *directoryChecks) said(owner *Node, e *proto.Entry) bool {
	for _, t := range slices.Backward(d.truth[owner.Index]) {
		if t.Incarnation == e.Incarnation && t.Version == e.Version {
			return t == e || sameEntry(t, e)
		}
	}
	return false
}

func sameEntry(a, b *proto.Entry) bool {
	return a.ID == b.ID && a.Name == b.Name && a.Birth == b.Birth && slices.Equal(a.Addrs, b.Addrs) && a.Zone == b.Zone &&
		slices.Equal(a.Tags, b.Tags) && slices.Equal(a.Handlers, b.Handlers) && slices.Equal(a.Groups, b.Groups) &&
		a.Streams == b.Streams && a.VersionMin == b.VersionMin && a.VersionMax == b.VersionMax &&
		a.Left == b.Left && a.Draining == b.Draining
}

// told: exactly one end for each incarnation that was up, and nothing of it
// after that (M11).
func (d *directoryChecks) told(n *Node, o proto.MembersChanged) {
	w, of := d.world, d.of[n.Index]
	for _, ch := range o.Changes {
		w.Report.Changes++
		who, ok := w.checks.byID.Get(ch.Member.Entry.ID)
		if !ok {
			w.fail("D2: %v tells of %s, whom nobody ever started", n, ch.Member.Entry.ID.Short())
			return
		}
		for len(of.told) <= who.Index {
			of.told = append(of.told, toldOf{})
		}
		t, inc := &of.told[who.Index], ch.Member.Entry.Incarnation
		d.tell(n, who, ch)
		switch ch.Kind {
		case proto.ChangeUp:
			if t.up || t.never || inc <= t.inc {
				w.fail("M11: %v: up of %v.%d after %+v", n, who, inc, *t)
			}
			t.up, t.inc = true, inc
		case proto.ChangeUpdated, proto.ChangeSuspect, proto.ChangeUnsuspect:
			// A node never sees itself go down (D6): to itself it just goes on.
			if !t.up || inc != t.inc && who != n || inc < t.inc {
				w.fail("M11: %v: %v of %v.%d after %+v", n, ch.Kind, who, inc, *t)
			}
			t.inc = inc
		case proto.ChangeDown, proto.ChangeLeft:
			if !t.up || inc != t.inc && who != n {
				w.fail("M11: %v: %v of %v.%d after %+v", n, ch.Kind, who, inc, *t)
			}
			t.up, t.never = false, ch.Kind == proto.ChangeLeft
		default:
			w.fail("M11: %v: a change of no kind", n)
		}
	}
}

func (d *directoryChecks) tell(n, who *Node, ch proto.MemberChange) {
	if d.world.cfg.Log == nil || n == who {
		return
	}
	switch ch.Kind {
	case proto.ChangeDown, proto.ChangeSuspect:
		d.world.say("  %s: %s is %s (%s)", n, who, ch.Kind, ch.Member.Why)
	default:
		d.world.say("  %s: %s is %s", n, who, ch.Kind)
	}
}

// sameEntryAt tells whether nothing at all was changed.
func sameEntryAt(a, b *proto.Entry) bool {
	return a.Incarnation == b.Incarnation && a.Version == b.Version && sameEntry(a, b)
}
