package sim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// castChecks: P2, P3, P4, P10.
type castChecks struct {
	world   *World
	byID    map[proto.MsgID]*cast
	gaps    map[gapKey]uint64
	reached map[gapKey]uint64 // number up to which a node delivered, or told as lost
	apartAt time.Duration     // last look at which the overlay was not whole
	asOf    int               // World.stirred at the last look
	apart   bool              // as of then
}

type gapKey struct {
	node   int
	origin peer.ID
	stream uint8
}

// owedAfter is how long after a broadcast everybody who is linked has it: links stall for 6 s and are found broken
// in as many.
const owedAfter = 20 * time.Second

// look notes whether the overlay is whole.
func (c *castChecks) look() {
	if c.asOf != c.world.stirred {
		c.asOf, c.apart = c.world.stirred, c.world.oneComponent(c.world.Up()) != ""
	}
	if c.apart {
		c.apartAt = c.world.now
	}
}

// owed demands a broadcast of all that were up throughout, if the overlay was whole all the time (P4).
func (c *castChecks) owed(sent *cast) {
	w := c.world
	throughout := func(n *Node) bool {
		return n.state == up && n.core != nil && !n.leaving && n.started+owedAfter < sent.at && n.resumed < sent.at && n.slowAt < sent.at && n.stepFor == 0
	}
	if c.apartAt >= sent.at-lookEvery || !throughout(sent.by) {
		return
	}
	for _, n := range w.Nodes {
		if throughout(n) && !sent.has(n) && c.reached[gapKey{n.Index, sent.id.Origin, sent.id.Stream}] < sent.id.Seq {
			w.fail("P4: %v published at %v by %v never reached %v, though all were linked", sent.id, sent.at, sent.by, n)
		}
	}
}

func (c *castChecks) published(n *Node, o proto.Published) {
	if o.Err != "" {
		c.world.Report.Faults["broadcast refused"]++
		return
	}
	sent := c.world.apps.casts[o.Ref-1]
	if c.byID[o.ID] != nil || o.ID.Origin != n.ID {
		c.world.fail("P3: %v gives %v to a second broadcast, or in another's name", n, o.ID)
	}
	sent.id = o.ID
	c.byID[o.ID] = sent
	c.world.Report.Casts++
	c.world.after(owedAfter, func() { c.owed(sent) })
}

// deliver: at most once (P2), and as it was sent (P3).
func (c *castChecks) deliver(n *Node, o proto.Deliver) {
	w := c.world
	w.Report.Delivered++
	ref := uint64(0)
	if len(o.Body.Payload) >= 16 {
		ref = binary.BigEndian.Uint64(o.Body.Payload)
	}
	if ref == 0 || ref > uint64(len(w.apps.casts)) {
		w.fail("P3: %v delivers %v, which nobody published", n, o.ID)
		return
	}
	cast := w.apps.casts[ref-1]
	if cast.body.Topic != o.Body.Topic || cast.body.ContentType != o.Body.ContentType || !bytes.Equal(cast.body.Payload, o.Body.Payload) ||
		cast.by.ID != o.ID.Origin || cast.id.Seq != 0 && cast.id != o.ID {
		w.fail("P3: %v delivers %v otherwise than it was published", n, o.ID)
	}
	for len(cast.delivered) <= n.Index {
		cast.delivered = append(cast.delivered, false)
	}
	if cast.delivered[n.Index] {
		w.fail("P2: %v delivers %v twice", n, o.ID)
	}
	cast.delivered[n.Index] = true
	cast.hops = max(cast.hops, int(o.Hops))
	key := gapKey{n.Index, o.ID.Origin, o.ID.Stream}
	if before, known := c.reached[key]; known && o.ID.Seq != before+1 {
		w.fail("P10: %v delivers %v after number %d, and tells no gap", n, o.ID, before)
	}
	c.reached[key] = o.ID.Seq
}

func (c *castChecks) gap(n *Node, o proto.Gap) {
	c.world.Report.Gaps++
	key := gapKey{n.Index, o.Origin, o.Stream}
	c.gaps[key] += o.Count
	if _, known := c.reached[key]; known {
		c.reached[key] += o.Count
	}
}

// has tells whether a node had a broadcast.
func (c *cast) has(n *Node) bool { return n.Index < len(c.delivered) && c.delivered[n.Index] }

// unaccounted says which broadcasts a node neither had nor told as a gap though
// it had one before and one after them of the same origin and stream (P4). What
// was lost before the first or behind the last that it had, it cannot know of.
func (c *castChecks) unaccounted(core []*Node) string {
	for _, n := range core {
		missing, since := map[gapKey]uint64{}, map[gapKey]uint64{}
		for _, sent := range c.world.apps.casts { // in the order they were published
			key := gapKey{n.Index, sent.id.Origin, sent.id.Stream}
			_, begun := since[key]
			switch {
			case sent.id.Seq == 0:
			case !sent.has(n) && begun:
				since[key]++
			case sent.has(n):
				missing[key] += since[key]
				since[key] = 0
				if missing[key] > c.gaps[key] {
					return fmt.Sprintf("P4: %v had %v and some before it, and told %d of %d missing as lost", n, sent.id, c.gaps[key], missing[key])
				}
			}
		}
	}
	return ""
}
