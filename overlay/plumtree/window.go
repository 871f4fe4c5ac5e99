package plumtree

import (
	"cmp"
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// key names a sequence of broadcasts: one origin in one stream.
type key struct {
	origin peer.ID
	stream uint8
}

// window knows which broadcasts of one origin in one stream were dealt with.
// Everything up to base was: delivered, told as a gap, or said before our time.
// What comes below it is dropped, so nothing is ever delivered twice (P2).
// There is one for each origin that spoke lately, so what only a window with
// work left needs stands apart.
type window struct {
	key
	lastTime uint8
	place    int32 // in Tree.due
	base     uint64
	lastSeq  uint64    // highest LAST passed on, to pass each on once
	*work              // never nil: none while there is nothing left to do
	next     time.Time // earliest of all its timers
	lastAt   time.Time // of the last broadcast
}

// work is what a window has not dealt with.
type work struct {
	ahead []ahead // received above base, ascending; all but the directory's wait there for order
	bytes int     // of the bodies that wait

	// While openSince is set we do not know where the sequence began for us: a
	// node that has been here for long heard its first word from this origin,
	// and it was not number 1. Earlier ones may be on their way, or were said
	// before we came. Nothing is delivered until those before were waited for;
	// first is the lowest number heard of.
	openSince time.Time
	first     uint64

	top    uint64    // the origin said that it came so far
	lostAt time.Time // when to give up what is missing up to top

	wants   []want    // announced and not here, ascending
	wantsAt time.Time // none of their timers is earlier
	said    []said    // who was taken for an announcer of what came before
}

// none is the work of all windows that have none. It is never written to.
var none work

// busy makes room for work.
func (w *window) busy() {
	if w.work == &none {
		w.work = new(work)
	}
}

// rest lets go of the room for work that is done.
func (w *window) rest() {
	if w.idle() {
		w.work = &none
	}
}

// ahead is a broadcast received before one that precedes it.
type ahead struct {
	seq   uint64
	body  proto.Body // nil: delivered already
	size  int
	hops  uint16
	since time.Time // the wait for what precedes it; never before that of an earlier number
}

func (w *window) findAhead(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(w.ahead, seq, func(a ahead, seq uint64) int { return cmp.Compare(a.seq, seq) })
}

// done tells whether a number was dealt with or is here already.
func (w *window) done(seq uint64) bool {
	if seq <= w.base {
		return true
	}
	_, here := w.findAhead(seq)
	return here
}

func (w *window) ordered() bool { return w.stream != proto.DirStream }

// window finds a window, nil if there is none.
func (t *Tree) window(k key) *window {
	found := t.foundAt(k)
	if *found != nil && (*found).key == k {
		return *found
	}
	w := t.windows[k]
	if w != nil {
		*found = w
	}
	return w
}

// foundAt is the place of a window among those found last.
func (t *Tree) foundAt(k key) **window {
	return &t.found[int(k.origin[0]^k.origin[peer.IDLen-1]^k.stream)%len(t.found)]
}

// open returns the window of k for news of seq, making it if there is none;
// fresh tells that it was. It returns nil if there is no room.
func (t *Tree) open(now time.Time, w *window, k key, seq uint64) (_ *window, fresh bool) {
	if w != nil {
		if !w.openSince.IsZero() {
			w.first = min(w.first, seq)
		}
		return w, false
	}
	if len(t.windows) >= t.cfg.WindowsMax {
		oldest := t.due[0].window
		if !oldest.idle() {
			return nil, false
		}
		t.finish(oldest)
	}
	w = &window{key: k, lastAt: now, place: -1, work: &none}
	mark, known := t.marks.get(k)
	switch {
	case known:
		w.base = mark
	case !t.settled(now):
		w.base = seq - 1
	case seq > 1:
		w.busy()
		w.openSince, w.first = now, seq
	}
	t.windows[k], *t.foundAt(k) = w, w
	t.reschedule(w)
	return w, true
}

// settled tells that we have been here long enough to have missed what we do
// not know; before, it is history.
func (t *Tree) settled(now time.Time) bool {
	return !t.firstUp.IsZero() && now.Sub(t.firstUp) >= t.cfg.SettleFor
}

// jumps tells whether a number is too far ahead to be believed.
func (t *Tree) jumps(w *window, seq uint64) bool {
	return w.openSince.IsZero() && seq > w.base && seq-w.base > t.cfg.JumpMax
}

// waited is until when what waits since then waits for those before it: T1 +
// T2 of the slowest link, or for LostAfter while there is a chance that one of
// them comes (see want). A starved node is late by far more than its round
// trips foretell. In the directory's stream nothing waits, and the time only
// says how long a hole stays open.
func (t *Tree) waited(w *window, since time.Time) time.Time {
	hopeful := len(w.wants) > 0 && (len(w.ahead) == 0 || w.wants[0].seq < w.ahead[0].seq)
	if hopeful || !w.ordered() {
		return since.Add(t.cfg.LostAfter)
	}
	t1 := t.cfg.GraftAfter
	for i := range t.neighbors {
		t1 = max(t1, t.neighbors[i].patience(&t.cfg))
	}
	return since.Add(min(t1+t1/2, t.cfg.LostAfter))
}

// take puts a broadcast that is new into its window, and delivers what can be.
func (t *Tree) take(now time.Time, w *window, e *cached, out *proto.Out) {
	a := ahead{seq: e.id.Seq, body: e.body, size: e.size, hops: e.hops, since: now}
	if w.work == &none && a.seq == w.base+1 { // as nearly all do
		w.base = a.seq
		t.deliver(w, a, out)
		return
	}
	if !w.ordered() {
		t.deliver(w, a, out)
		a.body, a.size = nil, 0
	}
	w.busy()
	i, _ := w.findAhead(a.seq)
	if i < len(w.ahead) {
		a.since = w.ahead[i].since // what is missing before it is missing there too
	}
	w.ahead = slices.Insert(w.ahead, i, a)
	w.bytes += a.size
	t.waiting += a.size
	t.advance(w, out)
	for len(w.ahead) > t.cfg.OrderCount || w.bytes > t.cfg.OrderBytes && len(w.ahead) > 1 || t.waiting > t.cfg.OrderTotal && len(w.ahead) > 0 {
		t.skip(w, out)
	}
}

// advance delivers what follows base without a hole.
func (t *Tree) advance(w *window, out *proto.Out) {
	if len(w.ahead) > 0 && w.ahead[0].seq == w.base+1 {
		w.openSince = time.Time{} // number 1 is here: now we know where it began
	}
	for len(w.ahead) > 0 && w.ahead[0].seq == w.base+1 {
		a := w.ahead[0]
		w.ahead[0] = ahead{}
		w.ahead = w.ahead[1:]
		w.bytes -= a.size
		t.waiting -= a.size
		w.base = a.seq
		if a.body != nil {
			t.deliver(w, a, out)
		}
	}
	if len(w.ahead) == 0 {
		w.ahead = nil
	}
	if w.top <= w.base {
		w.lostAt = time.Time{}
	}
	t.unwantUpTo(w, w.base)
}

func (t *Tree) deliver(w *window, a ahead, out *proto.Out) {
	out.Add(proto.DeliverBody{ID: proto.MsgID{Origin: w.origin, Stream: w.stream, Seq: a.seq}, Body: a.body, Hops: a.hops})
}

// skip gives up what is missing before the first that is here: the
// application hears of it, in place. What comes later all the same is dropped.
func (t *Tree) skip(w *window, out *proto.Out) {
	mustHold(len(w.ahead) > 0, "nothing to skip to")
	t.startAt(w)
	t.giveUpTo(w, w.ahead[0].seq-1, out)
	t.advance(w, out)
}

// startAt ends the time in which we did not know where the sequence began for us.
func (t *Tree) startAt(w *window) {
	if !w.openSince.IsZero() {
		w.openSince = time.Time{}
		w.base = w.first - 1
		t.unwantUpTo(w, w.base)
	}
}

// giveUpTo moves base over what is missing up to seq, and says so.
func (t *Tree) giveUpTo(w *window, seq uint64, out *proto.Out) {
	if seq <= w.base {
		return
	}
	if w.ordered() {
		out.Add(proto.Gap{Origin: w.origin, Stream: w.stream, Count: seq - w.base})
	}
	w.base = seq
	t.unwantUpTo(w, seq)
}

// idle tells that a window only waits for its end.
func (w *window) idle() bool {
	return len(w.ahead) == 0 && len(w.wants) == 0 && w.openSince.IsZero() && w.lostAt.IsZero()
}

// wake does what is due in a window.
func (t *Tree) wake(now time.Time, w *window, out *proto.Out) {
	t.fireWants(now, w)
	if !w.openSince.IsZero() && !now.Before(t.waited(w, w.openSince)) {
		t.startAt(w)
		t.advance(w, out)
	}
	for w.openSince.IsZero() && len(w.ahead) > 0 && !now.Before(t.waited(w, w.ahead[0].since)) {
		t.skip(w, out)
	}
	if proto.Due(now, w.lostAt) {
		w.lostAt = time.Time{}
		if len(w.ahead) > 0 { // they have timers of their own, and go first
			w.lostAt = now.Add(t.cfg.LostAfter)
		} else {
			t.startAt(w)
			t.giveUpTo(w, w.top, out)
		}
	}
	if w.idle() && !now.Before(w.lastAt.Add(t.cfg.WindowFor)) {
		t.finish(w)
		return
	}
	t.reschedule(w)
}

// deadline is the earliest of a window's timers.
func (t *Tree) deadline(w *window) time.Time {
	var next time.Time
	switch {
	case !w.openSince.IsZero():
		next = t.waited(w, w.openSince)
	case len(w.ahead) > 0:
		next = t.waited(w, w.ahead[0].since)
	}
	next = proto.Sooner(next, w.lostAt)
	if len(w.wants) > 0 {
		next = proto.Sooner(next, w.wantsAt)
	}
	if w.idle() {
		next = w.lastAt.Add(t.cfg.WindowFor)
	}
	mustHold(!next.IsZero(), "a window without a timer")
	return next
}

// finish ends a window; its high mark remains.
func (t *Tree) finish(w *window) {
	mustHold(w.idle(), "a window ended with work left")
	t.marks.set(w.key, w.base, t.cfg.MarksMax)
	delete(t.windows, w.key)
	if found := t.foundAt(w.key); *found == w {
		*found = nil
	}
	t.unschedule(w)
}

// marks remembers how far sequences had come whose windows ended, the latest
// of them: so that an origin that speaks again goes on where it stopped. Every
// member that ever spoke has one, so it is 32 bytes and no pointer.
type marks struct {
	turns uint64                        // so many sequences ever had one
	count int                           // of those kept: the last ones
	of    [proto.Streams]peer.Map[mark] // by origin
}

type mark struct {
	base uint64
	turn uint64
}

func (m *marks) get(k key) (uint64, bool) {
	have, ok := m.of[k.stream].Get(k.origin)
	return have.base, ok
}

func (m *marks) set(k key, base uint64, most int) {
	have, known := m.of[k.stream].Get(k.origin)
	if !known {
		m.turns++
		m.count++
		have.turn = m.turns
	}
	m.of[k.stream].Put(k.origin, mark{max(base, have.base), have.turn})
	if m.count <= most {
		return
	}
	// An eighth at once: finding the oldest takes a look at all.
	m.count = most - most/8
	for i := range m.of {
		m.of[i].DeleteFunc(func(_ peer.ID, old mark) bool { return old.turn+uint64(m.count) <= m.turns })
	}
}
