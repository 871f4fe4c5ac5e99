package sim_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/sim"
	"github.com/starlingmesh/starling/overlay/sim/weather"
	"github.com/starlingmesh/starling/overlay/wire"
)

var (
	nodesFlag  = flag.Int("nodes", 0, "with so many nodes; 0: as the seed draws")
	onlyFlag   = flag.String("only", "", "with these strikes only, by number and with commas; none: without any")
	safetyFlag = flag.Bool("safety", false, "let the storm last to the end, with -seed")
	fromFlag   = flag.Uint64("from", 1, "the first seed of the swarm")
	onceFlag   = flag.Bool("once", false, "play each seed once, with its recovery, to look for failures in half the time")
	reportFlag = flag.String("report", "", "write the swarm's report to this file")
	countsFlag = flag.String("counts", "", "begin with the counts in this file, if there is one, and write them back: for swarms in several runs")
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
	mu    sync.Mutex // guards the rest
	total sim.Report
	rich  int // worlds with five kinds of faults or more
	short int // that were shorter than 120 s
	steps int
	sizes []int // of the worlds, in nodes
}

// counts are a swarm's as a file keeps them.
type counts struct {
	Total       sim.Report
	Rich, Steps int
	Sizes       []int
}

// resume begins where an earlier run ended, if there is one.
func (s *swarm) resume(t *testing.T) {
	t.Helper()
	data, err := os.ReadFile(*countsFlag)
	if *countsFlag == "" || errors.Is(err, fs.ErrNotExist) {
		return
	}
	var c counts
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		t.Fatalf("the counts so far: %v", err)
	}
	s.total, s.rich, s.steps, s.sizes = c.Total, c.Rich, c.Steps, c.Sizes
}

// keep writes the report and the counts, unless something failed.
func (s *swarm) keep(t *testing.T, text string) {
	t.Helper()
	data, err := json.Marshal(counts{s.total, s.rich, s.steps, s.sizes})
	if err != nil {
		t.Fatal(err)
	}
	for name, what := range map[string][]byte{*reportFlag: []byte(text), *countsFlag: data} {
		if name == "" || t.Failed() {
			continue
		}
		if err := os.WriteFile(name, what, 0o600); err != nil {
			t.Error(err)
		}
	}
}

// TestSwarm plays many worlds, each twice: with the storm to the end, in which nothing may ever be that must not be (safety);
// and with a storm that ends in the middle, after which a part must recover (liveness). Until then both tell the same story,
// step by step, or something is not deterministic. With -seed it plays one, and -v tells its story.
func TestSwarm(t *testing.T) {
	if sim.Races {
		t.Skip("one goroutine a world: the race detector would see nothing, ten times slower")
	}
	if *sim.SeedFlag != 0 {
		playOne(t)
		return
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	n := swarmSize(t)
	s := &swarm{total: sim.NewReport()}
	s.resume(t)
	s.playAll(t, n)
	n = uint64(len(s.sizes))
	text := s.String()
	fmt.Print(text)
	s.keep(t, text)
	sim.Besiege(t, &s.total)
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

// String is the swarm's report, the same for the same seeds.
func (s *swarm) String() string {
	slices.Sort(s.sizes)
	var b strings.Builder
	modes := "each in safety and in liveness mode"
	if *onceFlag {
		modes = "each in liveness mode only"
	}
	fmt.Fprintf(&b, "%d worlds, %s; %d of them with five kinds of faults or more; %d steps\n", len(s.sizes), modes, s.rich, s.steps)
	if len(s.sizes) > 0 {
		fmt.Fprintf(&b, "nodes: half of the worlds up to %d, nine of ten up to %d, all up to %d\n",
			s.sizes[len(s.sizes)/2], s.sizes[len(s.sizes)*9/10], s.sizes[len(s.sizes)-1])
	}
	b.WriteString(s.total.String())
	return b.String()
}

// playOne plays the world that the flags name, and tells its story.
func playOne(t *testing.T) {
	t.Helper()
	only, err := weather.ParseOnly(*onlyFlag)
	if err != nil {
		t.Fatal(err)
	}
	var log func(string)
	if testing.Verbose() {
		log = func(line string) { fmt.Println(line) }
	}
	w := weather.Draw(weather.Plan{Seed: *sim.SeedFlag, Nodes: *nodesFlag, Only: only, Safety: *safetyFlag}).Play(log)
	fmt.Printf("%d steps, trace %016x\n%s", w.Steps(), w.Hash(), w.Report.String())
	if w.Failed() != "" {
		t.Fatal(w.Failed())
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
				s.play(t, weather.Plan{Seed: seed, Nodes: *nodesFlag})
			}
		})
	}
	wg.Wait()
}

// fullyEvery of so many seeds one is played a third time, to compare the calm too.
const fullyEvery = 20

func (s *swarm) play(t *testing.T, p weather.Plan) {
	t.Helper()
	y := weather.Draw(p)
	w := y.Play(nil)
	if w.Failed() != "" {
		failed(t, p, y, w)
		return
	}
	s.add(y, w)
	if *onceFlag {
		return
	}
	safe := p
	safe.Safety = true
	z := weather.Draw(safe)
	x := z.Play(nil)
	if x.Failed() != "" {
		failed(t, safe, z, x)
		return
	}
	s.add(z, x)
	same := y.Struck == z.Struck
	if p.Seed%fullyEvery == 0 {
		again := weather.Draw(p).Play(nil)
		same = same && again.Hash() == w.Hash() && again.Steps() == w.Steps()
	}
	if !same {
		t.Errorf("%s\nplayed twice it told two stories", paste(p))
	}
}

// failed prints the line to paste, and a smaller world that fails for the same reason.
func failed(t *testing.T, p weather.Plan, y *weather.Weather, w *sim.World) {
	t.Helper()
	kind := family(w.Failed())
	small := weather.Shrink(p, y.Nodes, shrinkPlays, func(q weather.Plan) (bool, []int) {
		z := weather.Draw(q)
		return family(z.Play(nil).Failed()) == kind, z.Strikes
	})
	t.Errorf("%s\n%.2000s\nsmaller, failing for %s too: %s", paste(p), w.Failed(), kind, paste(small))
}

// shrinkPlays bounds how often a failing world is played to make it smaller.
const shrinkPlays = 150

// family is the invariant that a failure names, or what it begins with.
func family(failure string) string {
	_, why, _ := strings.Cut(failure, ": ") // at a time
	for word := range strings.FieldsSeq(why) {
		if len(word) <= 4 && strings.HasSuffix(word, ":") {
			return strings.TrimSuffix(word, ":")
		}
	}
	first, _, _ := strings.Cut(why, " ")
	return first
}

// paste is the line that plays a plan.
func paste(p weather.Plan) string {
	return "go test ./overlay/sim -run TestSwarm -v " + p.String()
}

// add counts what happened in a world.
func (s *swarm) add(y *weather.Weather, w *sim.World) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.Now() < 120*time.Second {
		s.short++
	}
	s.steps += w.Steps()
	s.total.Add(&w.Report)
	if y.Safety {
		return
	}
	s.sizes = append(s.sizes, y.Nodes)
	if len(y.Kinds) >= 5 {
		s.rich++
	}
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
	for _, name := range weather.Faults() {
		if s.total.Faults[name] == 0 {
			t.Errorf("the fault %q never happened", name)
		}
	}
	for _, name := range wire.Types() {
		if s.total.Messages[name] == 0 {
			t.Errorf("no %s was ever sent", name)
		}
	}
	all := sim.Reasons(t)
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
