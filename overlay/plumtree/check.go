package plumtree

import (
	"slices"

	"github.com/starlingmesh/starling/overlay/proto"
)

// Check panics, in words, if what must always hold does not. It looks at what
// is cheap after every step: links (P1) and the bounds of all tables (P7). What
// a link or a window has under way (P6) is looked at where it changes.
func (t *Tree) Check() {
	for i := range t.neighbors {
		link := t.neighbors[i].link
		mustHold(link != 0, "a link without a name in the active view")
		mustHold(t.neighbor(link) == &t.neighbors[i], "a link twice in the active view")
	}
	mustHold(len(t.grafts) == 0 && len(t.misses) == 0, "requests or misses left over after a step")
	mustHold(len(t.windows) == len(t.due), "a window is not scheduled")
	mustHold(len(t.windows) <= t.cfg.WindowsMax, "more windows than their bound")
	mustHold(t.marks.count <= t.cfg.MarksMax, "more marks than their bound")
	mustHold(len(t.cache.byID) == len(t.cache.queue) && len(t.cache.queue) <= t.cfg.CacheCount, "more broadcasts kept than their bound")
	mustHold(t.cache.bytes >= 0 && t.cache.bytes <= t.cfg.CacheBytes, "more bytes kept than their bound")
	mustHold(t.wants >= 0 && t.wants <= t.cfg.WantsMax, "more broadcasts waited for than their bound")
	mustHold(t.waiting >= 0 && t.waiting <= t.cfg.OrderTotal, "more bytes held back than their bound")
}

// CheckKept panics if a link is unsound, or what is kept for Deadline is not
// so: for tests, because it looks at all links.
func (t *Tree) CheckKept() {
	mustHold(t.linksAt.Equal(t.nextOfLinks()), "a link has something due at another time than is known")
	if len(t.cache.queue) > 0 {
		mustHold(t.cache.first.Equal(t.cache.queue[0].at), "the oldest broadcast came at another time than is known")
	}
}

// checkAll looks at all that is kept, and at all windows as a whole.
func (t *Tree) checkAll() {
	t.CheckKept()
	for i, w := range t.found {
		mustHold(w == nil || t.windows[w.key] == w && t.foundAt(w.key) == &t.found[i], "a window found lately is none of ours")
	}
	mustHold(t.cache.found == nil || t.cache.byID[t.cache.found.id] == t.cache.found, "the broadcast found last is not kept")
	mustHold(t.lastAt.Equal(t.nextLast()), "our last numbers are due at another time than is known")
	for i := range t.neighbors {
		n := &t.neighbors[i]
		mustHold(n.longest == slices.Max(n.rtts[:]), "the longest round trip of a link is another than is known")
	}
	for i, d := range t.due {
		w := d.window
		mustHold(t.windows[w.key] == w && w.place == int32(i) && d.at.Equal(w.next), "a window is not scheduled as it should be")
		t.checkStart(w, max(len(w.ahead), len(w.wants)))
	}
}

// checkLink looks at one link.
func (t *Tree) checkLink(n *neighbor) {
	mustHold(n.wants >= 0 && n.wants <= t.cfg.WantsMax/4, "a link caused more waits than its quota")
	mustHold(len(n.announce) == 0 == n.announceAt.IsZero(), "announcements without a timer, or a timer without announcements")
	mustHold(len(n.announce) < announceMax, "announcements gathered above their bound")
	mustHold(len(n.owed) == 0 == n.owedAt.IsZero(), "something owed without a timer, or a timer for nothing")
	mustHold(len(n.owed) <= t.cfg.WantsMax/4, "more owed to a link than its bound")
}

// checkMost is how much of a window is looked at when it has changed: one that
// a burst has filled would cost more to look at than to work on.
const checkMost = 64

// checkStart looks at a window, and at most of what comes first in it.
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
