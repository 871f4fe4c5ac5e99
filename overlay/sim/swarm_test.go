package sim

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/wire"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "play this one world, and tell its story")
	nodesFlag = flag.Int("nodes", 0, "with so many nodes; 0: as the seed draws")
	fromFlag  = flag.Uint64("from", 1, "the first seed of the swarm")
	onceFlag  = flag.Bool("once", false, "play each seed once, to look for failures in half the time")
)

// swarmSize is how many worlds are played; SEEDS in the environment replaces it.
func swarmSize(t *testing.T) uint64 {
	t.Helper()
	if text := os.Getenv("SEEDS"); text != "" {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			t.Fatalf("SEEDS: %v", err)
		}
		return n
	}
	return 200
}

// swarm is what became of many worlds.
type swarm struct {
	mu          sync.Mutex // guards the rest
	total       Report
	rich, short int
	steps       int
}

// TestSwarm plays many worlds, each twice. With -seed it plays one, and -v
// tells its story.
func TestSwarm(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine a world: the race detector would see nothing, ten times slower")
	}
	if *seedFlag != 0 {
		var log func(string)
		if testing.Verbose() {
			log = func(line string) { fmt.Println(line) }
		}
		w := Draw(*seedFlag, *nodesFlag).Play(log)
		fmt.Printf("%d steps\n%s", w.steps, w.Report.String())
		if w.Failed() != "" {
			t.Fatal(w.Failed())
		}
		return
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	n := swarmSize(t)
	s := &swarm{total: newReport()}
	s.playAll(t, n)
	besiege(t, &s.total)
	fmt.Printf("%d worlds played twice, %d of them with five kinds of faults or more, %d steps\n%s", n, s.rich, s.steps, s.total.String())
	if s.short > 0 {
		t.Errorf("%d worlds were shorter than 120 s", s.short)
	}
	if s.rich < int(n/2) {
		t.Errorf("only %d of %d worlds have five kinds of faults", s.rich, n)
	}
	if n >= 200 {
		s.wantAll(t)
	}
}

// playAll plays the worlds in two goroutines; each world belongs to one.
func (s *swarm) playAll(t *testing.T, n uint64) {
	t.Helper()
	var next atomic.Uint64
	var wg sync.WaitGroup
	next.Store(*fromFlag - 1)
	for range 2 {
		wg.Go(func() {
			for seed := next.Add(1); seed < *fromFlag+n; seed = next.Add(1) {
				s.play(t, seed)
			}
		})
	}
	wg.Wait()
}

func (s *swarm) play(t *testing.T, seed uint64) {
	t.Helper()
	y := Draw(seed, *nodesFlag)
	w := y.Play(nil)
	line := fmt.Sprintf("go test ./overlay/sim -run TestSwarm -seed %d -nodes %d -v", seed, *nodesFlag)
	if w.Failed() != "" {
		t.Errorf("%s\n%.2000s", line, w.Failed())
		return
	}
	if *onceFlag {
	} else if again := Draw(seed, *nodesFlag).Play(nil); again.Hash() != w.Hash() || again.steps != w.steps {
		t.Errorf("%s\nplayed twice it told two stories, %x and %x", line, w.Hash(), again.Hash())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.Now() < 120*time.Second {
		s.short++
	}
	if len(y.Kinds) >= 5 {
		s.rich++
	}
	s.steps += w.steps
	s.total.Add(&w.Report)
}

// never are reasons that no peer can cause, and why.
var never = map[string]string{
	"broadcast_no_neighbor":     "the core asks first, and says broadcast_from_no_neighbor",
	"entry_without_id":          "wire refuses the frame",
	"not_for_the_directory":     "the core hands it nothing else",
	"own_beacon_refused":        "a beacon has no size, and nothing limits its stream",
	"own_records_refused":       "our own records are cut far below the limit",
	"sync_hashes_length":        "wire refuses the frame",
	"too_many_opinions":         "wire refuses the frame",
	"views_another_node":        "the runtime ends the dial with other_node",
	"views_request_for_another": "the core asks first, and says request_for_another",
	"views_unknown_refusal":     "wire refuses the frame",
	"wave_not_ours":             "the core hands it nothing else",
}

// wantAll fails for whatever never happened.
func (s *swarm) wantAll(t *testing.T) {
	t.Helper()
	for _, f := range faults {
		if s.total.Faults[f.name] == 0 {
			t.Errorf("the fault %q never happened", f.name)
		}
	}
	for _, f := range feedKinds[1:] {
		if s.total.Faults[f.name] == 0 {
			t.Errorf("%q never happened", f.name)
		}
	}
	for _, name := range wire.Types() {
		if s.total.Messages[name] == 0 {
			t.Errorf("no %s was ever sent", name)
		}
	}
	all := reasons(t)
	for _, why := range all {
		if s.total.Ignored[why] == 0 && never[why] == "" {
			t.Errorf("nothing was ever ignored for %s", why)
		}
	}
	for _, why := range slices.Sorted(maps.Keys(s.total.Ignored)) {
		if !slices.Contains(all, why) {
			t.Errorf("ignored for %s, which no source says", why)
		}
		if never[why] != "" {
			t.Errorf("ignored for %s, which cannot be: %s", why, never[why])
		}
	}
	for why := range never {
		if !slices.Contains(all, why) {
			t.Errorf("%s is no reason any more", why)
		}
	}
}
