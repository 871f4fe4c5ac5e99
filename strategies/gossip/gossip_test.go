package gossip

import (
	"testing"

	"github.com/starlingmesh/starling/discovery/discoverytest"
)

func TestContract(t *testing.T) {
	discoverytest.Run(t, func(t *testing.T) discoverytest.Harness {
		w := newWorld(t)
		g := w.build("10.9.9.9:7000", nil)
		var held []string
		set := func(addrs ...string) {
			held = addrs
			w.set(addrs...)
		}
		return discoverytest.Harness{
			Strategy: g, Refresh: g.Refresh, Set: set, Close: w.killAll, BreakWays: 3,
			Break: func(way int) {
				w.killAll()
				switch way {
				case 1: // strangers are where they were, with another key
					w.key = 2
					w.start("10.8.8.8:7000", nil)
				case 2: // or of another cluster
					w.cluster = "market"
					w.start("10.8.8.8:7000", nil)
				}
			},
			Mend: func() {
				w.killAll()
				w.key, w.cluster = 1, "shop"
				w.set(held...)
			},
		}
	})
}
