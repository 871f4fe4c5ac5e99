package plumtree

import (
	"cmp"
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// want is a broadcast that was announced and has not come: one per number and
// window, with one timer (P6).
type want struct {
	seq     uint64
	at      time.Time      // when the next source is asked, or the want is dropped
	asked   proto.LinkID   // who owes it now; 0: nobody
	tried   bool           // somebody was asked, or could have been
	sources []proto.LinkID // who announced it, at most sourcesMax
	turn    int            // which of them is asked next
	owner   proto.LinkID   // whose quota it counts in
}

// sourcesMax is how many announcers of one missing broadcast are remembered:
// more than an active view has links.
const sourcesMax = 16

func (w *window) findWant(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(w.wants, seq, func(v want, seq uint64) int { return cmp.Compare(v.seq, seq) })
}

// wanted notes that a link's other end has a broadcast that we miss, to be
// asked for at the given time if it has not come. It tells whether there was
// room. The caller reschedules w.
func (t *Tree) wanted(now time.Time, w *window, seq uint64, n *neighbor, at time.Time) bool {
	i, found := w.findWant(seq)
	if found {
		v := &w.wants[i]
		if len(v.sources) < sourcesMax && !slices.Contains(v.sources, n.link) {
			v.sources = append(v.sources, n.link)
			if v.tried && v.asked == 0 {
				t.askNext(now, w, v)
			}
		}
		return true
	}
	if t.wants >= t.cfg.WantsMax || n.wants >= t.cfg.WantsMax/4 {
		return false
	}
	w.wantsAt = earlier(w.wantsAt, at)
	w.wants = slices.Insert(w.wants, i, want{seq: seq, at: at, sources: []proto.LinkID{n.link}, owner: n.link})
	n.wants++
	t.wants++
	return true
}

// askNext asks the next that announced it. Without one it leaves a last chance
// for a copy or an announcement that is on its way, and tells false.
//
// "when the timer expires … a GRAFT to the first announcement's sender …
// another timer is started, to expire after a certain timeout" (Plumtree, 3.5).
func (t *Tree) askNext(now time.Time, w *window, v *want) bool {
	v.tried = true
	defer func() { w.wantsAt = earlier(w.wantsAt, v.at) }()
	for v.turn < len(v.sources) {
		n := t.neighbor(v.sources[v.turn])
		v.turn++
		if n == nil {
			continue
		}
		n.setEager(w.stream)
		n.graft = append(n.graft, named{id: proto.MsgID{Origin: w.origin, Stream: w.stream, Seq: v.seq}})
		v.asked = n.link
		v.at = now.Add(n.patience(&t.cfg) / 2)
		return true
	}
	v.asked = 0
	v.at = now.Add(t.cfg.GraftAfter / 2)
	return false
}

// fireWants asks for what is due, and drops what nobody is left to ask for.
func (t *Tree) fireWants(now time.Time, w *window) {
	w.wantsAt = time.Time{}
	for i := 0; i < len(w.wants); {
		v := &w.wants[i]
		// Who is in the middle of a long answer has not failed: links keep order.
		if n := t.neighbor(v.asked); n != nil {
			v.at = later(v.at, n.answered.Add(n.patience(&t.cfg)/2))
		}
		if !now.Before(v.at) {
			hadNobody := v.tried && v.asked == 0
			if !t.askNext(now, w, v) && hadNobody {
				t.unwant(w, i)
				continue
			}
		}
		w.wantsAt = earlier(w.wantsAt, v.at)
		i++
	}
}

// unwant drops the i-th want.
func (t *Tree) unwant(w *window, i int) {
	if n := t.neighbor(w.wants[i].owner); n != nil {
		n.wants--
	}
	t.wants--
	if i == 0 {
		w.wants = w.wants[1:] // they mostly come in order
	} else {
		w.wants = slices.Delete(w.wants, i, i+1)
	}
	if len(w.wants) == 0 {
		w.wants = nil
	}
}

// unwantUpTo drops what is no longer missed.
func (t *Tree) unwantUpTo(w *window, seq uint64) {
	for len(w.wants) > 0 && w.wants[0].seq <= seq {
		t.unwant(w, 0)
	}
}
