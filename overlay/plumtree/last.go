package plumtree

import (
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// A lost broadcast shows when a later one comes. To show the loss of the last
// one, an origin that falls silent repeats how far it had come. The
// directory's stream needs none of it: its digests find what is missing.

// lastDue is when to repeat our last number in a stream; zero is never.
func (t *Tree) lastDue(streamNo uint8) time.Time {
	s := &t.streams[streamNo]
	if streamNo == proto.DirStream || s.own == 0 || s.repeats == len(t.cfg.LastAfter) {
		return time.Time{}
	}
	return s.ownAt.Add(t.cfg.LastAfter[s.repeats])
}

// nextLast is when the first of all streams is due; it is kept, for whoever
// asks for the deadline asks after each step.
func (t *Tree) nextLast() time.Time {
	var next time.Time
	for i := range t.streams {
		next = proto.Sooner(next, t.lastDue(uint8(i)))
	}
	return next
}

// sayLast floods our last numbers that are due.
func (t *Tree) sayLast(now time.Time, out *proto.Out) {
	if !proto.Due(now, t.lastAt) {
		return
	}
	for i := range t.streams {
		if !proto.Due(now, t.lastDue(uint8(i))) {
			continue
		}
		s := &t.streams[i]
		s.repeats++
		t.flood(proto.Last{ID: proto.MsgID{Origin: t.self, Stream: uint8(i), Seq: s.own}, Repeat: uint8(s.repeats)}, 0, out)
	}
	t.lastAt = t.nextLast()
}

func (t *Tree) flood(m proto.Last, except proto.LinkID, out *proto.Out) {
	var msg proto.Message = m // one for all
	for i := range t.neighbors {
		if n := &t.neighbors[i]; n.link != except && n.peer != m.ID.Origin {
			out.Add(proto.Send{Link: n.link, Msg: msg})
		}
	}
}

// last takes an origin's word on how far it has come. What is missing up to
// there is asked for at once: it should have come long ago.
func (t *Tree) last(now time.Time, n *neighbor, m proto.Last, out *proto.Out) (why string) {
	id := m.ID
	if id.Stream >= proto.Streams || id.Stream == proto.DirStream || m.Repeat < 1 ||
		!sane(proto.Range{Origin: id.Origin, From: id.Seq, To: id.Seq}) {
		return WhyMalformed
	}
	if id.Origin == t.self {
		return "" // the flood came round
	}
	k := key{id.Origin, id.Stream}
	w := t.window(k)
	if w == nil {
		switch mark, known := t.marks.get(k); {
		case known && id.Seq < mark:
			return WhyOld
		case !known && t.saidBeforeUs(now, m):
			t.marks.set(k, id.Seq, t.cfg.MarksMax)
		}
	}
	w, fresh := t.open(now, w, k, id.Seq)
	switch {
	case w == nil:
		return WhyWindowsFull
	case !fresh && t.jumps(w, id.Seq):
		return WhyJump
	case id.Seq < w.lastSeq || id.Seq == w.lastSeq && m.Repeat <= w.lastTime:
		return "" // passed on before
	}
	w.lastSeq, w.lastTime = id.Seq, m.Repeat
	t.flood(m, n.link, out)
	if id.Seq > w.base && id.Seq > w.top {
		w.busy()
		w.top = id.Seq
		w.lostAt = now.Add(t.cfg.LostAfter)
	}
	t.missBelow(now, w, n, id.Seq+1)
	t.hurry(now, w)
	t.reschedule(w)
	return ""
}

// saidBeforeUs tells whether the broadcast that a LAST speaks of is older than
// our first link.
func (t *Tree) saidBeforeUs(now time.Time, m proto.Last) bool {
	if !t.settled(now) {
		return true
	}
	i := min(int(m.Repeat), len(t.cfg.LastAfter)) - 1
	return i >= 0 && now.Sub(t.firstUp) < t.cfg.LastAfter[i]
}

// hurry asks at once for what nobody was asked for yet.
func (t *Tree) hurry(now time.Time, w *window) {
	for i := range w.wants {
		if v := &w.wants[i]; !v.tried && v.seq <= w.top {
			t.askNext(now, w, v)
		}
	}
}
