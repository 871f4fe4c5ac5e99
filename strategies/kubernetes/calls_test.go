package kubernetes

import (
	"sync"
	"testing"
)

func TestNoListBeginsOnceTheWatchHasEnded(t *testing.T) {
	var c calls
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for c.begin() {
				c.running.Done()
			}
		})
	}
	c.end()
	if c.begin() {
		t.Fatal("a list began after the end, and nobody waits for it")
	}
	wg.Wait()
}
