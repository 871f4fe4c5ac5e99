package link

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Fault is what one direction of a link suffers; the zero Fault is nothing.
type Fault struct {
	Drop  bool          // nothing arrives
	Stall bool          // everything is held until this ends
	Delay time.Duration // each frame is held that long
}

// suffering is a Fault in force.
type suffering struct {
	Fault
	changed chan struct{} // closed when it is something else
}

// way is one direction of a link: the seam at which faults reach it. Without
// one it costs an atomic load.
type way struct {
	now   atomic.Pointer[suffering] // nil: nothing
	later delayer
}

func (w *way) set(f Fault) {
	var next *suffering
	if f != (Fault{}) {
		next = &suffering{Fault: f, changed: make(chan struct{})}
	}
	if old := w.now.Swap(next); old != nil {
		close(old.changed)
	}
}

func (w *way) drops() bool {
	s := w.now.Load()
	return s != nil && s.Drop
}

// delays tells whether a frame must go through later: it has to be held, or
// would overtake one that is.
func (w *way) delays() bool { return w.delay() > 0 || w.later.busy() }

func (w *way) delay() time.Duration {
	if s := w.now.Load(); s != nil {
		return s.Delay
	}
	return 0
}

// pass waits while the direction is stalled: until over is closed or, if most
// is not zero, for that long.
func (w *way) pass(over <-chan struct{}, most time.Duration) error {
	var timeout <-chan time.Time
	for {
		s := w.now.Load()
		if s == nil || !s.Stall {
			return nil
		}
		if most > 0 && timeout == nil {
			t := time.NewTimer(most)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-s.changed:
		case <-over:
			return net.ErrClosed
		case <-timeout:
			return os.ErrDeadlineExceeded
		}
	}
}

// delayer does things later, in the order they came.
type delayer struct {
	waiting atomic.Int64

	mu      sync.Mutex // guards the rest; held while a thing is done
	list    []delayed
	timer   *time.Timer
	stopped bool
}

type delayed struct {
	at time.Time
	do func()
}

func (d *delayer) busy() bool { return d.waiting.Load() > 0 }

// delayedMax bounds what one direction holds: a test that needs more wants less delay.
const delayedMax = 1 << 16

// add reports false when there is no room.
func (d *delayer) add(wait time.Duration, do func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return true
	}
	if len(d.list) >= delayedMax {
		return false
	}
	d.waiting.Add(1)
	d.list = append(d.list, delayed{at: time.Now().Add(wait), do: do})
	if len(d.list) == 1 {
		d.timer = time.AfterFunc(wait, d.run)
	}
	return true
}

func (d *delayer) run() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.list) > 0 {
		if wait := time.Until(d.list[0].at); wait > 0 {
			d.timer = time.AfterFunc(wait, d.run)
			return
		}
		d.list[0].do()
		d.list = d.list[1:]
		d.waiting.Add(-1)
	}
}

// stop drops what waits. When it returns nothing is being done, and nothing will be.
func (d *delayer) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped, d.list = true, nil
	if d.timer != nil {
		d.timer.Stop()
	}
}
