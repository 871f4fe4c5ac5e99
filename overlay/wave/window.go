package wave

import (
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/wave/once"
)

// window is what was seen of one caller's calls, so that none runs twice.
type window struct {
	once.Window
	calls  int       // of the call table
	open   int       // of these, those that still owe something
	used   time.Time // last
	forgot time.Time // calls begun before it may have been seen by an earlier window of the same caller
}

// windowKey: waves count in one sequence of their caller, direct calls in one
// of caller and target.
type windowKey struct {
	caller peer.ID
	direct bool
}

// windowIdle is how long a window without calls is kept at the least. It is
// longer than any frame may be under way.
const windowIdle = time.Minute

// window is what was seen of a call's caller, made where it is missing. It is
// nil where there is no room for one, and for a call that may have been seen
// before its window was dropped, whether or not there is a new one since.
func (w *Wave) window(now time.Time, id proto.CallID, oldest uint64, elapsed time.Duration) *window {
	key := windowKey{id.Caller, !id.Target.IsZero()}
	win, known := w.windows[key]
	if !known {
		if id.Caller != w.self && !w.windowRoom(now) {
			return nil
		}
		win = &window{Window: once.Above(oldest), forgot: w.amnesia}
	}
	if id.Caller != w.self && !win.forgot.Before(now.Add(-elapsed)) {
		return nil
	}
	if !known {
		w.windows[key] = win
	}
	win.used = now
	return win
}

// mayOpen tells whether a caller is below its bound of open calls here.
func (w *Wave) mayOpen(caller peer.ID) bool {
	open := func(direct bool) int {
		if win := w.windows[windowKey{caller, direct}]; win != nil {
			return win.open
		}
		return 0
	}
	return w.openCalls < w.cfg.OpenMax || open(false)+open(true) < w.cfg.OpenMax
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

// sequenceTo is the sequence of direct calls to a node. Idle ones are dropped
// when there are too many; new ones count on from the highest of them, so that
// no number comes twice.
func (w *Wave) sequenceTo(id peer.ID) *once.Sequence {
	s := w.directSeq[id]
	if s == nil {
		if len(w.directSeq) >= w.cfg.WindowsMax {
			for id, s := range w.directSeq { // any order: all that are idle go
				if s.Open() == 0 {
					w.directMin = max(w.directMin, s.Last())
					delete(w.directSeq, id)
				}
			}
		}
		s = once.After(w.directMin)
		w.directSeq[id] = s
	}
	return s
}
