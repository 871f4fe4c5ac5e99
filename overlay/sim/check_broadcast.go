package sim

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// castChecks: P2, P3, and the books for P4.
type castChecks struct {
	world *World
	byID  map[proto.MsgID]*cast
	gaps  map[gapKey]uint64
}

type gapKey struct {
	node   int
	origin peer.ID
	stream uint8
}

func (c *castChecks) published(n *Node, o proto.Published) {
	if o.Err != "" {
		c.world.Report.Faults["broadcast refused"]++
		return
	}
	sent := c.world.apps.casts[o.Ref-1]
	if c.byID == nil {
		c.byID, c.gaps = map[proto.MsgID]*cast{}, map[gapKey]uint64{}
	}
	if c.byID[o.ID] != nil || o.ID.Origin != n.ID {
		c.world.fail("P3: %v gives %v to a second broadcast, or in another's name", n, o.ID)
	}
	sent.id = o.ID
	c.byID[o.ID] = sent
	c.world.Report.Casts++
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
}

func (c *castChecks) gap(n *Node, o proto.Gap) {
	c.world.Report.Gaps++
	if c.gaps == nil {
		c.byID, c.gaps = map[proto.MsgID]*cast{}, map[gapKey]uint64{}
	}
	c.gaps[gapKey{n.Index, o.Origin, o.Stream}] += o.Count
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
