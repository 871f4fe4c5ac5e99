package sim

import (
	"slices"

	"github.com/starlingmesh/starling/overlay/proto"
)

// Thousands of nodes hold what each of them says of itself, and for a while the broadcast that says it. A copy for each node
// would be most of the memory of a large world, so what has come over a link is replaced by the one copy of what is the same.
// That nobody writes into it is checked (D2).

// bodiesMost bounds the broadcasts that are remembered to be shared.
const bodiesMost = 1 << 16

// share gives a message that has arrived the one copy of what its records and its body say.
func (d *directoryChecks) share(m proto.Message) proto.Message {
	for i, records := 0, recordsOf(m); i < len(records); i++ {
		e := records[i].Entry
		if e == nil {
			continue
		}
		owner, ok := d.world.checks.byID[e.ID]
		if !ok || owner.core == nil {
			continue
		}
		if t := d.truth[owner.Index]; len(t) > 0 && t[len(t)-1].heard.Equal(e) {
			records[i].Entry = t[len(t)-1].heard
		}
	}
	g, ok := m.(proto.Gossip)
	if !ok {
		return m
	}
	body, ok := g.Body.(proto.DirectoryBody)
	if !ok {
		return m
	}
	kept := d.bodies[g.ID]
	if one, ok := kept.(proto.DirectoryBody); ok {
		if slices.EqualFunc(one.Records, body.Records, sameRecord) {
			g.Body = kept
		}
		return g
	}
	if len(d.bodies) == bodiesMost {
		clear(d.bodies)
	}
	d.bodies[g.ID] = g.Body
	return g
}

func sameRecord(a, b proto.Record) bool {
	return (a.Entry == b.Entry || a.Entry != nil && b.Entry != nil && a.Entry.Equal(b.Entry)) && a.Down == b.Down &&
		slices.Equal(a.Opinions, b.Opinions) && (a.Tomb == b.Tomb || a.Tomb != nil && b.Tomb != nil && *a.Tomb == *b.Tomb)
}
