package sim

import (
	"testing"
	"time"
)

// calm makes a world of n nodes that start at once from a few contacts, and
// lets it settle.
func calm(t *testing.T, seed uint64, n, contacts int) *World {
	t.Helper()
	cfg := Calm(seed)
	if *seedFlag != 0 || testing.Verbose() && n <= 8 {
		cfg.Log = func(line string) { t.Log(line) }
	}
	w := New(cfg)
	var addrs []string
	for range n {
		w.Start()
	}
	for i := range contacts {
		addrs = append(addrs, w.Nodes[i].Addr())
	}
	for _, node := range w.Nodes {
		node.Contacts(addrs...)
	}
	return w
}

func TestSixtyFourNodesFromThreeContactsAreOneClusterWithinTenSeconds(t *testing.T) {
	for seed := range uint64(5) {
		w := calm(t, seed, 64, 3)
		took, ok := w.Until(10*time.Second, func() bool { return w.Settled() == "" })
		if w.Failed() != "" {
			t.Fatalf("seed %d: %s", seed, w.Failed())
		}
		if !ok {
			t.Fatalf("seed %d: after %v: %s", seed, took, w.Settled())
		}
		t.Logf("seed %d: one component, complete directories after %v", seed, took)
	}
}
