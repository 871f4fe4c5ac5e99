package plumtree

import (
	"github.com/starlingmesh/starling/overlay/proto"
)

// Check panics, in words, if what must always hold does not. It looks at what
// is cheap after every step: links (P1), the next window's timers (P6) and the
// bounds of all tables (P7).
func (t *Tree) Check() {
	for i, n := range t.neighbors {
		mustHold(n.link != 0, "a link without a name in the active view")
		mustHold(n.wants >= 0 && n.wants <= t.cfg.WantsMax/4, "a link caused more waits than its quota")
		mustHold(len(n.announce) == 0 == n.announceAt.IsZero(), "announcements without a timer, or a timer without announcements")
		mustHold(len(n.announce) < announceMax, "announcements gathered above their bound")
		mustHold(len(n.graft) == 0 && len(n.miss) == 0, "requests or misses left over after a step")
		mustHold(len(n.owed) == 0 == n.owedAt.IsZero(), "something owed without a timer, or a timer for nothing")
		mustHold(len(n.owed) <= t.cfg.WantsMax/4, "more owed to a link than its bound")
		for _, other := range t.neighbors[:i] {
			mustHold(other.link != n.link, "a link twice in the active view")
		}
	}
	mustHold(len(t.windows) == len(t.due), "a window is not scheduled")
	mustHold(len(t.windows) <= t.cfg.WindowsMax, "more windows than their bound")
	mustHold(t.marks.count <= t.cfg.MarksMax, "more marks than their bound")
	mustHold(len(t.cache.byID) == len(t.cache.queue) && len(t.cache.queue) <= t.cfg.CacheCount, "more broadcasts kept than their bound")
	mustHold(t.cache.bytes >= 0 && t.cache.bytes <= t.cfg.CacheBytes, "more bytes kept than their bound")
	mustHold(t.wants >= 0 && t.wants <= t.cfg.WantsMax, "more broadcasts waited for than their bound")
	mustHold(t.waiting >= 0 && t.waiting <= t.cfg.OrderTotal, "more bytes held back than their bound")
	if len(t.due) > 0 {
		t.checkStart(t.due[0], checkMost)
	}
}

// checkMost is how much of a window is looked at after every step: one that a
// burst has filled would cost more to look at than to work on.
const checkMost = 64

// checkWindow looks at one window as a whole.
func (t *Tree) checkWindow(w *window) { t.checkStart(w, max(len(w.ahead), len(w.wants))) }

// checkStart looks at what comes first in a window.
func (t *Tree) checkStart(w *window, most int) {
	mustHold(none.first == 0 && none.top == 0 && none.ahead == nil && none.wants == nil && none.said == nil, "work noted where there is none")
	mustHold(w.origin != t.self && w.stream < proto.Streams, "a window of our own, or of no stream")
	mustHold(len(w.ahead) <= t.cfg.OrderCount, "more held back than its bound")
	mustHold(w.bytes <= t.cfg.OrderBytes || len(w.ahead) == 1, "more bytes held back in a window than its bound")
	bytes, below := 0, w.base
	for i := range w.ahead[:min(most, len(w.ahead))] {
		a := &w.ahead[i]
		mustHold(a.seq > below, "held back twice, or below the window")
		mustHold(i > 0 || a.seq > w.base+1 || !w.openSince.IsZero(), "held back for nothing")
		mustHold(i == 0 || !a.since.Before(w.ahead[i-1].since), "a later number waits for longer than an earlier one")
		below, bytes = a.seq, bytes+a.size
	}
	mustHold(bytes == w.bytes || len(w.ahead) > most, "bytes held back are counted wrongly")
	below = w.base
	for i := range w.wants[:min(most, len(w.wants))] {
		v := &w.wants[i]
		mustHold(v.seq > below, "two timers for one missing broadcast, or one for what is not missing")
		mustHold(!v.at.IsZero() && !v.at.Before(w.wantsAt), "a missing broadcast without its timer")
		mustHold(len(v.sources) <= sourcesMax && len(v.owed) <= sourcesMax && v.turn <= len(v.sources), "more sources or askers of one broadcast than their bound")
		mustHold(!w.done(v.seq), "waiting for what is here")
		below = v.seq
	}
	mustHold(!w.next.IsZero(), "a window without a timer")
}
