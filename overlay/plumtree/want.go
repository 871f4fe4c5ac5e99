package plumtree

import (
	"cmp"
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// want is a broadcast that was announced and has not come: one per number and
// window, with one timer (P6). As long as it lives there is a chance that the
// broadcast comes, and what waits for order waits for it.
type want struct {
	seq   uint64
	at    time.Time    // when the next source is asked, or the want is dropped
	ends  time.Time    // when it is dropped at the latest
	asked proto.LinkID // who was asked last, and may still answer in time; 0: nobody
	tried bool         // somebody was asked, or could have been
	// sources are who may have it, at most sourcesMax, without those whose link
	// went down or who said that they cannot give it. Up to turn they were asked.
	sources []source
	turn    int
	refused []proto.LinkID // who said that they cannot give it, at most sourcesMax
	owner   proto.LinkID   // whose quota it counts in
	owed    []proto.LinkID // who asked us for it meanwhile
}

// source is who is asked for a missing broadcast.
type source struct {
	link proto.LinkID
	// guess: it did not announce it, but sent a later one. It may miss it as we
	// do, and then must get it from us.
	guess bool
}

// sourcesMax is how many sources of one missing broadcast are remembered:
// more than an active view has links.
const sourcesMax = 16

func (w *window) findWant(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(w.wants, seq, func(v want, seq uint64) int { return cmp.Compare(v.seq, seq) })
}

// wanted notes that a link's other end has a broadcast that we miss, or by our
// guess may have it, to be asked for at the given time if it has not come. It
// tells whether there was room. The caller reschedules w.
func (t *Tree) wanted(now time.Time, w *window, seq uint64, n *neighbor, guess bool, at time.Time) bool {
	i, found := w.findWant(seq)
	if found {
		w.wants[i].announcedBy(source{n.link, guess})
		if v := &w.wants[i]; v.tried && v.asked == 0 && v.turn < len(v.sources) {
			t.askNext(now, w, v)
		}
		return true
	}
	if t.wants >= t.cfg.WantsMax || n.wants >= t.cfg.WantsMax/4 {
		return false
	}
	w.busy()
	w.wantsAt = proto.Sooner(w.wantsAt, at)
	w.wants = slices.Insert(w.wants, i, want{seq: seq, at: at, ends: now.Add(t.cfg.LostAfter), sources: []source{{n.link, guess}}, owner: n.link})
	n.wants++
	t.wants++
	return true
}

// announcedBy adds a source. Who announces it after being asked had not got it
// then, or does not push it: it is asked once more.
func (v *want) announcedBy(by source) {
	i := v.findSource(by.link)
	switch {
	case i < 0 && len(v.sources) < sourcesMax:
		v.sources = append(v.sources, by)
	case i < 0 || by.guess: // no news
	case i < v.turn:
		v.sources = append(slices.Delete(v.sources, i, i+1), by)
		v.turn--
	default:
		v.sources[i] = by
	}
}

// lost removes a source that will not give it.
func (v *want) lost(link proto.LinkID) {
	i := v.findSource(link)
	if i < 0 {
		return
	}
	v.sources = slices.Delete(v.sources, i, i+1)
	if i < v.turn {
		v.turn--
	}
}

func (v *want) findSource(link proto.LinkID) int {
	return slices.IndexFunc(v.sources, func(s source) bool { return s.link == link })
}

// asksUs notes that a source asks us for it: it has not got it, but may hand it
// on when it gets it, as whoever was asked.
func (v *want) asksUs(link proto.LinkID) {
	v.lost(link)
	if len(v.sources) < sourcesMax {
		v.sources = slices.Insert(v.sources, v.turn, source{link, true})
		v.turn++
	}
	v.owes(link)
}

// owes notes that we were asked for it.
func (v *want) owes(link proto.LinkID) {
	if len(v.owed) < sourcesMax && !slices.Contains(v.owed, link) {
		v.owed = append(v.owed, link)
	}
}

// askNext asks the next source. When all were asked it waits for any of them:
// links lose nothing, so who was asked answers, however late. When there is
// none it turns to all other neighbours, of whom one may be late and not even
// have heard of it. When all of them refused it leaves a last chance for a copy
// or an announcement that is on its way.
//
// "when the timer expires … a GRAFT to the first announcement's sender …
// another timer is started, to expire after a certain timeout" (Plumtree, 3.5).
func (t *Tree) askNext(now time.Time, w *window, v *want) {
	v.tried = true
	defer func() { w.wantsAt = proto.Sooner(w.wantsAt, v.at) }()
	if len(v.sources) == 0 && w.ordered() && w.openSince.IsZero() {
		t.anybody(v)
	}
	for v.turn < len(v.sources) {
		n := t.neighbor(v.sources[v.turn].link)
		if n == nil {
			v.lost(v.sources[v.turn].link)
			continue
		}
		v.turn++
		n.setEager(w.stream)
		t.grafts.add(n.link, proto.MsgID{Origin: w.origin, Stream: w.stream, Seq: v.seq})
		v.asked = n.link
		v.at = proto.Sooner(v.ends, now.Add(n.patience(&t.cfg)/2))
		return
	}
	v.asked = 0
	v.at = v.ends
	if len(v.sources) == 0 {
		v.at = proto.Sooner(v.ends, now.Add(t.cfg.GraftAfter/2))
	}
}

// anybody takes all neighbours that have not refused for sources.
func (t *Tree) anybody(v *want) {
	for i := range t.neighbors {
		if link := t.neighbors[i].link; len(v.sources) < sourcesMax && !slices.Contains(v.refused, link) {
			v.sources = append(v.sources, source{link, true})
		}
	}
}

// fireWants asks for what is due, and drops what nobody is left to ask for.
func (t *Tree) fireWants(now time.Time, w *window) {
	if len(w.wants) == 0 {
		return
	}
	w.wantsAt = time.Time{}
	for i := 0; i < len(w.wants); {
		v := &w.wants[i]
		// Who is in the middle of a long answer has not failed: links keep order.
		if n := t.neighbor(v.asked); n != nil {
			v.at = proto.Sooner(v.ends, later(v.at, n.answered.Add(n.patience(&t.cfg)/2)))
		}
		if !now.Before(v.at) {
			if !now.Before(v.ends) || v.tried && v.asked == 0 && v.turn == len(v.sources) {
				t.unwant(w, i)
				continue
			}
			t.askNext(now, w, v)
		}
		w.wantsAt = proto.Sooner(w.wantsAt, v.at)
		i++
	}
}

// unwant drops the i-th want. Who asked us for it meanwhile is told that it
// must ask another, unless it has come.
func (t *Tree) unwant(w *window, i int) {
	v := &w.wants[i]
	id := proto.MsgID{Origin: w.origin, Stream: w.stream, Seq: v.seq}
	for _, link := range v.owed {
		if n := t.neighbor(link); n != nil && t.cache.get(id) == nil {
			t.misses.add(n.link, id)
		}
	}
	if n := t.neighbor(v.owner); n != nil {
		mustHold(n.wants > 0, "a link has caused fewer waits than none")
		n.wants--
	}
	t.wants--
	if i == 0 {
		w.wants[0] = want{}
		w.wants = w.wants[1:] // they mostly come in order
	} else {
		w.wants = slices.Delete(w.wants, i, i+1)
	}
	if len(w.wants) == 0 {
		w.wants, w.wantsAt = nil, time.Time{}
	}
}

// unwantUpTo drops what is no longer missed.
func (t *Tree) unwantUpTo(w *window, seq uint64) {
	for len(w.wants) > 0 && w.wants[0].seq <= seq {
		t.unwant(w, 0)
	}
}

// lostSource drops a source of a want, and asks the next if it is its turn.
func (t *Tree) lostSource(now time.Time, w *window, v *want, link proto.LinkID) {
	v.lost(link)
	if v.asked == link || v.tried && v.asked == 0 && len(v.sources) == 0 && v.at.Equal(v.ends) {
		t.askNext(now, w, v)
	}
}

// owe notes that the other end of n asked for what is not here. If we miss it
// ourselves it gets it when we do, or hears that it must ask another: told at
// once to, it would give up before us. It tells false if that will not be so.
func (t *Tree) owe(now time.Time, n *neighbor, id proto.MsgID) bool {
	w := t.window(key{id.Origin, id.Stream})
	if w == nil || w.done(id.Seq) || t.jumps(w, id.Seq) {
		return false
	}
	defer t.reschedule(w)
	i, found := w.findWant(id.Seq)
	open := !w.openSince.IsZero()
	switch {
	case !found && (open || !t.wanted(now, w, id.Seq, n, true, now.Add(n.patience(&t.cfg)))):
		return false
	case open: // it may be older than both of us: that two ask each other is no hope
		t.lostSource(now, w, &w.wants[i], n.link)
		w.wants[i].owes(n.link)
	default:
		w.wants[i].asksUs(n.link)
	}
	return true
}
