package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// These are defects that the swarm found, each as the smallest story that shows it.

// A pooled link was measured once, when it came up. If that ping met a stall it told nothing, every frame passed for as old
// as the link from then on, and the target refused every call as too late for as long as the link was in use.
func TestAPooledLinkThatStalledWhenItCameUpCarriesCallsLater(t *testing.T) {
	seeds(t, 3, func(t *testing.T, seed uint64) {
		w := settled(t, seed, 16)
		a := w.Nodes[seed]
		b := w.Nodes[slices.IndexFunc(w.Nodes, func(n *Node) bool { return n != a && !slices.Contains(a.core.Active(), n.ID) })]
		ask := func(budget time.Duration) *Call {
			return a.Ask(proto.Selector{IDs: []peer.ID{b.ID}}, budget, 32, 0)
		}
		w.Lag(a, 50*time.Millisecond) // so that the ping is still on its way when the link is seen
		ask(time.Second)
		within(t, w, time.Second, func() string {
			if !slices.ContainsFunc(b.links, func(l linkRef) bool { return l.conn.kind == proto.LinkPool && l.conn.ends[0].node == a }) {
				return "no pooled link"
			}
			return ""
		})
		w.Stall(a, b, 5*time.Second)
		w.Lag(a, 0)
		w.Run(15 * time.Second)
		call := ask(2 * time.Second)
		w.Run(2 * time.Second)
		ok(t, w)
		if got := call.Verdicts(); got["replied"] != 1 {
			t.Errorf("seed %d: %v", seed, got)
		}
	})
}
