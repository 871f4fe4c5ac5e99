package sim

import (
	"slices"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// directoryChecks: D1, D2, D4, D6, M11.
type directoryChecks struct {
	world *World
	of    []*knownTo // by observer
	truth [][]said   // by process: what it said of itself, in order
	byID  []*Node    // all processes in the order of their IDs

	bodies map[proto.MsgID]proto.Body // of broadcasts, as all others hold them; looked up only

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
	revision uint64  // of its directory at the last look
	others   []other // by process
}

// other is what one node knew and told of one process. There are as many as the square of the nodes.
type other struct {
	known uint16 // 1 + the place in truth of the entry that it had at the last look; 0: it had none
	told  uint16 // 1 + how often the incarnation had come back that is up, or was last; 0: none was
	up    bool   // to applications
	never bool   // it left: nothing may follow
}

// about is what a node knows and told of a process.
func (k *knownTo) about(who *Node) *other {
	if more := len(who.world.Nodes) - len(k.others); who.Index >= len(k.others) {
		k.others = append(k.others, make([]other, more)...)
	}
	return &k.others[who.Index]
}

func (d *directoryChecks) started(n *Node, truth []said) {
	d.of = append(d.of, &knownTo{})
	d.truth = append(d.truth, truth)
	i, _ := slices.BinarySearchFunc(d.byID, n.ID, func(o *Node, id peer.ID) int { return o.ID.Compare(id) })
	d.byID = slices.Insert(d.byID, i, n)
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
	self := n.core.Self()
	if self != n.said {
		d.says(n, self)
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

// says is that a node has written of itself.
func (d *directoryChecks) says(n *Node, self *proto.Entry) {
	n.said = self
	if last := d.entry(n); !self.Equal(last) {
		if !self.Newer(last) || self.ID != n.ID || self.Name != n.Name {
			d.world.fail("D1: %v wrote %d.%d of itself after %d.%d", n, self.Incarnation, self.Version, last.Incarnation, last.Version)
		}
		d.truth[n.Index] = append(d.truth[n.Index], say(self))
		if self.Incarnation > last.Incarnation && last.Birth == self.Birth {
			d.world.Report.Faults["came back from certified down"]++
			d.world.say("%s comes back as incarnation +%d", n, self.Incarnation-self.Birth)
		}
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
	if d.world.cfg.Directory != nil || n.core.Revision() == of.revision {
		return
	}
	of.revision = n.core.Revision()
	all := d.byID
	for m := range n.core.Members() { // in the order of the IDs, too
		for len(all) > 0 && all[0].ID.Less(m.Entry.ID) {
			of.about(all[0]).known = 0
			all = all[1:]
		}
		if len(all) == 0 || all[0].ID != m.Entry.ID {
			d.world.fail("D2: %v knows %s (%s), whom nobody ever started", n, m.Entry.ID.Short(), m.Entry.Name)
			return
		}
		d.knows(n, all[0], m.Entry, of.about(all[0]))
		all = all[1:]
	}
	self := n.core.Member(n.ID)
	if self == nil || self.Status != proto.StatusAlive && (self.Status != proto.StatusLeft || !n.leaving) {
		d.world.fail("D6: %v is not alive in its own view: %+v", n, self)
	}
}

// knows is that a node has this entry of a process.
func (d *directoryChecks) knows(n, owner *Node, e *proto.Entry, of *other) {
	truth := d.truth[owner.Index]
	if of.known > 0 && truth[of.known-1].heard == e {
		return
	}
	place := -1
	for i, t := range slices.Backward(truth) {
		if t.heard == e || t.entry.Equal(e) {
			place = i
			break
		}
	}
	if place < 0 {
		d.world.fail("D2: %v has %d.%d of %v, which it never said: %+v", n, e.Incarnation, e.Version, owner, e)
		return
	}
	if place+1 < int(of.known) {
		last := truth[of.known-1].entry
		d.world.fail("D1: %v fell back from %d.%d to %d.%d of %v", n, last.Incarnation, last.Version, e.Incarnation, e.Version, owner)
	}
	of.known = uint16(place + 1)
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
		if len(t) > 0 && !t[len(t)-1].entry.Equal(t[len(t)-1].heard) {
			d.world.fail("D2: somebody changed what %v said of itself", d.world.Nodes[i])
		}
	}
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
		t, e := of.about(who), ch.Member.Entry
		inc := uint16(e.Incarnation - e.Birth + 1)
		d.tell(n, who, ch)
		switch ch.Kind {
		case proto.ChangeUp:
			if t.up || t.never || inc <= t.told {
				w.fail("M11: %v: up of %v+%d after %+v", n, who, inc, *t)
			}
			t.up, t.told = true, inc
		case proto.ChangeUpdated, proto.ChangeSuspect, proto.ChangeUnsuspect:
			// A node never sees itself go down (D6): to itself it just goes on.
			if !t.up || inc != t.told && who != n || inc < t.told {
				w.fail("M11: %v: %v of %v+%d after %+v", n, ch.Kind, who, inc, *t)
			}
			t.told = inc
		case proto.ChangeDown, proto.ChangeLeft:
			if !t.up || inc != t.told && who != n {
				w.fail("M11: %v: %v of %v+%d after %+v", n, ch.Kind, who, inc, *t)
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
