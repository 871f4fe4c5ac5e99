package sim

import (
	"testing"
	"time"
)

// TestHalvesThatWereCutApartAreOneWithinAMinute: discovery either has forgotten the other half, so that each side knows only
// its own, or vouches for everybody. No contact leads across in the first case: only what the members remember can heal it.
// That must not take longer after a longer cut.
func TestHalvesThatWereCutApartAreOneWithinAMinute(t *testing.T) {
	for _, tt := range []struct {
		name    string
		nodes   int
		vouched bool
		cut     time.Duration
	}{
		{"50 and 50, vouched for", 100, true, 2 * time.Minute},
		{"50 and 50, remembered", 100, false, 2 * time.Minute},
		{"4 and 4, remembered", 8, false, 2 * time.Minute},
		{"4 and 4, remembered for long", 8, false, 20 * time.Minute},
		{"20 and 20, remembered for long", 40, false, 20 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seeds(t, 2, func(t *testing.T, seed uint64) {
				w := settled(t, seed, tt.nodes)
				left, right := w.Nodes[:tt.nodes/2], w.Nodes[tt.nodes/2:]
				if tt.vouched {
					vouchFor(w.Nodes, w.Nodes)
				} else {
					vouchFor(left, left)
					vouchFor(right, right)
				}
				each(left, right, w.Cut)
				w.Run(tt.cut)
				ok(t, w)
				for _, half := range [][]*Node{left, right} {
					if why := w.SettledAmong(half); why != "" {
						t.Fatalf("seed %d: at the end of the cut: %s", seed, why)
					}
				}
				each(left, right, w.Mend)
				t.Logf("seed %d: one again %v after the cut was mended", seed, within(t, w, time.Minute, w.Settled))
			})
		})
	}
}

// vouchFor gives each of some nodes others as all that discovery names.
func vouchFor(nodes, others []*Node) {
	var addrs []string
	for _, n := range others {
		addrs = append(addrs, n.Addr())
	}
	for _, n := range nodes {
		n.Contacts(addrs...)
	}
}

func each(left, right []*Node, do func(a, b *Node)) {
	for _, a := range left {
		for _, b := range right {
			do(a, b)
		}
	}
}
