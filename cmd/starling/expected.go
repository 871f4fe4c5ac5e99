package main

import (
	"sync"
	"time"

	"github.com/starlingmesh/starling/discovery"
)

// expectedFor is how long a count of discovery's is used again: every call asks, and counting is no work for every call.
const expectedFor = time.Second

// expectation counts the members that discovery sees, if a source says that it lists everybody. A list of seeds says
// nothing about how many there should be.
func expectation(sources []discovery.Source, finder *discovery.Manager) func() (int, bool) {
	whole := map[string]bool{}
	for _, s := range sources {
		whole[s.Name] = !s.SelfOptional
	}
	var mu sync.Mutex
	var at time.Time
	var members int
	var known bool
	return func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); now.Sub(at) > expectedFor {
			at = now
			snap := finder.Snapshot()
			members, known = snap.Vouched()+1, false
			for _, s := range snap.Sources {
				known = known || (whole[s.Source] && s.State == discovery.StateOK)
			}
		}
		return members, known
	}
}
