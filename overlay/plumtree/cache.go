package plumtree

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// cached is a broadcast that can still be repeated. What announcing it looks at
// stands first, so that it is little memory.
type cached struct {
	id   proto.MsgID
	hops uint16 // at which it came; 0: our own
	best uint16 // hops of the best way known to it
	// has are the links whose other end has the broadcast or has been sent it.
	// No broadcast goes over one of them again.
	has    []proto.LinkID
	room   [8]proto.LinkID // for has, unless the active view is unusually large
	parent proto.LinkID    // that it came over; 0: our own
	at     time.Time
	body   proto.Body
	size   int
}

func (e *cached) hasIt(link proto.LinkID) bool { return slices.Contains(e.has, link) }

func (e *cached) nowHas(link proto.LinkID) {
	if e.has == nil {
		e.has = e.room[:0]
	}
	if !e.hasIt(link) {
		e.has = append(e.has, link)
	}
}

// gossip is it as it goes on.
func (e *cached) gossip() proto.Message {
	return proto.Gossip{ID: e.id, Round: further(e.hops), Body: e.body}
}

// push sends it, as gossip made it.
func (e *cached) push(n *neighbor, msg proto.Message, out *proto.Out) {
	mustHold(!e.hasIt(n.link), "a broadcast would go twice over one link")
	e.nowHas(n.link)
	out.Add(proto.Send{Link: n.link, Msg: msg})
}

// cache keeps recent broadcasts in the order they came, bounded in number,
// bytes and time.
type cache struct {
	byID  map[proto.MsgID]*cached
	found *cached   // last: most of what concerns one comes in a row
	queue []*cached // oldest first
	first time.Time // when the oldest came; zero: there is none
	bytes int
}

func (c *cache) get(id proto.MsgID) *cached {
	if c.found != nil && c.found.id == id {
		return c.found
	}
	e := c.byID[id]
	if e != nil {
		c.found = e
	}
	return e
}

func (c *cache) add(e *cached, cfg *Config) {
	c.byID[e.id], c.found = e, e
	c.queue = append(c.queue, e)
	c.bytes += e.size
	if len(c.queue) == 1 {
		c.first = e.at
	}
	for len(c.queue) > cfg.CacheCount || c.bytes > cfg.CacheBytes {
		c.drop()
	}
}

// drop forgets the oldest.
func (c *cache) drop() {
	e := c.queue[0]
	c.queue[0] = nil
	c.queue = c.queue[1:]
	c.bytes -= e.size
	delete(c.byID, e.id)
	if c.found == e {
		c.found = nil
	}
	c.first = time.Time{}
	if len(c.queue) > 0 {
		c.first = c.queue[0].at
	}
}

// expire forgets what came before the given time.
func (c *cache) expire(before time.Time) {
	for len(c.queue) > 0 && !c.first.After(before) {
		c.drop()
	}
}

// forget removes a link that is no more from what is known of the others.
func (c *cache) forget(link proto.LinkID) {
	for _, e := range c.queue {
		if i := slices.Index(e.has, link); i >= 0 {
			e.has = slices.Delete(e.has, i, i+1)
		}
	}
}

// sizeOf estimates what a body takes, in memory and on the wire, in bytes.
func sizeOf(b proto.Body) int {
	switch b := b.(type) {
	case proto.CastBody:
		n := overhead + len(b.Topic) + len(b.ContentType) + len(b.Payload)
		for _, m := range b.Meta {
			n += 16 + len(m.Key) + len(m.Value)
		}
		return n
	case proto.BeaconBody:
		return overhead
	case proto.DirectoryBody:
		n := overhead
		for i := range b.Records {
			n += sizeOfRecord(&b.Records[i])
		}
		return n
	default:
		panic("plumtree: a body of a kind that is not known")
	}
}

func sizeOfRecord(r *proto.Record) int {
	n := 64 + 64*len(r.Opinions)
	if r.Tomb != nil {
		n += 64 + len(r.Tomb.Name)
	}
	if r.Entry == nil {
		return n
	}
	n += 96 + len(r.Entry.Name) + len(r.Entry.Zone)
	for _, list := range [][]string{r.Entry.Addrs, r.Entry.Handlers, r.Entry.Groups} {
		for _, s := range list {
			n += 16 + len(s)
		}
	}
	for _, t := range r.Entry.Tags {
		n += 16 + len(t.Key) + len(t.Value)
	}
	return n
}
