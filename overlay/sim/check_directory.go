package sim

import (
	"slices"

	"github.com/starlingmesh/starling/overlay/proto"
)

// directoryChecks: D1, D2, D4, D6, M11.
type directoryChecks struct {
	world *World
	of    []*knownTo // by observer
	truth [][]said   // by process: what it said of itself, in order

	accused proto.Entry // D4: what stood accused in the input of this step; zero ID: nothing
	down    uint64      // and up to which incarnation it was certified down
}

// said is one entry that a process wrote of itself.
type said struct {
	entry *proto.Entry
	// heard is the copy that all others hold: of thousands of nodes each holds
	// everybody's, and a copy of its own for each would be most of the memory.
	heard *proto.Entry
}

func say(e *proto.Entry) said {
	heard := *e
	heard.Addrs, heard.Tags = slices.Clone(e.Addrs), slices.Clone(e.Tags)
	heard.Handlers, heard.Groups = slices.Clone(e.Handlers), slices.Clone(e.Groups)
	return said{e, &heard}
}

// knownTo is what one node knew and told.
type knownTo struct {
	roster *proto.Roster // at the last look
	told   []toldOf      // by process
}

// toldOf is what applications at one node were told about one process.
type toldOf struct {
	inc   uint64 // of the incarnation that is up, or was last
	up    bool
	never bool // it left: nothing may follow
}

func (d *directoryChecks) started(n *Node) {
	d.of = append(d.of, &knownTo{})
	d.truth = append(d.truth, []said{say(n.core.Self())})
}

// entry is what the process last said of itself.
func (d *directoryChecks) entry(n *Node) *proto.Entry {
	all := d.truth[n.Index]
	return all[len(all)-1].entry
}

// before notes what an input says against the node itself.
func (d *directoryChecks) before(n *Node, in proto.Input) {
	d.accused, d.down = proto.Entry{}, 0
	r, ok := in.(proto.Received)
	if !ok {
		return
	}
	records := recordsOf(r.Msg)
	if len(records) == 0 {
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
		d.truth[n.Index] = append(d.truth[n.Index], say(self))
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
	if d.world.cfg.Directory != nil {
		return
	}
	of := d.of[n.Index]
	roster := n.core.Roster()
	if roster == of.roster {
		return
	}
	var known []*proto.Member
	if of.roster != nil {
		known = of.roster.Members
	}
	of.roster = roster
	for _, m := range roster.Members { // both are in the order of the IDs
		if len(known) > 0 && known[0] == m {
			known = known[1:]
			continue
		}
		for len(known) > 0 && known[0].Entry.ID.Less(m.Entry.ID) {
			known = known[1:]
		}
		var last *proto.Entry
		if len(known) > 0 && known[0].Entry.ID == m.Entry.ID {
			last = known[0].Entry
		}
		if last != m.Entry {
			d.learnt(n, last, m.Entry)
		}
	}
	self := roster.Get(n.ID)
	if self == nil || self.Status != proto.StatusAlive && (self.Status != proto.StatusLeft || !n.leaving) {
		d.world.fail("D6: %v is not alive in its own view: %+v", n, self)
	}
}

// learnt is that a node has another entry of a process than before; last is nil if it had none.
func (d *directoryChecks) learnt(n *Node, last, e *proto.Entry) {
	owner, ok := d.world.checks.byID[e.ID]
	if !ok {
		d.world.fail("D2: %v knows %s (%s), whom nobody ever started", n, e.ID.Short(), e.Name)
		return
	}
	if last != nil && last.Newer(e) {
		d.world.fail("D1: %v fell back from %d.%d to %d.%d of %v", n, last.Incarnation, last.Version, e.Incarnation, e.Version, owner)
	}
	if !d.said(owner, e) {
		d.world.fail("D2: %v has %d.%d of %v, which it never said: %+v", n, e.Incarnation, e.Version, owner, e)
	}
}

// said tells whether the owner wrote exactly this entry.
func (d *directoryChecks) said(owner *Node, e *proto.Entry) bool {
	for _, t := range slices.Backward(d.truth[owner.Index]) {
		if t.entry.Incarnation == e.Incarnation && t.entry.Version == e.Version {
			return t.heard == e || sameEntry(t.entry, e)
		}
	}
	return false
}

// share lets the records of a message that has arrived have the one copy of
// what their owners wrote, where they say exactly that.
func (d *directoryChecks) share(m proto.Message) {
	for i, records := 0, recordsOf(m); i < len(records); i++ {
		e := records[i].Entry
		if e == nil {
			continue
		}
		owner, ok := d.world.checks.byID[e.ID]
		if !ok || owner.core == nil {
			continue
		}
		if t := d.truth[owner.Index]; len(t) > 0 && sameEntryAt(t[len(t)-1].heard, e) {
			records[i].Entry = t[len(t)-1].heard
		}
	}
}

// recordsOf are what a message says of members.
func recordsOf(m proto.Message) []proto.Record {
	switch m := m.(type) {
	case proto.SyncRecords:
		return m.Records
	case proto.Gossip:
		if b, ok := m.Body.(proto.DirectoryBody); ok {
			return b.Records
		}
	default:
	}
	return nil
}

// unchanged: nobody wrote into the copies that all share (D2).
func (d *directoryChecks) unchanged() {
	for i, t := range d.truth {
		if len(t) > 0 && !sameEntryAt(t[len(t)-1].entry, t[len(t)-1].heard) {
			d.world.fail("D2: somebody changed what %v said of itself", d.world.Nodes[i])
		}
	}
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
		who, ok := w.checks.byID[ch.Member.Entry.ID]
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
