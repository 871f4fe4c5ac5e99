package weather

import (
	"fmt"
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/sim"
)

// fault is one kind of fault. do tells whether there was something to break.
type fault struct {
	name string
	do   func(*Weather) bool
}

// faults are all kinds that weather may have.
var faults = []fault{
	{"link broken", func(y *Weather) bool {
		a, b := y.linked()
		if a == nil {
			return false
		}
		y.world.Say("the links between %s and %s break", a, b)
		y.world.Break(a, b)
		return true
	}},
	{"link stalled", func(y *Weather) bool {
		a, b := y.linked()
		if a == nil {
			return false
		}
		d := y.between(50*time.Millisecond, 6*time.Second)
		y.world.Say("the links between %s and %s stall for %v", a, b, d)
		y.world.Stall(a, b, d)
		return true
	}},
	{"links are slow", func(y *Weather) bool {
		y.world.SlowLinks(0.3, 300*time.Millisecond)
		return true
	}},
	{"cut", func(y *Weather) bool {
		a, b := y.linked()
		if a == nil {
			return false
		}
		y.world.Say("%s and %s are cut", a, b)
		y.world.Cut(a, b)
		y.later(y.length(), func() { y.world.Mend(a, b) })
		return true
	}},
	{"cut one way", func(y *Weather) bool {
		a, b := y.linked()
		if a == nil {
			return false
		}
		y.world.Say("nothing passes from %s to %s", a, b)
		y.world.CutOneWay(a, b)
		y.later(y.length(), func() { y.world.MendOneWay(a, b) })
		return true
	}},
	{"partition in halves", func(y *Weather) bool { return y.partition(true) }},
	{"isolation", func(y *Weather) bool { return y.partition(false) }},
	{"crash", func(y *Weather) bool {
		n := y.crashable()
		if n == nil {
			return false
		}
		y.world.Crash(n)
		return true
	}},
	{"power lost", func(y *Weather) bool {
		n := y.crashable()
		if n == nil {
			return false
		}
		y.world.Vanish(n)
		return true
	}},
	{"restart under the old name", func(y *Weather) bool {
		for _, n := range y.world.Nodes {
			if !n.Living() && n.Host().Node() == nil && y.chance(0.5) {
				y.begin(n.Host())
				return true
			}
		}
		return false
	}},
	{"restart at once", func(y *Weather) bool {
		n := y.crashable()
		if n == nil {
			return false
		}
		y.world.Crash(n)
		y.begin(n.Host())
		return true
	}},
	{"pause", func(y *Weather) bool {
		n := y.any()
		if n == nil {
			return false
		}
		y.world.Pause(n)
		d := y.between(100*time.Millisecond, 4*time.Second)
		if y.chance(0.3) {
			d = y.between(4*time.Second, 30*time.Second)
		}
		y.later(d, func() { y.world.Resume(n) })
		return true
	}},
	{"slow node", func(y *Weather) bool {
		n := y.any()
		if n == nil || y.slow > y.Nodes/4 {
			return false
		}
		d := y.between(time.Millisecond, 15*time.Millisecond)
		y.world.Say("%s is slow: %v a step", n, d)
		y.world.Slow(n, d)
		y.slow++
		y.later(y.length(), func() { y.slow--; y.world.Slow(n, 0) })
		return true
	}},
	{"far node", func(y *Weather) bool {
		n := y.any()
		if n == nil {
			return false
		}
		y.world.Lag(n, y.between(10*time.Millisecond, 150*time.Millisecond))
		y.later(y.length(), func() { y.world.Lag(n, 0) })
		return true
	}},
	{"new node", func(y *Weather) bool {
		if len(y.world.Up()) >= y.Nodes+y.Nodes/4+1 {
			return false
		}
		y.begin(y.world.AddHost(""))
		return true
	}},
	{"leave", func(y *Weather) bool {
		n := y.crashable()
		if n == nil || n.Leaving() {
			return false
		}
		y.world.Leave(n)
		return true
	}},
	{"twin", func(y *Weather) bool {
		n := y.any()
		if n == nil || y.chance(0.7) || y.twins > y.Nodes/8 {
			return false
		}
		y.twins++
		h := y.world.AddHost(n.Name)
		y.world.Say("a second process is called %s", n.Name)
		y.begin(h)
		return true
	}},
	{"dials fail", func(y *Weather) bool {
		y.world.FailDials(0.02, 0.05, 0.05)
		y.later(y.length(), func() { y.world.FailDials(0, 0, 0) })
		return true
	}},
	{"changed self", func(y *Weather) bool {
		n := y.any()
		if n == nil || n.Leaving() {
			return false
		}
		y.changeSelf(n, y.chance(0.1))

		return true
	}},
	{"storm of broadcasts", func(y *Weather) bool {
		n := y.any()
		if n == nil {
			return false
		}
		for i := range 50 {
			y.world.After(time.Duration(i)*2*time.Millisecond, func() {
				if n.Living() {
					n.Publish("storm", 100)
				}
			})
		}
		return true
	}},
	{"flapping link", func(y *Weather) bool {
		a, b := y.linked()
		if a == nil {
			return false
		}
		for i := range 5 {
			y.later(time.Duration(i)*2*time.Second, func() { y.world.Break(a, b) })
		}
		return true
	}},
	{"deaf or mute node", (*Weather).oneWay},
	{"chain of partitions", (*Weather).chain},
	{"swizzle", (*Weather).swizzle},
	{"half stopped", func(y *Weather) bool {
		some := y.some(true)
		d := y.between(200*time.Millisecond, 8*time.Second)
		for _, n := range some {
			y.world.Pause(n)
			y.later(d, func() { y.world.Resume(n) })
		}
		return len(some) > 0
	}},
	{"half killed", func(y *Weather) bool {
		killed := false
		for _, n := range y.some(true) {
			if y.crashable() != nil {
				y.world.Crash(n)
				killed = true
			}
		}
		return killed
	}},
	{"another node at the address of a dead one", func(y *Weather) bool {
		for _, h := range y.world.Hosts() {
			if h.Node() == nil && y.world.Now() > 10*time.Second && y.chance(0.5) {
				y.world.Rename(h)
				y.begin(h)
				return true
			}
		}
		return false
	}},
}

// changeSelf has a node's application say something else of it.
func (y *Weather) changeSelf(n *sim.Node, draining bool) {
	n.Update(proto.UpdateSelf{
		Groups: []string{fmt.Sprint("g", y.dice.IntN(3))}, Draining: draining,
		Tags: []proto.Tag{{Key: "round", Value: fmt.Sprint(y.dice.IntN(1000))}},
	})
}

// length is how long a fault lasts.
func (y *Weather) length() time.Duration {
	if y.chance(0.5) {
		return y.between(200*time.Millisecond, 5*time.Second)
	}
	return y.between(5*time.Second, 25*time.Second)
}

// partition cuts one node, or about half of them, from the rest for a while.
func (y *Weather) partition(half bool) bool {
	some := y.some(half)
	if len(some) == 0 {
		return false
	}
	y.world.Say("%v are cut off from the rest", some)
	y.world.Partition(some)
	y.later(y.length(), func() {
		y.world.Say("%v are no longer cut off", some)
		y.world.Heal(some)
	})
	return true
}

// oneWay: a node hears nobody, or nobody hears it.
func (y *Weather) oneWay() bool {
	n := y.any()
	if n == nil {
		return false
	}
	deaf := y.chance(0.5)
	y.world.Say("%s hears nobody: %v, or nobody hears it", n, deaf)
	mend := y.world.OneWay(n, deaf)
	y.later(y.length(), mend)
	return true
}

// chain: of three to five groups each reaches the next ones only, so that everybody can reach everybody, over others.
func (y *Weather) chain() bool {
	all := y.some(false)
	all = append(all, y.others(all)...)
	groups := 3 + y.dice.IntN(3)
	if len(all) < groups {
		return false
	}
	var mend []func()
	for i, a := range all {
		for j, b := range all[:i] {
			if i*groups/len(all)-j*groups/len(all) > 1 {
				y.world.Cut(a, b)
				mend = append(mend, func() { y.world.Mend(a, b) })
			}
		}
	}
	y.world.Say("%d groups in a chain reach only their neighbours: %v", groups, all)
	y.later(y.length(), func() {
		y.world.Say("the chain is whole")
		for _, m := range mend {
			m()
		}
	})
	return true
}

// swizzle, as FoundationDB's testers call it: some nodes' links stall one node after the other, and go on in another order.
func (y *Weather) swizzle() bool {
	some := y.some(true)
	step := y.between(10*time.Millisecond, 400*time.Millisecond)
	whole := time.Duration(len(some)) * step
	for i, at := range y.dice.Perm(len(some)) {
		begin, end := time.Duration(i)*step, whole+time.Duration(at)*step
		y.later(begin, func() {
			y.world.Say("the links of %s stall for %v", some[i], end-begin)
			for _, o := range some[i].Linked() {
				y.world.Stall(some[i], o, end-begin)
			}
		})
	}
	return len(some) > 0
}

// others are those that run and are not some, in random order.
func (y *Weather) others(some []*sim.Node) []*sim.Node {
	all := slices.DeleteFunc(y.world.Up(), func(n *sim.Node) bool { return slices.Contains(some, n) })
	y.dice.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}
