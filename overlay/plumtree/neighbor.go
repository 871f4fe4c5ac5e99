package plumtree

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// neighbor is one link of the active view, as broadcasts see it. Every step
// looks through all of them, so they are small and in a row; what few steps
// need stands apart.
type neighbor struct {
	link proto.LinkID
	peer peer.ID

	// lazy has a bit per stream: set, the link gets announcements only; clear,
	// it gets the broadcasts. Eager and lazy are so always the whole view (P1).
	lazy uint16

	longest time.Duration // of the last round trips
	*dealings
}

// dealings is what goes on over a link.
type dealings struct {
	announceAt time.Time // when announce goes out
	owedAt     time.Time // when to go on with owed

	announce []named // gathered for the next IHave
	owed     []named // it asked for them, and its budget did not cover them yet
	wants    int     // missing broadcasts that its messages made us wait for; its own quota

	answered time.Time                // when it last gave us what we asked for
	served   bucket                   // bytes of grafted broadcasts it may still get
	pruned   [proto.Streams]time.Time // when we last sent it a Prune

	rtts [32]time.Duration // last round trips; a ring
	rtt  int               // next place in rtts
}

func (n *neighbor) isLazy(stream uint8) bool { return n.lazy&(1<<stream) != 0 }
func (n *neighbor) setLazy(stream uint8)     { n.lazy |= 1 << stream }
func (n *neighbor) setEager(stream uint8)    { n.lazy &^= 1 << stream }

// patience is T1 of the link: 3 times the longest of the last 32 round trips,
// which of so few is the 99th percentile, within the configured bounds.
func (n *neighbor) patience(cfg *Config) time.Duration {
	return min(max(cfg.GraftAfter, 3*n.longest), cfg.GraftAfterMax)
}

// timing notes a round trip.
func (n *neighbor) timing(rtt time.Duration, cfg *Config) {
	n.rtts[n.rtt] = min(max(rtt, 0), cfg.GraftAfterMax)
	n.rtt = (n.rtt + 1) % len(n.rtts)
	n.longest = slices.Max(n.rtts[:])
}

// bucket is a token bucket: it fills by rate a second up to burst. The zero
// bucket is full.
type bucket struct {
	used float64
	at   time.Time
}

// has tells how much is left.
func (b *bucket) has(now time.Time, rate, burst int) float64 {
	if now.After(b.at) {
		b.used = max(0, b.used-now.Sub(b.at).Seconds()*float64(rate))
		b.at = now
	}
	return float64(burst) - b.used
}

func (b *bucket) take(n int) { b.used += float64(n) }

// until is when there is something left again, as far as has knows.
func (b *bucket) until(now time.Time, rate, burst int) time.Time {
	short := max(0, b.used-float64(burst)) + 1
	return now.Add(max(time.Millisecond, time.Duration(short/float64(rate)*float64(time.Second))))
}

// NeighborUp tells that a link's other end is in the active view now. What was
// said lately is announced over it at once: without that, two links that flap
// lose broadcasts for good. The link must not be up already.
func (t *Tree) NeighborUp(now time.Time, link proto.LinkID, id peer.ID, out *proto.Out) {
	mustHold(link != 0 && t.neighbor(link) == nil, "a link came up that is up, or none")
	if t.firstUp.IsZero() {
		t.firstUp = now
	}
	t.neighbors = append(t.neighbors, neighbor{link: link, peer: id, dealings: &dealings{}})
	t.cache.expire(now.Add(-t.cfg.CacheFor))
	recent := make([]named, 0, len(t.cache.queue))
	for _, e := range t.cache.queue {
		if e.id.Origin != id {
			recent = append(recent, named{e.id, proto.RoundHistory})
		}
	}
	ranges(recent, func(stream uint8, list []proto.Range) {
		out.Add(proto.Send{Link: link, Msg: proto.IHave{Stream: stream, Ranges: list}})
	})
}

// NeighborDown tells that a link left the active view, or is about to:
// nothing new goes over it. What it was asked for is asked of others, at once.
// A link that is not up is no news.
func (t *Tree) NeighborDown(now time.Time, link proto.LinkID, out *proto.Out) {
	i := slices.IndexFunc(t.neighbors, func(n neighbor) bool { return n.link == link })
	if i < 0 {
		return
	}
	t.neighbors = slices.Delete(t.neighbors, i, i+1)
	t.linksAt = t.nextOfLinks()
	t.cache.forget(link)
	for _, d := range slices.Clone(t.due) {
		w := d.window
		for i := range w.wants {
			t.lostSource(now, w, &w.wants[i], link)
		}
		if len(w.wants) > 0 {
			t.reschedule(w)
		}
	}
	t.sendGrafts(out)
}

// Timing notes the round trip of a link, which sets how long an announced
// broadcast may take before it is asked for.
func (t *Tree) Timing(link proto.LinkID, rtt time.Duration) {
	if n := t.neighbor(link); n != nil {
		n.timing(rtt, &t.cfg)
	}
}

// SetSize tells how many members live, as far as known: in a small overlay
// announcements do not gather.
func (t *Tree) SetSize(members int) { t.members = members }

// Links lists the links of the active view, and which of them are eager in the
// stream, in the order they came up: for invariants, metrics and people.
func (t *Tree) Links(stream uint8) (all, eager []proto.LinkID) {
	for i := range t.neighbors {
		n := &t.neighbors[i]
		all = append(all, n.link)
		if !n.isLazy(stream) {
			eager = append(eager, n.link)
		}
	}
	return all, eager
}

// Degree is how many links there are in the active view, as far as this machine was told.
func (t *Tree) Degree() int { return len(t.neighbors) }

// neighbor finds a link, nil if it is not in the active view. It is good until
// a link comes up or goes down.
func (t *Tree) neighbor(link proto.LinkID) *neighbor {
	for i := range t.neighbors {
		if t.neighbors[i].link == link {
			return &t.neighbors[i]
		}
	}
	return nil
}

// nextOfLinks is when the first link has something due. It is kept, for whoever
// asks for the deadline asks after each step; and as it looks at what has
// changed, it checks that.
func (t *Tree) nextOfLinks() time.Time {
	var next time.Time
	for i := range t.neighbors {
		n := &t.neighbors[i]
		t.checkLink(n)
		next = proto.Sooner(next, n.announceAt, n.owedAt)
	}
	return next
}

// forward passes a broadcast on: the body over eager links, its name over lazy
// ones, nothing where it is known already.
func (t *Tree) forward(now time.Time, e *cached, out *proto.Out) {
	var msg proto.Message
	atOnce := t.members > 0 && t.members <= t.cfg.AnnounceAtOnce
	full := false
	for i := range t.neighbors {
		n := &t.neighbors[i]
		switch {
		case e.hasIt(n.link):
		case n.peer == e.id.Origin:
		case n.isLazy(e.id.Stream):
			full = t.gather(now, n, e) || full
		default:
			if msg == nil { // one for all
				msg = e.gossip()
			}
			e.push(n, msg, out)
		}
	}
	if !atOnce && !full {
		return
	}
	for i := range t.neighbors {
		if n := &t.neighbors[i]; atOnce || len(n.announce) >= announceMax {
			n.sendAnnounce(&t.cache, out)
		}
	}
	t.linksAt = t.nextOfLinks()
}

// gather puts a broadcast into the next announcement to a link, and tells
// whether that is full.
func (t *Tree) gather(now time.Time, n *neighbor, e *cached) (full bool) {
	if len(n.announce) == 0 {
		n.announceAt = now.Add(t.cfg.AnnounceEvery)
		t.linksAt = proto.Sooner(t.linksAt, n.announceAt)
	}
	n.announce = append(n.announce, named{e.id, e.hops})
	return len(n.announce) >= announceMax
}

// announceMax is how many announcements gather at most, whatever the time.
const announceMax = proto.MaxRanges

// sendAnnounce sends the gathered announcements, save what the other end has
// got or announced meanwhile, or we can no longer give.
func (n *neighbor) sendAnnounce(c *cache, out *proto.Out) {
	n.announceAt = time.Time{}
	news := slices.DeleteFunc(n.announce, func(a named) bool {
		e := c.get(a.id)
		return e == nil || e.hasIt(n.link)
	})
	ranges(news, func(stream uint8, list []proto.Range) {
		out.Add(proto.Send{Link: n.link, Msg: proto.IHave{Stream: stream, Ranges: list}})
	})
	n.announce = n.announce[:0]
}

// parcels gathers within one step what goes into the next Graft, or
// GraftMiss, to each link.
type parcels []parcel

type parcel struct {
	link proto.LinkID
	id   proto.MsgID
}

func (p *parcels) add(link proto.LinkID, id proto.MsgID) { *p = append(*p, parcel{link, id}) }

// of is what there is for a link.
func (p parcels) of(link proto.LinkID) []named {
	var list []named
	for _, x := range p {
		if x.link == link {
			list = append(list, named{id: x.id})
		}
	}
	return list
}

// sendGrafts sends what this step found to be asked for, and to be missing.
func (t *Tree) sendGrafts(out *proto.Out) {
	if len(t.grafts) == 0 && len(t.misses) == 0 {
		return
	}
	for i := range t.neighbors {
		link := t.neighbors[i].link
		ranges(t.misses.of(link), func(stream uint8, list []proto.Range) {
			out.Add(proto.Send{Link: link, Msg: proto.GraftMiss{Stream: stream, Ranges: list}})
		})
		ranges(t.grafts.of(link), func(stream uint8, list []proto.Range) {
			out.Add(proto.Send{Link: link, Msg: proto.Graft{Stream: stream, Ranges: list}})
		})
	}
	t.misses, t.grafts = t.misses[:0], t.grafts[:0]
}
