package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/core"
	"github.com/starlingmesh/starling/overlay/proto"
)

// Weather is what a seed draws: the size of the cluster, how the network is,
// which faults there are and how often they come.
type Weather struct {
	Seed  uint64
	Nodes int
	Kinds []string // of faults

	rng    *rand.Rand
	world  *World
	kinds  []fault
	feeds  []feedKind
	pace   time.Duration // mean time between two faults
	asking time.Duration // and between two calls
	over   bool          // the faults have stopped
	slow   int           // hosts that are slow now
	twins  int           // processes started under a name that another has
}

// How long a world is under weather, and how long it may take to recover.
const (
	stormy    = 75 * time.Second
	recovery  = 90 * time.Second
	lifetime  = 120 * time.Second // at the least
	aftermath = 15 * time.Second  // after the last call and broadcast
)

// Draw makes a seed's weather. nodes replaces the drawn size unless it is 0.
func Draw(seed uint64, nodes int) *Weather {
	r := rand.New(rand.NewPCG(seed, 0x3ea7e2))
	y := &Weather{Seed: seed, rng: r, Nodes: 3 + int(98*math.Pow(r.Float64(), 8))}
	if nodes > 0 {
		y.Nodes = nodes
	}
	all := slices.Clone(faults)
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	y.kinds = all[:2+r.IntN(len(all)-1)]
	for _, k := range y.kinds {
		y.Kinds = append(y.Kinds, k.name)
	}
	slices.Sort(y.Kinds)
	feeds := slices.Clone(feedKinds)
	r.Shuffle(len(feeds), func(i, j int) { feeds[i], feeds[j] = feeds[j], feeds[i] })
	y.feeds = feeds[:1+r.IntN(len(feeds))]
	// One fault, and one call, costs steps in the number of nodes.
	size := 1 + float64(y.Nodes)/6
	y.pace = time.Duration(size * float64(200*time.Millisecond) * (1 + 20*pow4(r.Float64())))
	y.asking = time.Duration(size * float64(150*time.Millisecond) * (1 + 20*pow4(r.Float64())))
	return y
}

func pow4(x float64) float64 { return x * x * x * x }

// Config is the world that this weather is for.
func (y *Weather) Config(log func(string)) Config {
	c := Config{Seed: y.Seed, Core: core.Default(), Log: log}
	c.Latency = time.Duration(50+y.rng.IntN(500)) * time.Microsecond
	c.Jitter = 2 * c.Latency
	if y.rng.Float64() < 0.15 { // a WAN
		c.Latency = time.Duration(5+y.rng.IntN(40)) * time.Millisecond
		c.Jitter = c.Latency
	}
	if y.rng.Float64() < 0.5 {
		c.Skew = time.Hour
	}
	c.Core.Directory.PerNode = y.rng.Float64() < 0.3
	if y.rng.Float64() < 0.15 { // bounds that are met
		c.Core.Wave.OpenMax, c.Core.Wave.CallsMax = 4, 32
		c.Core.PoolMax, c.Core.PoolQueue = 8, 4
		c.Core.Wave.KeptBytes = 64 << 10
	}
	return c
}

// Play lets a seed's world live: storm, then calm with a part of it broken for
// ever, and tells what became of it.
func (y *Weather) Play(log func(string)) *World {
	w := New(y.Config(log))
	y.world = w
	w.say("%d nodes, faults: %v", y.Nodes, y.Kinds)
	w.feed = y.feed
	a := &w.apps
	a.slow, a.hang, a.queued, a.failing, a.refusing, a.large = 0.05*y.rng.Float64(), 0.03*y.rng.Float64(), 0.03*y.rng.Float64(), 0.03, 0.03, 0.05
	for range y.Nodes {
		h := w.addHost()
		w.after(w.between(0, 3*time.Second), func() { y.begin(h) })
	}
	w.after(4*time.Second, y.strike)
	w.after(2*time.Second, y.ask)
	w.after(2*time.Second, y.publish)
	w.Run(stormy)
	if w.failed == "" {
		y.calm()
	}
	return w
}

// begin starts a process on a host, and discovery for it.
func (y *Weather) begin(h *host) {
	n := y.world.startOn(h)
	y.world.after(y.world.between(0, 100*time.Millisecond), func() { y.refresh(n) })
}

// refresh is discovery's poll.
func (y *Weather) refresh(n *Node) {
	if !n.Living() {
		return
	}
	y.feed(n)
	y.world.after(y.world.between(8*time.Second, 12*time.Second), func() { y.refresh(n) })
}

// ask starts a call at some node, again and again.
func (y *Weather) ask() {
	w := y.world
	w.after(w.between(0, 2*y.asking), y.ask)
	n := y.any()
	if n == nil {
		return
	}
	budget := w.between(30*time.Millisecond, 400*time.Millisecond)
	if w.chance(0.3) {
		budget = w.between(400*time.Millisecond, 8*time.Second)
	}
	sel, size, enough := proto.Selector{}, 16+w.rng.IntN(64), 0
	switch p := w.rng.Float64(); {
	case p < 0.15:
		for range 1 + w.rng.IntN(4) {
			if o := w.Nodes[w.rng.IntN(len(w.Nodes))]; !slices.Contains(sel.IDs, o.ID) {
				sel.IDs = append(sel.IDs, o.ID)
			}
		}
	case p < 0.25:
		sel.Zone = string(rune('a' + w.rng.IntN(3)))
	case p < 0.35:
		sel.NotSelf = true
	}
	if w.chance(0.1) {
		size = 5<<10 + w.rng.IntN(20<<10)
	}
	if w.chance(0.05) {
		enough = 1 + w.rng.IntN(3)
	}
	c := n.Ask(sel, budget, size, enough)
	if w.chance(0.05) {
		w.after(w.between(0, budget), c.Cancel)
	}
}

// publish broadcasts at some node, again and again.
func (y *Weather) publish() {
	w := y.world
	w.after(w.between(0, 4*y.asking), y.publish)
	if n := y.any(); n != nil {
		n.Publish(fmt.Sprint("topic", w.rng.IntN(4)), 16+w.rng.IntN(200))
	}
}

// any is some node that runs, or nil.
func (y *Weather) any() *Node {
	if all := y.world.Up(); len(all) > 0 {
		return all[y.world.rng.IntN(len(all))]
	}
	return nil
}

// linked are two nodes that hold a link, or nil.
func (y *Weather) linked() (a, b *Node) {
	a = y.any()
	if a == nil || len(a.links) == 0 {
		return nil, nil
	}
	l := a.links[y.world.rng.IntN(len(a.links))]
	return a, l.conn.ends[1-l.side].node
}

// some is a random part of those that run: one, or about half.
func (y *Weather) some(half bool) []*Node {
	all := y.world.Up()
	y.world.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	n := min(1, len(all))
	if half {
		n = len(all) / 2
	}
	return all[:n]
}

// strike is the next fault.
func (y *Weather) strike() {
	if y.over || len(y.kinds) == 0 {
		return
	}
	w := y.world
	w.after(w.between(0, 2*y.pace), y.strike)
	k := y.kinds[w.rng.IntN(len(y.kinds))]
	if k.do(y) {
		w.Report.Faults[k.name]++
	}
}

// for lets something end after a while, unless the weather has ended before.
func (y *Weather) later(d time.Duration, undo func()) {
	y.world.after(d, func() {
		if !y.over {
			undo()
		}
	})
}

// crashable is some node that may die: a third of the cluster stays.
func (y *Weather) crashable() *Node {
	if len(y.world.Up()) <= max(2, y.Nodes/3) {
		return nil
	}
	return y.any()
}

// calm stops all faults on a core of nodes and leaves the rest broken for ever.
// The core must recover.
func (y *Weather) calm() {
	w := y.world
	y.over = true
	y.feeds = []feedKind{feedKinds[0]}
	w.net = faultyNet{}
	w.MendAll()
	for _, h := range w.hosts {
		h.lag = 0
	}
	for _, n := range w.Nodes {
		n.stepFor = 0
		w.Resume(n)
		if n.state == up && n.core.Self().Draining {
			y.changeSelf(n, false)
		}
	}
	core := y.Break()
	if len(core) == 0 {
		return
	}
	w.say("the faults end; %d nodes must recover", len(core))
	for _, n := range core {
		y.feed(n)
	}
	a := &w.apps
	a.slow, a.hang, a.queued, a.failing, a.refusing = 0, 0, 0, 0, 0
	took, ok := y.recover(core)
	if w.failed != "" {
		return
	}
	if !ok {
		w.fail("after %v of calm: %s", took, w.SettledAmong(still(core)))
		return
	}
	w.Report.Recovered = append(w.Report.Recovered, took)
	w.say("recovered after %v", took)
	y.proof(still(core))
}

// still is who of a core still runs: of two processes of one name one ends.
func still(core []*Node) []*Node {
	return slices.DeleteFunc(slices.Clone(core), func(n *Node) bool { return !n.Living() || n.leaving })
}

// recover waits until the core is one cluster again.
func (y *Weather) recover(core []*Node) (time.Duration, bool) {
	w := y.world
	began := w.now
	for w.failed == "" && w.now-began < recovery {
		w.Run(250 * time.Millisecond)
		if w.SettledAmong(still(core)) == "" {
			return w.now - began, true
		}
	}
	return w.now - began, false
}

// Break leaves some nodes broken for ever, and returns the others.
func (y *Weather) Break() []*Node {
	w := y.world
	all := w.Up()
	broken := 0
	if len(all) > 2 {
		broken = w.rng.IntN(1 + len(all)/3)
	}
	w.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, n := range all[:broken] {
		switch w.rng.IntN(4) {
		case 0:
			w.Crash(n)
		case 1:
			w.Vanish(n)
		case 2:
			w.Pause(n)
		default:
			w.say("%s is cut off for ever", n)
			w.Partition([]*Node{n})
		}
	}
	core := all[broken:]
	slices.SortFunc(core, func(a, b *Node) int { return a.Index - b.Index })
	return slices.DeleteFunc(core, func(n *Node) bool { return n.leaving })
}

// shortOf is how long views may have less than their floor in calm (H11): who was
// evicted or trimmed looks for another link at its next tick, and may be refused.
const shortOf = 5 * time.Second

// stay: what has settled stays so, but that links come and go.
func (y *Weather) stay(core []*Node, d time.Duration) {
	w := y.world
	enough := w.now
	for end := w.now + d; w.now < end && w.failed == ""; {
		w.Run(250 * time.Millisecond)
		words := w.linksEnough(core)
		if words == "" {
			enough = w.now
		}
		if w.now-enough <= shortOf {
			words = w.settledBut(core)
		}
		if words != "" {
			w.fail("it did not stay settled: %s", words)
		}
	}
}

// proof: in calm every broadcast reaches every node of the core (P4), and every
// call is answered by all of it.
func (y *Weather) proof(core []*Node) {
	w := y.world
	// How old a frame is, a node that was stopped knows only by its next ping; until then it takes what it reads for older
	// than it is, and refuses a call rather than run it too late.
	w.Run(2 * w.cfg.Core.Directory.PingEvery)
	first := len(w.apps.casts)
	var calls []*Call
	for i := range 6 {
		n := core[w.rng.IntN(len(core))]
		n.Publish(fmt.Sprint("calm", i), 100)
		calls = append(calls, n.Ask(proto.Selector{}, 5*time.Second, 32, 0))
		w.Run(time.Second)
	}
	casts := w.apps.casts[first:]
	y.stay(core, max(aftermath, lifetime-w.now))
	for _, c := range casts {
		for _, n := range core {
			if c.id.Seq != 0 && slices.Contains(core, c.by) && !c.has(n) && c.at < w.now-10*time.Second {
				w.fail("P4: %v published at %v by %v never reached %v", c.id, c.at, c.by, n)
			}
		}
	}
	if words := w.checks.broadcast.unaccounted(core); words != "" {
		w.fail("%s", words)
	}
	for _, c := range calls {
		if !slices.Contains(core, c.By) || c.Refused != "" {
			continue
		}
		for _, n := range core {
			if t, ok := c.Targets.Get(n.ID); !ok || t.Verdict != proto.Replied {
				w.fail("in calm %v asked, and %v gave: %+v", c.By, n, t)
			}
		}
	}
}
