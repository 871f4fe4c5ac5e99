package wave

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// window remembers which sequence numbers of one caller were seen here, so
// that none runs twice. Dense sequences cost two numbers however long they
// are. Below the floor everything counts as seen.
type window struct {
	floor uint64    // the first that may be fresh
	seen  []span    // ascending, disjoint, not adjacent, all at or above floor
	calls int       // of the call table
	used  time.Time // last
}

// windowKey: waves count in one sequence of their caller, direct calls in one
// of caller and target.
type windowKey struct {
	caller peer.ID
	direct bool
}

// span is from..to, both included.
type span struct{ from, to uint64 }

const (
	// windowSpans bounds the memory of a window: beyond it the floor rises.
	windowSpans = 2048
	// windowJump is how far a sequence may run ahead of the floor.
	windowJump = 65536
	// windowIdle is how long a window without calls is kept at the least. It
	// is longer than any frame may be under way.
	windowIdle = time.Minute
)

// window is what was seen of a call's caller, made where it is missing. It is
// nil where there is no room for one, and for a call that may have been seen
// before its window was dropped.
func (w *Wave) window(now time.Time, id proto.CallID, oldest uint64, elapsed time.Duration) *window {
	key := windowKey{id.Caller, !id.Target.IsZero()}
	win := w.windows[key]
	if win == nil {
		if id.Caller != w.self && (!w.windowRoom(now) || !w.amnesia.Before(now.Add(-elapsed))) {
			return nil
		}
		win = &window{floor: oldest}
		w.windows[key] = win
	}
	win.used = now
	return win
}

// windowRoom drops the windows of callers that were quiet for long when there
// are too many. What had begun by then is never run for a caller without a
// window: it may have run here.
func (w *Wave) windowRoom(now time.Time) bool {
	if len(w.windows) < w.cfg.WindowsMax {
		return true
	}
	if now.Sub(w.sweptAt) < time.Second {
		return false
	}
	w.sweptAt = now
	for key, win := range w.windows { // any order: all that are idle go
		if win.calls == 0 && key.caller != w.self && now.Sub(win.used) >= windowIdle {
			delete(w.windows, key)
			w.amnesia = now
		}
	}
	return len(w.windows) < w.cfg.WindowsMax
}

// raise moves the floor up to the caller's oldest open sequence.
func (w *window) raise(oldest uint64) {
	if oldest <= w.floor {
		return
	}
	w.floor = oldest
	cut := 0
	for cut < len(w.seen) && w.seen[cut].to < oldest {
		cut++
	}
	w.seen = slices.Delete(w.seen, 0, cut)
	if len(w.seen) > 0 && w.seen[0].from < oldest {
		w.seen[0].from = oldest
	}
}

func (w *window) jumps(seq uint64) bool { return seq > w.floor+windowJump }

func (w *window) has(seq uint64) bool {
	if seq < w.floor {
		return true
	}
	_, ok := w.find(seq)
	return ok
}

// find returns the span that holds seq, or else where one would stand.
func (w *window) find(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(w.seen, seq, func(s span, seq uint64) int {
		switch {
		case s.to < seq:
			return -1
		case s.from > seq:
			return 1
		}
		return 0
	})
}

// mark counts seq as seen from now on.
func (w *window) mark(seq uint64) {
	if w.has(seq) {
		return
	}
	i, _ := w.find(seq)
	joinsLeft := i > 0 && w.seen[i-1].to+1 == seq
	joinsRight := i < len(w.seen) && w.seen[i].from == seq+1
	switch {
	case joinsLeft && joinsRight:
		w.seen[i-1].to = w.seen[i].to
		w.seen = slices.Delete(w.seen, i, i+1)
	case joinsLeft:
		w.seen[i-1].to = seq
	case joinsRight:
		w.seen[i].from = seq
	default:
		w.seen = slices.Insert(w.seen, i, span{seq, seq})
	}
	if len(w.seen) > windowSpans {
		w.raise(w.seen[0].to + 1)
	}
}
