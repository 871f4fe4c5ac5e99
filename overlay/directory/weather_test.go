package directory

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// weather lets one seed's faults come over a cluster for a minute and a half,
// then stops them.
func weather(t *testing.T, seed uint64) *world {
	t.Helper()
	size := 4 + int(seed%5)*5
	edges := mesh(size)
	if size > 6 {
		edges = regular(seed, size, 4)
	}
	w := newWorld(t, seed, size, edges, nil)
	w.floor = 3
	var log []string
	note := func(format string, args ...any) {
		log = append(log, fmt.Sprintf("%8v ", w.now.Sub(w.begin).Round(time.Millisecond))+fmt.Sprintf(format, args...))
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, line := range log {
				t.Log(line)
			}
		}
	})
	for w.now.Sub(w.begin) < 90*time.Second {
		w.run(time.Duration(w.rng.IntN(6000)) * time.Millisecond)
		w.audit()
		n := w.nodes[w.rng.IntN(len(w.nodes))]
		switch what := w.rng.IntN(9); {
		case what == 0 && n.state == running && len(w.nodes) < 2*size:
			note("restart %d as %d", n.i, len(w.nodes))
			name := n.d.Self().Name
			w.kill(n)
			w.start(idOf(1000+len(w.nodes)), name)
			w.edges = append(w.edges, [2]int{w.rng.IntN(size), len(w.nodes) - 1})
		case what == 1 && n.state == running:
			note("kill %d", n.i)
			w.kill(n)
		case what == 2 && n.state == running && !n.d.leaving:
			note("leave %d", n.i)
			w.leave(n)
		case what <= 4 && n.state == running:
			note("stop %d", n.i)
			w.stop(n)
		case what <= 6 && n.state == stopped:
			note("resume %d", n.i)
			w.resume(n)
		case what == 7:
			half := uint64(w.rng.IntN(1 << 30))
			note("cut %x", half)
			w.cut = func(a, b *node) bool { return half>>(a.i%30)&1 != half>>(b.i%30)&1 }
		case what == 8:
			note("heal")
			w.cut = func(_, _ *node) bool { return false }
		}
	}
	note("fair weather")
	w.cut = func(_, _ *node) bool { return false }
	for _, n := range w.nodes {
		if n.state == stopped {
			w.resume(n)
		}
	}
	return w
}

func TestAfterAnyWeatherAllAgreeOnWhoLives(t *testing.T) {
	from, to := uint64(0), uint64(20)
	if s := os.Getenv("SEED"); s != "" {
		from, _ = strconv.ParseUint(s, 10, 64)
		to = from + 1
	}
	for seed := from; seed < to; seed++ {
		w := weather(t, seed)
		w.run(75 * time.Second) // the alone believe in the others' death after a minute
		alive := 0
		for _, n := range w.nodes {
			if n.state == running {
				alive++
			}
		}
		for _, n := range w.nodes {
			if n.state == running && n.d.Living() != alive {
				t.Errorf("seed %d: node %d knows %d living, want %d", seed, n.i, n.d.Living(), alive)
			}
			told := map[string]int{}
			for _, c := range n.told { // D11 over the whole story
				name := c.Member.Entry.Name
				switch c.Kind {
				case proto.ChangeUp:
					told[name]++
				case proto.ChangeDown, proto.ChangeLeft:
					told[name]--
				}
				if told[name] < 0 || told[name] > 1 {
					t.Fatalf("seed %d: node %d saw %s up %d times", seed, n.i, name, told[name])
				}
			}
		}
		if !w.equal(w.nodes...) {
			t.Errorf("seed %d: directories differ", seed)
		}
		w.audit()
		if t.Failed() {
			t.Fatalf("SEED=%d", seed)
		}
	}
}
