package plumtree

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// neighbor is one link of the active view, as broadcasts see it. What every
// step looks at stands first, so that it is little memory.
type neighbor struct {
	link proto.LinkID
	peer peer.ID

	// lazy has a bit per stream: set, the link gets announcements only; clear,
	// it gets the broadcasts. Eager and lazy are so always the whole view (P1).
	lazy uint16

	announceAt time.Time // when announce goes out
	owedAt     time.Time // when to go on with owed

	wants    int     // missing broadcasts that its messages made us wait for; its own quota
	announce []named // gathered for the next IHave
	graft    []named // gathered within one step for the next Graft
	miss     []named // and for the next GraftMiss
	owed     []named // it asked for them, and its budget did not cover them yet

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
	return min(max(cfg.GraftAfter, 3*slices.Max(n.rtts[:])), cfg.GraftAfterMax)
}

// timing notes a round trip.
func (n *neighbor) timing(rtt time.Duration, cfg *Config) {
	n.rtts[n.rtt] = min(max(rtt, 0), cfg.GraftAfterMax)
	n.rtt = (n.rtt + 1) % len(n.rtts)
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
	t.neighbors = append(t.neighbors, &neighbor{link: link, peer: id})
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
	i := slices.IndexFunc(t.neighbors, func(n *neighbor) bool { return n.link == link })
	if i < 0 {
		return
	}
	t.neighbors = slices.Delete(t.neighbors, i, i+1)
	t.cache.forget(link)
	for _, w := range slices.Clone(t.due) {
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
	for _, n := range t.neighbors {
		all = append(all, n.link)
		if !n.isLazy(stream) {
			eager = append(eager, n.link)
		}
	}
	return all, eager
}

// Degree is how many links there are in the active view, as far as this machine was told.
func (t *Tree) Degree() int { return len(t.neighbors) }

func (t *Tree) neighbor(link proto.LinkID) *neighbor {
	for _, n := range t.neighbors {
		if n.link == link {
			return n
		}
	}
	return nil
}

// forward passes a broadcast on: the body over eager links, its name over lazy
// ones, nothing where it is known already.
func (t *Tree) forward(now time.Time, e *cached, out *proto.Out) {
	for _, n := range t.neighbors {
		switch {
		case e.hasIt(n.link):
		case n.peer == e.id.Origin:
		case n.isLazy(e.id.Stream):
			if len(n.announce) == 0 {
				n.announceAt = now.Add(t.cfg.AnnounceEvery)
			}
			n.announce = append(n.announce, named{e.id, e.hops})
		default:
			t.push(n, e, out)
		}
	}
	for _, n := range t.neighbors {
		if t.members > 0 && t.members <= t.cfg.AnnounceAtOnce || len(n.announce) >= announceMax {
			n.sendAnnounce(&t.cache, out)
		}
	}
}

func (t *Tree) push(n *neighbor, e *cached, out *proto.Out) {
	mustHold(!e.hasIt(n.link), "a broadcast would go twice over one link")
	e.nowHas(n.link)
	out.Add(proto.Send{Link: n.link, Msg: proto.Gossip{ID: e.id, Round: further(e.hops), Body: e.body}})
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

// sendGrafts sends what this step found to be asked for, and to be missing.
func (t *Tree) sendGrafts(out *proto.Out) {
	for _, n := range t.neighbors {
		ranges(n.miss, func(stream uint8, list []proto.Range) {
			out.Add(proto.Send{Link: n.link, Msg: proto.GraftMiss{Stream: stream, Ranges: list}})
		})
		n.miss = n.miss[:0]
		ranges(n.graft, func(stream uint8, list []proto.Range) {
			out.Add(proto.Send{Link: n.link, Msg: proto.Graft{Stream: stream, Ranges: list}})
		})
		n.graft = n.graft[:0]
	}
}
