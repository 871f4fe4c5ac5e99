// Package plumtree carries broadcasts along a tree of the overlay's links, and
// mends the tree when a link breaks (Leitão, Pereira, Rodrigues: Epidemic
// Broadcast Trees, SRDS 2007, TR-07-14). It decides; it never sends, waits,
// reads a clock or logs.
//
// Each link is eager or lazy, per stream. A broadcast is pushed over eager
// links and only announced over lazy ones; a copy too many makes a link lazy, a
// broadcast that was announced and does not come makes it eager again and
// fetches it. What the paper leaves open, and why it is so here:
//
//   - Broadcasts are named by origin, stream and number, so that a number per
//     origin replaces a table of names, equal bodies stay distinct, and order
//     and gaps can be told.
//   - A link that comes up is told what was said lately, or two that flap lose
//     broadcasts for good.
//   - Late is not lost: who was asked for a broadcast and waits for it itself
//     keeps the asker waiting, and order waits until every neighbour has said
//     that it cannot give what is missing, 5 s at most.
//   - Once two nodes send, the eager links of a stream are not a tree. Nothing
//     here relies on it: the announcements alone deliver everything.
package plumtree

import (
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// Why a message was not acted upon: metric labels, in Ignored.
const (
	WhyDuplicate   = "broadcast_duplicate"    // had it: what redundancy is made of
	WhyOld         = "broadcast_old"          // below the window, or told as a gap before
	WhyOwn         = "broadcast_not_ours"     // in our name, and never said
	WhyMalformed   = "broadcast_malformed"    // a stream, number, range or body that cannot be
	WhyTooBig      = "broadcast_too_big"      // a body above BodyMax
	WhyJump        = "broadcast_jump"         // a number too far ahead to be believed
	WhyWindowsFull = "broadcast_windows_full" // no room for another origin
	WhyWantsFull   = "broadcast_wants_full"   // no room to wait for more
	WhyTooWide     = "broadcast_too_wide"     // ranges over more than a cache holds
	WhyNoNeighbor  = "broadcast_no_neighbor"  // over a link that is not, or no longer, in the active view
)

// Tree is the broadcast machine of one node. Make it with New. It is not safe
// for concurrent use; time must not run backwards from call to call.
type Tree struct {
	// What nearly every step looks at stands first, so that it is little memory.
	self      peer.ID
	neighbors []neighbor      // in the order they came up
	windows   map[key]*window // never ranged over
	found     [16]*window     // those found last: what concerns one comes within a moment
	due       schedule        // the same windows, by their timers
	linksAt   time.Time       // when the first of the neighbors has something due; zero: never
	lastAt    time.Time       // the next LAST of any stream; zero: never
	grafts    parcels         // gathered within one step, and empty after it
	misses    parcels
	wants     int // missing broadcasts in all windows
	waiting   int // bytes that wait for order in all windows
	members   int // last told by SetSize; 0: unknown
	cache     cache

	firstUp time.Time // when the first link came up
	marks   marks
	streams [proto.Streams]stream
	cfg     Config

	published, publishedBytes bucket
}

// stream is what one stream knows beside its windows.
type stream struct {
	own     uint64    // last number we gave
	ownAt   time.Time // and when
	repeats int       // how often LAST was said since

	origin  peer.ID // of the last broadcast
	mixedAt time.Time
}

// New makes the broadcast machine of the node self. It panics on a Config that
// does not validate.
func New(self peer.ID, cfg Config) *Tree {
	if err := cfg.Validate(); err != nil {
		panic(err.Error())
	}
	return &Tree{
		self:    self,
		cfg:     cfg,
		cache:   cache{byID: map[proto.MsgID]*cached{}},
		windows: map[key]*window{},
	}
}

// Why Publish refuses, in words for the application.
const (
	RefusedSize  = "the broadcast is larger than this node accepts"
	RefusedRate  = "this node broadcasts too many messages a second; wait and try again"
	RefusedBytes = "this node broadcasts too many bytes a second; wait and try again"
)

// Publish broadcasts body in a stream, and delivers it here at once. It
// returns its name, or in words why it was refused; of the directory's stream
// only the size is checked. The body is kept and must not change.
func (t *Tree) Publish(now time.Time, streamNo uint8, body proto.Body, out *proto.Out) (id proto.MsgID, refused string) {
	mustHold(streamNo < proto.Streams && body != nil, "published in no stream, or nothing")
	size := sizeOf(body)
	if size > t.cfg.BodyMax+overhead {
		return id, RefusedSize
	}
	if streamNo != proto.DirStream {
		if t.published.has(now, t.cfg.PublishRate, t.cfg.PublishBurst) < 1 {
			return id, RefusedRate
		}
		if t.publishedBytes.has(now, t.cfg.PublishBytes, t.cfg.PublishBytesBurst) < float64(size) {
			return id, RefusedBytes
		}
		t.published.take(1)
		t.publishedBytes.take(size)
	}
	s := &t.streams[streamNo]
	s.own++
	s.ownAt, s.repeats = now, 0
	t.lastAt = t.nextLast()
	id = proto.MsgID{Origin: t.self, Stream: streamNo, Seq: s.own}
	e := &cached{id: id, body: body, size: size, at: now}
	t.cache.add(e, &t.cfg)
	t.heard(now, id)
	t.forward(now, e, out)
	out.Add(proto.DeliverBody{ID: id, Body: body, Local: true})
	return id, ""
}

// heard notes whose turn it was in a stream.
func (t *Tree) heard(now time.Time, id proto.MsgID) {
	s := &t.streams[id.Stream]
	if !s.origin.IsZero() && s.origin != id.Origin {
		s.mixedAt = now
	}
	s.origin = id.Origin
}

// swapAt is by how many hops an announcement must beat the parent.
func (t *Tree) swapAt(now time.Time, streamNo uint8) int {
	if at := t.streams[streamNo].mixedAt; !at.IsZero() && now.Sub(at) < t.cfg.ManyFor {
		return t.cfg.SwapMany
	}
	return t.cfg.SwapOne
}

// Receive takes a message that came over a link: one of Gossip, IHave, Graft,
// GraftMiss, Prune and Last. From a link that is draining a broadcast still counts.
func (t *Tree) Receive(now time.Time, link proto.LinkID, from peer.ID, msg proto.Message, out *proto.Out) {
	n := t.neighbor(link)
	ignore := func(why string) { out.Add(proto.Ignored{Why: why, Peer: from}) }
	if g, ok := msg.(proto.Gossip); ok {
		if why := t.gossip(now, link, n, g, out); why != "" {
			ignore(why)
		}
		t.sendGrafts(out)
		return
	}
	if n == nil {
		ignore(WhyNoNeighbor)
		return
	}
	var why string
	switch m := msg.(type) {
	case proto.IHave:
		why = t.iHave(now, n, m, out)
	case proto.Graft:
		why = t.grafted(now, n, m, out)
	case proto.GraftMiss:
		why = t.graftMissed(now, n, m)
	case proto.Prune:
		why = WhyMalformed
		if m.Stream < proto.Streams {
			n.setLazy(m.Stream)
			why = ""
		}
	case proto.Last:
		why = t.last(now, n, m, out)
	default:
		panic("plumtree: a message of another machine")
	}
	if why != "" {
		ignore(why)
	}
	t.sendGrafts(out)
}

// Wake does what is due.
func (t *Tree) Wake(now time.Time, out *proto.Out) {
	if proto.Due(now, t.linksAt) {
		t.wakeLinks(now, out)
	}
	for len(t.due) > 0 && !now.Before(t.due[0].at) {
		t.wake(now, t.due[0].window, out)
	}
	t.sayLast(now, out)
	t.cache.expire(now.Add(-t.cfg.CacheFor))
	t.sendGrafts(out)
}

// wakeLinks does what is due over links.
func (t *Tree) wakeLinks(now time.Time, out *proto.Out) {
	for i := range t.neighbors {
		n := &t.neighbors[i]
		if proto.Due(now, n.announceAt) {
			n.sendAnnounce(&t.cache, out)
		}
		if proto.Due(now, n.owedAt) {
			t.serve(now, n, out)
		}
	}
	t.linksAt = t.nextOfLinks()
}

// Deadline is when Wake is wanted next; zero is never.
func (t *Tree) Deadline() time.Time {
	next := proto.Sooner(t.linksAt, t.lastAt)
	if len(t.due) > 0 {
		next = proto.Sooner(next, t.due[0].at)
	}
	if len(t.cache.queue) > 0 {
		next = proto.Sooner(next, t.cache.first.Add(t.cfg.CacheFor))
	}
	return next
}

func mustHold(fact bool, words string) {
	if !fact {
		panic("plumtree: " + words)
	}
}
