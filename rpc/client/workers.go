package client

import (
	"sync"
	"sync/atomic"
)

// sparesMax is how many goroutines wait for the next request.
const sparesMax = 4

// workers run handlers, each in a goroutine of its own. A few stay when they
// are done: a new goroutine's stack has to grow to what a handler needs, which
// costs more than a small handler itself.
type workers struct {
	wg     *sync.WaitGroup
	done   <-chan struct{} // no more jobs come
	next   chan func()     // to a spare one
	spares atomic.Int32
}

func newWorkers(wg *sync.WaitGroup, done <-chan struct{}) *workers {
	return &workers{wg: wg, done: done, next: make(chan func())}
}

// run never waits.
func (w *workers) run(job func()) {
	select {
	case w.next <- job:
	default:
		w.wg.Go(func() { w.work(job) })
	}
}

func (w *workers) work(job func()) {
	for {
		job()
		if w.spares.Add(1) > sparesMax {
			w.spares.Add(-1)
			return
		}
		select {
		case job = <-w.next:
			w.spares.Add(-1)
		case <-w.done:
			return
		}
	}
}
