package client

import (
	"sync"
	"testing"
	"testing/synctest"
)

func TestHandlersRunAtOnceAndAFewGoroutinesStayForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		done := make(chan struct{})
		w := newWorkers(&wg, done)
		const many = 20
		for range 3 {
			block, running := make(chan struct{}), make(chan struct{}, many)
			for range many {
				w.run(func() { running <- struct{}{}; <-block })
			}
			synctest.Wait()
			if len(running) != many {
				t.Fatalf("%d of %d handlers run", len(running), many)
			}
			close(block)
			synctest.Wait()
			if n := w.spares.Load(); n != sparesMax {
				t.Fatalf("%d goroutines stayed; want %d", n, sparesMax)
			}
		}
		close(done)
		wg.Wait()
	})
}
