package plumtree

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// gossip takes a broadcast. n is nil if the link is not in the active view.
func (t *Tree) gossip(now time.Time, link proto.LinkID, n *neighbor, m proto.Gossip, out *proto.Out) (why string) {
	id := m.ID
	if id.Stream >= proto.Streams || !sane(proto.Range{Origin: id.Origin, From: id.Seq, To: id.Seq}) || m.Body == nil {
		return WhyMalformed
	}
	if e := t.cache.get(id); e != nil {
		t.duplicate(now, n, e, out)
		return WhyDuplicate
	}
	if id.Origin == t.self {
		if id.Seq <= t.streams[id.Stream].own {
			return WhyOld
		}
		return WhyOwn
	}
	size := sizeOf(m.Body)
	if size > t.cfg.BodyMax+overhead {
		return WhyTooBig
	}
	k := key{id.Origin, id.Stream}
	w, fresh := t.open(now, t.window(k), k, id.Seq)
	switch {
	case w == nil:
		return WhyWindowsFull
	case w.done(id.Seq):
		return WhyOld
	case !fresh && t.jumps(w, id.Seq):
		return WhyJump
	}
	w.lastAt = now
	e := &cached{id: id, body: m.Body, size: size, hops: m.Round, at: now, parent: link, best: m.Round}
	e.nowHas(link)
	t.cache.add(e, &t.cfg)
	t.arrived(now, w, e)
	t.heard(now, id)
	t.forward(now, e, out)
	t.take(now, w, e, out)
	t.missBelow(now, w, n, id.Seq)
	t.reschedule(w)
	return ""
}

// arrived ends the wait for a broadcast: those who announced it have it.
func (t *Tree) arrived(now time.Time, w *window, e *cached) {
	i, found := w.findWant(e.id.Seq)
	if !found {
		return
	}
	v := &w.wants[i]
	for _, s := range v.sources {
		if !s.guess {
			e.nowHas(s.link)
		}
	}
	if i := v.findSource(e.parent); i >= 0 && i < v.turn {
		if n := t.neighbor(e.parent); n != nil {
			n.answered = now
		}
	}
	t.unwant(w, i)
}

// missBelow notes what precedes a broadcast that came over n and is not here.
// Who has one of them has likely those before, so it may be asked for them;
// each link is taken so once for a number. Where a sequence began for us is not
// known at first: what others still keep of it was said in our time.
func (t *Tree) missBelow(now time.Time, w *window, n *neighbor, seq uint64) {
	if n == nil || w.base+1 >= seq {
		return
	}
	said := w.saidBy(n.link)
	s := max(w.base+1, said.below, seq-min(seq, missMax))
	at := now.Add(n.patience(&t.cfg))
	for i, _ := w.findAhead(s); s < seq; s++ {
		if i < len(w.ahead) && w.ahead[i].seq == s {
			i++
		} else if !t.wanted(now, w, s, n, true, at) {
			break
		}
	}
	said.below = max(said.below, s)
}

// missMax is how many numbers below one that came are taken for missing. Who
// missed more than that has links come up, and hears of them as a range.
const missMax = 4096

// said is below which number a link was taken for an announcer.
type said struct {
	link  proto.LinkID
	below uint64
}

// saidBy finds what a link was taken for, of the last sourcesMax.
func (w *window) saidBy(link proto.LinkID) *said {
	w.busy()
	i := slices.IndexFunc(w.said, func(s said) bool { return s.link == link })
	if i < 0 {
		if len(w.said) == sourcesMax {
			w.said = slices.Delete(w.said, 0, 1)
		}
		w.said = append(w.said, said{link: link})
		i = len(w.said) - 1
	}
	return &w.said[i]
}

// duplicate handles a copy of what we have: one of two eager links is too many.
// Only of a recent broadcast, whose parent still pushes to us; else two
// senders would have a node give up all its eager links, or an answer to a
// graft that crossed on the way would count. Our own that comes back always is.
func (t *Tree) duplicate(now time.Time, n *neighbor, e *cached, out *proto.Out) {
	if n == nil {
		return
	}
	e.nowHas(n.link)
	if now.Sub(e.at) > t.cfg.RecentFor {
		return
	}
	stream := e.id.Stream
	if e.parent != 0 {
		parent := t.neighbor(e.parent)
		if parent == nil || parent == n || parent.isLazy(stream) {
			return
		}
	}
	t.prune(now, n, stream, out)
}

// prune makes a link lazy on both sides; at most once in T1, which is more
// than those copies need that are already on their way.
func (t *Tree) prune(now time.Time, n *neighbor, stream uint8, out *proto.Out) {
	if last := n.pruned[stream]; !last.IsZero() && now.Sub(last) < n.patience(&t.cfg) {
		return
	}
	n.setLazy(stream)
	n.pruned[stream] = now
	out.Add(proto.Send{Link: n.link, Msg: proto.Prune{Stream: stream}})
}

// iHave takes announcements: what we miss is asked for if it does not come by
// itself, what we have tells about the tree.
func (t *Tree) iHave(now time.Time, n *neighbor, m proto.IHave, out *proto.Out) (why string) {
	if !wellFormed(m.Stream, m.Ranges) {
		return WhyMalformed
	}
	left := t.cfg.CacheCount
	for _, r := range m.Ranges {
		t.othersHave(now, n, m.Stream, r, out)
		if r.Origin == t.self {
			continue
		}
		if why := t.announced(now, n, key{r.Origin, m.Stream}, r, &left); why != "" {
			return why
		}
	}
	return ""
}

// announced notes what we miss of a range. left is how many numbers may still
// be looked at for this message.
func (t *Tree) announced(now time.Time, n *neighbor, k key, r proto.Range, left *int) (why string) {
	w := t.window(k)
	if w == nil {
		mark, known := t.marks.get(k)
		switch {
		case known && r.To <= mark:
			return ""
		case !known && r.Round == proto.RoundHistory && !t.settled(now):
			t.marks.set(k, r.To, t.cfg.MarksMax) // "a newcomer starts at the high mark"
			return ""
		}
	}
	w, fresh := t.open(now, w, k, r.From)
	if w == nil {
		return WhyWindowsFull
	}
	if !fresh && t.jumps(w, r.To) {
		return WhyJump
	}
	defer t.reschedule(w)
	at := now.Add(n.patience(&t.cfg))
	for s := max(r.From, w.base+1); s <= r.To; s++ {
		if *left--; *left < 0 {
			return WhyTooWide
		}
		if !w.done(s) && !t.wanted(now, w, s, n, false, at) {
			return WhyWantsFull
		}
	}
	return ""
}

// othersHave notes who has what we have too, and swaps the parent when the
// announcer has it over a way that is shorter by enough (Plumtree, 3.8).
func (t *Tree) othersHave(now time.Time, n *neighbor, stream uint8, r proto.Range, out *proto.Out) {
	from := r.From
	if r.To-from >= announcedMax {
		from = r.To - announcedMax + 1
	}
	var e *cached // in the end the last of them
	for s := from; s <= r.To; s++ {
		if e = t.cache.get(proto.MsgID{Origin: r.Origin, Stream: stream, Seq: s}); e != nil {
			e.nowHas(n.link)
		}
	}
	if e == nil || e.parent == 0 || e.parent == n.link || now.Sub(e.at) > t.cfg.RecentFor {
		return
	}
	parent := t.neighbor(e.parent)
	if parent == nil || parent.isLazy(stream) || int(e.best)-int(r.Round) < t.swapAt(now, stream) {
		return
	}
	e.parent, e.best = n.link, further(r.Round)
	n.setEager(stream)
	out.Add(proto.Send{Link: n.link, Msg: proto.Graft{Stream: stream}})
	t.prune(now, parent, stream, out)
}

// announcedMax is how many numbers of a range, from its end, are looked up in
// the cache: announcements of one moment are few.
const announcedMax = 64

// grafted answers a request: what the cache has goes out, as fast as the
// asker's budget allows; what we wait for ourselves goes out when it comes;
// of the rest it is told that it must ask another.
func (t *Tree) grafted(now time.Time, n *neighbor, m proto.Graft, out *proto.Out) (why string) {
	if !wellFormed(m.Stream, m.Ranges) {
		return WhyMalformed
	}
	n.setEager(m.Stream)
	left := t.cfg.CacheCount
	var missed []proto.Range
	for _, r := range m.Ranges {
		for s := r.From; s <= r.To; s++ {
			if left--; left < 0 {
				missed = append(missed, proto.Range{Origin: r.Origin, From: s, To: r.To})
				break
			}
			id := proto.MsgID{Origin: r.Origin, Stream: m.Stream, Seq: s}
			e := t.cache.get(id)
			switch {
			case e == nil && t.owe(now, n, id), e != nil && e.hasIt(n.link): // it is, or will be, on its way there
			case e == nil || len(n.owed) >= t.cfg.WantsMax/4: // more than it can be waiting for
				missed = miss(missed, r.Origin, s)
			default:
				n.owed = append(n.owed, named{id: id})
			}
		}
	}
	t.serve(now, n, out)
	t.linksAt = t.nextOfLinks()
	for len(missed) > 0 {
		k := min(len(missed), proto.MaxRanges)
		out.Add(proto.Send{Link: n.link, Msg: proto.GraftMiss{Stream: m.Stream, Ranges: missed[:k:k]}})
		missed = missed[k:]
	}
	return ""
}

// serve gives a link what it asked for, within its budget.
func (t *Tree) serve(now time.Time, n *neighbor, out *proto.Out) {
	budget := n.served.has(now, t.cfg.GraftBytes, t.cfg.GraftBurst)
	for len(n.owed) > 0 && budget > 0 {
		switch e := t.cache.get(n.owed[0].id); {
		case e == nil: // dropped since
			t.misses.add(n.link, n.owed[0].id)
		case !e.hasIt(n.link):
			e.push(n, e.gossip(), out)
			n.served.take(e.size)
			budget -= float64(e.size)
		}
		n.owed = n.owed[1:]
	}
	n.owedAt = time.Time{}
	if len(n.owed) > 0 {
		n.owedAt = n.served.until(now, t.cfg.GraftBytes, t.cfg.GraftBurst)
	} else {
		n.owed = nil
	}
}

// miss adds one number to what is missed.
func miss(list []proto.Range, origin peer.ID, seq uint64) []proto.Range {
	if i := len(list) - 1; i >= 0 && list[i].Origin == origin && list[i].To+1 == seq {
		list[i].To = seq
		return list
	}
	return append(list, proto.Range{Origin: origin, From: seq, To: seq})
}

// graftMissed asks the next announcers of what n could not give.
func (t *Tree) graftMissed(now time.Time, n *neighbor, m proto.GraftMiss) (why string) {
	if !wellFormed(m.Stream, m.Ranges) {
		return WhyMalformed
	}
	for _, r := range m.Ranges {
		w := t.window(key{r.Origin, m.Stream})
		if w == nil || len(w.wants) == 0 {
			continue
		}
		i, _ := w.findWant(r.From)
		for ; i < len(w.wants) && w.wants[i].seq <= r.To; i++ {
			v := &w.wants[i]
			if len(v.refused) < sourcesMax && !slices.Contains(v.refused, n.link) {
				v.refused = append(v.refused, n.link)
			}
			t.lostSource(now, w, v, n.link)
		}
		t.reschedule(w)
	}
	return ""
}
