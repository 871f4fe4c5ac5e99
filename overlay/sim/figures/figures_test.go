package figures

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/sim"
)

var (
	nodes  = flag.Int("nodes", 64, "how many nodes the experiments with whole nodes have")
	large  = flag.Int("large", 1000, "how many nodes the experiments with the overlay alone have")
	only   = flag.String("only", "", "only these experiments, with commas between them; empty: all")
	update = flag.Bool("update", false, "write the rows into the committed report")
)

// experiments are all there are. Each makes worlds of its own, of whole nodes or of the overlay alone.
var experiments = []struct {
	name  string
	alone bool
	run   func(*testing.T, int) []row
}{
	{"calm", false, calm}, {"crashes", false, crashes}, {"halves", false, halves}, {"replaced", false, replaced}, {"stalls", false, stalls},
	{"flipflop", false, flipFlop}, {"loss", false, loss}, {"slowlinks", false, slowLinks}, {"wave", false, waves},
	{"tree", true, tree}, {"massacre50", true, massacre(50)}, {"massacre80", true, massacre(80)}, {"massacre90", true, massacre(90)},
	{"massacre95", true, massacre(95)}, {"dying", true, dying}, {"largewave", true, largeWave},
}

// TestFiguresAreNoWorseThanTheCommittedReport prints every figure beside the papers' and our goals.
func TestFiguresAreNoWorseThanTheCommittedReport(t *testing.T) {
	var rows []row
	for _, e := range experiments {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), e.name) {
			continue
		}
		size, mark := *nodes, ""
		if e.alone {
			size, mark = *large, overlayAlone
		}
		for _, r := range e.run(t, size) {
			if r.what = mark + r.what; r.nodes == 0 {
				r.nodes = size
			}
			rows = append(rows, r)
			fmt.Println(r.String())
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Printf("# %s: %d nodes; memory from the system so far %.2f GiB\n", e.name, size, float64(m.Sys)/(1<<30))
	}
	compare(t, rows, *only == "", *update)
}

// calm: a storm of joiners, the graph, broadcasts, a death.
func calm(t *testing.T, n int) []row {
	l, joined := join(t, n, nil)
	l.Run(30 * time.Second)
	before := 0
	for _, c := range l.Report.Messages {
		before -= c
	}
	l.Run(20 * time.Second)
	for _, c := range l.Report.Messages {
		before += c
	}
	quiet := float64(before) / 20 / float64(n)
	path, longest, clustering, degree := l.graph()
	one := l.Up()[0]
	l.spread(30, 300*time.Millisecond, func(int) *sim.Node { return one })
	redundancy, hops, reached := l.spread(20, 300*time.Millisecond, func(int) *sim.Node { return one })
	l.spread(30, 300*time.Millisecond, func(int) *sim.Node { return l.some(1)[0] })
	manyRedundancy, manyHops, _ := l.spread(20, 300*time.Millisecond, func(int) *sim.Node { return l.some(1)[0] })
	victim := l.some(1)[0]
	l.Crash(victim)
	killed := l.known(victim)
	victim = l.some(1)[0]
	l.Pause(victim)
	stopped := l.known(victim)
	l.fine()
	return []row{
		{what: "join storm of 5 s: one cluster after, s", paper: "Rapid: 2x memberlist", goal: atMost(10), got: joined.Seconds()},
		{what: "HyParView table 1: mean shortest path", paper: "6.385 at 10,000", goal: small, got: path},
		{what: "HyParView table 1: longest shortest path", paper: "9.0 at 10,000", goal: small, got: longest},
		{what: "HyParView table 1: clustering", paper: "0.00092 at 10,000", goal: small, got: clustering},
		{what: "HyParView table 1: mean degree", paper: "5 for nearly all", goal: atLeast(4.5), got: degree},
		{what: "quiet: messages a second and node", paper: "-", goal: atMost(15), got: quiet},
		{what: "Plumtree, one sender: redundancy", paper: "0 after 2-3", goal: atMost(0.02), got: redundancy},
		{what: "Plumtree, one sender: last hop", paper: "8-10 at 10,000", goal: small, got: hops},
		{what: "Plumtree, one sender: reached, %", paper: "100", goal: atLeast(100), got: reached},
		{what: "Plumtree, many senders: redundancy", paper: "-", goal: small, got: manyRedundancy},
		{what: "Plumtree, many senders: last hop", paper: "17-18 at 10,000", goal: atMost(14), got: manyHops},
		{what: "killed: known to all after, s", paper: "serf: 10.3 at 64", goal: atMost(1.5), got: killed},
		{what: "stopped: known to all after, s", paper: "SWIM: 12-72", goal: atMost(6), got: stopped},
	}
}

// known waits until all that run tell that a node is down, and says how long it took, in seconds.
func (l *lab) known(victim *sim.Node) float64 {
	took, _ := l.Until(30*time.Second, func() bool {
		for _, o := range l.Up() {
			if o != victim && l.Tells(o, victim) {
				return false
			}
		}
		return true
	})
	return took.Seconds()
}

// waves: at 10 and at 100 nodes, and at as many as the other experiments have if these are more.
func waves(t *testing.T, n int) []row {
	sizes := []int{10, 100}
	if n > 100 {
		sizes = append(sizes, n)
	}
	var rows []row
	for _, size := range sizes {
		l, _ := join(t, size, nil)
		l.Run(15 * time.Second)
		for _, r := range wave(l, size) {
			r.nodes = size
			rows = append(rows, r)
		}
	}
	return rows
}

// largeWave: the same of the overlay alone.
func largeWave(t *testing.T, n int) []row { return wave(crowd(t, n, joinGap, 5), n) }

// settle waits until the living know each other, and no more.
func (l *lab) settle() {
	if l.census != nil {
		l.enumerate()
		l.Run(2 * cycle)
		return
	}
	l.Until(2*time.Minute, func() bool { return l.Settled() == "" })
	l.Run(10 * time.Second)
}

// wave: asking everybody, with nodes that were dead before it without a word, and with nodes that die during it.
func wave(l *lab, n int) []row {
	design := map[int]string{10: "4.0 ms, 48 messages", 100: "7.3 ms, 523", 1000: "12 ms, 5,266", 10000: "18 ms, 52,648"}
	took, cost, verdicts := l.ask(nil)
	rows := []row{
		{what: "wave: last verdict after, ms", paper: design[n], goal: small, got: took},
		{what: "wave: messages", paper: design[n], goal: small, got: cost},
		{what: "wave: replied, %", paper: "100", goal: atLeast(100), got: 100 * float64(verdicts["replied"]) / float64(n)},
	}
	for _, during := range []int{1, 5} {
		up := float64(len(l.Up()))
		dying := l.some(during)
		took, _, verdicts := l.ask(func() {
			for _, v := range dying {
				l.Crash(v)
			}
		})
		given := 0
		for _, c := range verdicts {
			given += c
		}
		rows = append(rows,
			row{what: fmt.Sprintf("wave, %d %% die during it: last verdict after, ms", during), paper: "-", goal: atMost(2005), got: took},
			row{what: fmt.Sprintf("wave, %d %% die during it: one verdict each, %%", during), paper: "-", goal: atLeast(100), got: min(100, 100*float64(given)/up)}, // the dead of the last minute are asked, too
			row{what: fmt.Sprintf("wave, %d %% die during it: survivors' replies, %%", during), paper: "-", goal: atLeast(100),
				got: 100 * min(1, float64(verdicts["replied"])/(up-float64(len(dying))))})
		l.settle()
	}
	for _, silent := range []int{2, 10, 30} {
		for _, v := range l.some(silent) {
			l.Vanish(v)
		}
		up := float64(len(l.Up()))
		took, _, verdicts := l.ask(nil)
		rows = append(rows,
			row{what: fmt.Sprintf("wave, %d %% crashed silently just before: last verdict after, ms", silent), paper: "-", goal: atMost(2005), got: took},
			row{what: fmt.Sprintf("wave, %d %% crashed silently just before: survivors' replies, %%", silent), paper: "-", goal: atLeast(100),
				got: 100 * float64(verdicts["replied"]) / up, why: "survivors behind several silent relays are reached too late for the budget of 2 s"})
		l.settle()
	}
	l.fine()
	return rows
}

// crashes: HyParView's figure 2, by the paper's procedure (broadcasts at once) and by ours (30 s later, with discovery).
func crashes(t *testing.T, n int) []row {
	paper := map[int]string{50: "100", 80: "100", 90: "99.8", 95: "91"}
	ours := map[int]float64{50: 100, 80: 100, 90: 99.8, 95: 99}
	atOnce := map[int]float64{50: 99, 80: 99, 90: 98.8, 95: 90}
	var rows []row
	for _, share := range []int{50, 80, 90, 95} {
		l, _ := join(t, n, nil)
		l.Run(20 * time.Second)
		for _, v := range l.some(share) {
			l.Crash(v)
		}
		_, _, first := l.spread(40, 200*time.Millisecond, func(int) *sim.Node { return l.some(1)[0] })
		l.Run(20 * time.Second)
		_, _, later := l.spread(20, 200*time.Millisecond, func(int) *sim.Node { return l.some(1)[0] })
		healed, _ := l.Until(3*time.Minute, func() bool { return l.Settled() == "" })
		l.fine()
		rows = append(rows,
			row{what: fmt.Sprintf("HyParView figure 2: %d %% crash, broadcasts at once: reached, %%", share), paper: paper[share], goal: atLeast(atOnce[share]),
				got: first, why: "of so few survivors one that is cut off is more than a point"},
			row{what: fmt.Sprintf("HyParView figure 2: %d %% crash, broadcasts 30 s later: reached, %%", share), paper: "-", goal: atLeast(ours[share]), got: later,
				why: "of so few survivors one that is cut off is more than a point"},
			row{what: fmt.Sprintf("%d %% crash: one cluster that knows itself, s after those broadcasts", share), paper: "-", goal: small, got: healed.Seconds()})
	}
	return rows
}

// halves: a partition into two, for a minute.
func halves(t *testing.T, n int) []row {
	l, _ := join(t, n, nil)
	l.Run(15 * time.Second)
	half := l.some(50)
	l.Partition(half)
	l.Run(time.Minute)
	l.Heal(half)
	took, _ := l.Until(3*time.Minute, func() bool { return l.Settled() == "" })
	l.fine()
	return []row{{what: "partition 50/50 of 60 s: one cluster that knows itself, s after", paper: "the design: 1.6", goal: small, got: took.Seconds()}}
}

// replaced: half of all nodes are killed, and as many new ones start.
func replaced(t *testing.T, n int) []row {
	l, _ := join(t, n, nil)
	l.Run(15 * time.Second)
	for _, v := range l.some(50) {
		l.Crash(v)
		l.start()
	}
	took, _ := l.Until(3*time.Minute, func() bool { return l.Settled() == "" })
	l.fine()
	return []row{{what: "half replaced at once: one cluster that knows itself, s after", paper: "-", goal: atMost(60), got: took.Seconds()}}
}

// slowLinks: iroh-gossip's bars at 100 peers, links of 10 to 50 ms.
func slowLinks(t *testing.T, _ int) []row {
	l, _ := join(t, 100, func(c *sim.Config) { c.Latency, c.Jitter = 10*time.Millisecond, 40*time.Millisecond })
	l.Run(30 * time.Second)
	one := l.Up()[0]
	l.spread(20, time.Second, func(int) *sim.Node { return one })
	r1, h1, reached1 := l.spread(20, time.Second, func(int) *sim.Node { return one })
	r2, h2, reached2 := l.spread(20, time.Second, func(int) *sim.Node { return l.some(1)[0] })
	all := l.Up()
	_, h3, reached3 := l.spread(len(all), 0, func(i int) *sim.Node { return all[i] })
	l.fine()
	return []row{
		{what: "iroh-gossip's bars, 100 peers, one sender: last hop", paper: "< 15", goal: atMost(14.9), got: h1},
		{what: "iroh-gossip's bars, 100 peers, one sender: redundancy", paper: "< 0.2", goal: atMost(0.19), got: r1},
		{what: "iroh-gossip's bars, 100 peers, many senders: last hop", paper: "< 18", goal: atMost(17.9), got: h2},
		{what: "iroh-gossip's bars, 100 peers, many senders: redundancy", paper: "< 1", goal: atMost(0.99), got: r2},
		{what: "iroh-gossip's bars, 100 peers, burst of all: last hop", paper: "< 30", goal: atMost(29.9), got: h3},
		{what: "iroh-gossip's bars, 100 peers: reached, %", paper: "100", goal: atLeast(100), got: min(reached1, reached2, reached3)},
	}
}
