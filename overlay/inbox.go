package overlay

import (
	"sync"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// frameCost is what an input costs in memory beside its frame, roughly.
const frameCost = 256

// inbox is the way to the loop. Many put, one takes.
type inbox struct {
	wake chan struct{} // holds one while there is something to take

	mu      sync.Mutex // guards the rest
	room    sync.Cond  // on mu: bytes fell below max, or closed
	items   []proto.Input
	bytes   int // of received frames in items
	max     int
	since   time.Time // when the first of items came
	closed  bool
	waiting int // readers waiting for room
}

func newInbox(maxBytes int) *inbox {
	b := &inbox{wake: make(chan struct{}, 1), max: maxBytes}
	b.room.L = &b.mu
	return b
}

// post puts items in and never waits. It reports false when the loop has ended.
func (b *inbox) post(inputs ...proto.Input) bool { return b.put(inputs, 0, false) }

// postFrames puts in what a reader received, size bytes of frames, and waits
// while too much is there already.
func (b *inbox) postFrames(items []proto.Input, size int) {
	b.put(items, size+frameCost*len(items), true)
}

func (b *inbox) put(items []proto.Input, size int, wait bool) bool {
	b.mu.Lock()
	for wait && b.bytes >= b.max && !b.closed {
		b.waiting++
		b.room.Wait()
		b.waiting--
	}
	if b.closed {
		b.mu.Unlock()
		return false
	}
	if len(b.items) == 0 {
		b.since = time.Now()
	}
	b.items = append(b.items, items...)
	b.bytes += size
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return true
}

// take hands over everything that is there, and since when the first waited.
// old is a slice of a former take that is used again.
func (b *inbox) take(old []proto.Input) (items []proto.Input, since time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	items, b.items, b.bytes = b.items, old[:0], 0
	if b.waiting > 0 {
		b.room.Broadcast()
	}
	return items, b.since
}

// close turns all further posts away and lets those who wait go.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed, b.items = true, nil
	b.room.Broadcast()
}
