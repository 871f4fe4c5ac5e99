package wave

import "slices"

// window remembers which sequence numbers of one caller were seen here, so
// that none runs twice. Dense sequences cost two numbers however long they
// are. Below the floor everything counts as seen.
type window struct {
	floor uint64  // the first that may be fresh
	seen  []span  // ascending, disjoint, not adjacent, all at or above floor
	calls []*call // of the call table that belong to this window, as they came
}

// span is from..to, both included.
type span struct{ from, to uint64 }

const (
	// windowSpans bounds the memory of a window: beyond it the floor rises.
	windowSpans = 2048
	// windowJump is how far a sequence may run ahead of the floor.
	windowJump = 65536
)

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

func (w *window) old(seq uint64) bool   { return seq < w.floor }
func (w *window) jumps(seq uint64) bool { return seq > w.floor+windowJump }

func (w *window) has(seq uint64) bool {
	if seq < w.floor {
		return true
	}
	i, ok := w.find(seq)
	return ok || i < len(w.seen) && w.seen[i].from <= seq
}

// find returns the first span that ends at or behind seq.
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
