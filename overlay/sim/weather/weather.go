package weather

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/core"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/sim"
)

// Weather is what a seed draws: the size of the cluster, how the network is,
// which faults there are and how often they come.
type Weather struct {
	Plan
	Kinds []string // of faults, by name
	// Strikes are the numbers of those that happened. Struck is the trace at the end of the first part of the storm.
	Strikes []int
	Struck  uint64

	world  *sim.World
	cfg    sim.Config
	kinds  []fault
	feeds  []feedKind
	pace   time.Duration // mean time between two faults
	asking time.Duration // and between two calls
	over   bool          // the faults have stopped
	calmAt time.Duration // when they did
	slow   int           // hosts that are slow now
	twins  int           // processes started under a name that another has
	next   int           // number of the next strike
	drawn  *rand.Rand    // for what is drawn before all else
	calls  *rand.Rand    // for what applications do
	news   *rand.Rand    // for what discovery says
	dice   *rand.Rand    // of these, the one that is thrown now; a strike has one of its own, so that others may be left out
}

// How long a world is under weather, and how long it may take to recover.
const (
	stormy   = 75 * time.Second
	recovery = 90 * time.Second
	lifetime = 120 * time.Second // where the storm lasts to the end
)

// Draw makes a plan's weather.
func Draw(p Plan) *Weather {
	r := rand.New(rand.NewPCG(p.Seed, 0x3ea7e2))
	y := &Weather{Plan: p, drawn: r, dice: r, calls: rand.New(rand.NewPCG(p.Seed, 0xca115)), news: rand.New(rand.NewPCG(p.Seed, 0x4ee5))}
	y.Nodes = size(r)
	if p.Nodes > 0 {
		y.Nodes = p.Nodes
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
	slower := 1 + float64(y.Nodes)/6
	y.pace = time.Duration(slower * float64(200*time.Millisecond) * (1 + 20*pow4(r.Float64())))
	y.asking = time.Duration(slower * float64(150*time.Millisecond) * (1 + 20*pow4(r.Float64())))
	return y
}

// size draws how many nodes there are. Most defects need few, and small worlds are quick; some need many.
func size(r *rand.Rand) int {
	switch p := r.Float64(); {
	case p < 0.02:
		return 40 + r.IntN(61)
	case p < 0.1:
		return 16 + r.IntN(25)
	default:
		return 3 + r.IntN(5) + r.IntN(9)
	}
}

func pow4(x float64) float64 { return x * x * x * x }

// config is the world that this weather is for.
func (y *Weather) config(log func(string)) sim.Config {
	c := sim.Config{Seed: y.Seed, Core: core.Default(), Log: log}
	c.Latency = time.Duration(50+y.drawn.IntN(500)) * time.Microsecond
	c.Jitter = 2 * c.Latency
	if y.drawn.Float64() < 0.15 { // a WAN
		c.Latency = time.Duration(5+y.drawn.IntN(40)) * time.Millisecond
		c.Jitter = c.Latency
	}
	if y.drawn.Float64() < 0.5 {
		c.Skew = time.Hour
	}
	c.Core.Directory.PerNode = y.drawn.Float64() < 0.3
	if y.drawn.Float64() < 0.15 { // bounds that are met: calls leave the table so soon that late copies come after them (M4)
		y.asking /= 6
		c.Core.Wave.OpenMax, c.Core.Wave.CallsMax = 4, 8
		c.Core.PoolMax, c.Core.PoolQueue = 8, 4
		c.Core.Wave.KeptBytes = 64 << 10
	}
	return c
}

// Play lets the plan's world live, and tells what became of it: storm, then calm with a part of it broken for ever; or
// nothing but storm.
func (y *Weather) Play(log func(string)) *sim.World {
	y.cfg = y.config(log)
	w := sim.New(y.cfg)
	y.world = w
	w.Say("%d nodes, faults: %v", y.Nodes, y.Kinds)
	w.Discovery(y.feed)
	w.Temper(sim.Temper{Slow: 0.05 * y.drawn.Float64(), Hang: 0.03 * y.drawn.Float64(), Queued: 0.03 * y.drawn.Float64(), Failing: 0.03, Refusing: 0.03, Large: 0.05})
	for range y.Nodes {
		h := w.AddHost("")
		w.After(y.between(0, 3*time.Second), func() { y.begin(h) })
	}
	w.After(4*time.Second, y.strike)
	w.After(2*time.Second, y.ask)
	w.After(2*time.Second, y.publish)
	w.Run(stormy)
	y.Struck = w.Hash()
	switch {
	case w.Failed() != "":
	case y.Safety:
		w.Run(lifetime - stormy)
	default:
		y.calm()
	}
	return w
}

// begin starts a process on a host, and discovery for it.
func (y *Weather) begin(h *sim.Host) {
	n := y.world.StartOn(h)
	y.world.After(y.between(0, 100*time.Millisecond), func() { y.refresh(n) })
}

// refresh is discovery's poll.
func (y *Weather) refresh(n *sim.Node) {
	if !n.Living() {
		return
	}
	y.feed(n)
	y.dice = y.news
	y.world.After(y.between(8*time.Second, 12*time.Second), func() { y.refresh(n) })
}

// ask starts a call at some node, again and again.
func (y *Weather) ask() {
	w := y.world
	y.dice = y.calls
	w.After(y.between(0, 2*y.asking), y.ask)
	n := y.any()
	if n == nil {
		return
	}
	budget := y.between(30*time.Millisecond, 400*time.Millisecond)
	if y.chance(0.3) {
		budget = y.between(400*time.Millisecond, 8*time.Second)
	}
	sel, size, enough := proto.Selector{}, 16+y.dice.IntN(64), 0
	switch p := y.dice.Float64(); {
	case p < 0.15:
		for range 1 + y.dice.IntN(4) {
			if o := w.Nodes[y.dice.IntN(len(w.Nodes))]; !slices.Contains(sel.IDs, o.ID) {
				sel.IDs = append(sel.IDs, o.ID)
			}
		}
	case p < 0.25:
		sel.Zone = string(rune('a' + y.dice.IntN(3)))
	case p < 0.35:
		sel.NotSelf = true
	}
	if y.chance(0.1) {
		size = 5<<10 + y.dice.IntN(20<<10)
	}
	if y.chance(0.05) {
		enough = 1 + y.dice.IntN(3)
	}
	c := n.Ask(sel, budget, size, enough)
	if y.chance(0.05) {
		w.After(y.between(0, budget), c.Cancel)
	}
}

// publish broadcasts at some node, again and again.
func (y *Weather) publish() {
	w := y.world
	y.dice = y.calls
	w.After(y.between(0, 4*y.asking), y.publish)
	if n := y.any(); n != nil {
		n.Publish(fmt.Sprint("topic", y.dice.IntN(4)), 16+y.dice.IntN(200))
	}
}

// any is some node that runs, or nil.
func (y *Weather) any() *sim.Node {
	if all := y.world.Up(); len(all) > 0 {
		return all[y.dice.IntN(len(all))]
	}
	return nil
}

// linked are two nodes that hold a link, or nil.
func (y *Weather) linked() (a, b *sim.Node) {
	a = y.any()
	if a == nil {
		return nil, nil
	}
	others := a.Linked()
	if len(others) == 0 {
		return nil, nil
	}
	return a, others[y.dice.IntN(len(others))]
}

// some is a random part of those that run: one, or about half.
func (y *Weather) some(half bool) []*sim.Node {
	all := y.world.Up()
	y.dice.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	n := min(1, len(all))
	if half {
		n = len(all) / 2
	}
	return all[:n]
}

// strike is the next fault, unless the plan leaves it out.
func (y *Weather) strike() {
	if y.over {
		return
	}
	number := y.next
	y.next++
	y.dice = rand.New(rand.NewPCG(y.Seed, 0x57e1ce<<32|uint64(number)))
	y.world.After(y.between(0, 2*y.pace), y.strike)
	k := y.kinds[y.dice.IntN(len(y.kinds))]
	if (y.Only == nil || slices.Contains(y.Only, number)) && k.do(y) {
		y.Strikes = append(y.Strikes, number)
		y.world.Report.Faults[k.name]++
	}
}

// between draws evenly from [lo, hi).
func (y *Weather) between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(y.dice.Int64N(int64(hi-lo)))
}

// chance is true p times of one.
func (y *Weather) chance(p float64) bool { return y.dice.Float64() < p }

// later lets something end after a while, unless the weather has ended before.
func (y *Weather) later(d time.Duration, undo func()) {
	y.world.After(d, func() {
		if !y.over {
			undo()
		}
	})
}

// crashable is some node that may die: a third of the cluster stays.
func (y *Weather) crashable() *sim.Node {
	if len(y.world.Up()) <= max(2, y.Nodes/3) {
		return nil
	}
	return y.any()
}
