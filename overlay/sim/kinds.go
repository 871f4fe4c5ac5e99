package sim

import (
	"fmt"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
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
		y.world.say("the links between %s and %s break", a, b)
		y.world.Break(a, b)
		return true
	}},
	{"link stalled", func(y *Weather) bool {
		a, b := y.linked()
		if a == nil {
			return false
		}
		d := y.world.between(50*time.Millisecond, 6*time.Second)
		y.world.say("the links between %s and %s stall for %v", a, b, d)
		y.world.Stall(a, b, d)
		return true
	}},
	{"links are slow", func(y *Weather) bool {
		f := &y.world.net
		f.slowLinks, f.slowBy = 0.3, 300*time.Millisecond
		return true
	}},
	{"cut", func(y *Weather) bool {
		a, b := y.linked()
		if a == nil {
			return false
		}
		y.world.say("%s and %s are cut", a, b)
		y.world.Cut(a, b)
		y.later(y.length(), func() { y.world.Mend(a, b) })
		return true
	}},
	{"cut one way", func(y *Weather) bool {
		a, b := y.linked()
		if a == nil {
			return false
		}
		y.world.say("nothing passes from %s to %s", a, b)
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
			if !n.Living() && n.host.node == nil && y.world.chance(0.5) {
				y.begin(n.host)
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
		y.begin(n.host)
		return true
	}},
	{"pause", func(y *Weather) bool {
		n := y.any()
		if n == nil {
			return false
		}
		y.world.Pause(n)
		d := y.world.between(100*time.Millisecond, 4*time.Second)
		if y.world.chance(0.3) {
			d = y.world.between(4*time.Second, 30*time.Second)
		}
		y.later(d, func() { y.world.Resume(n) })
		return true
	}},
	{"slow node", func(y *Weather) bool {
		n := y.any()
		if n == nil || y.slow > y.Nodes/4 {
			return false
		}
		d := y.world.between(time.Millisecond, 15*time.Millisecond)
		y.world.say("%s is slow: %v a step", n, d)
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
		y.world.Lag(n, y.world.between(10*time.Millisecond, 150*time.Millisecond))
		y.later(y.length(), func() { y.world.Lag(n, 0) })
		return true
	}},
	{"new node", func(y *Weather) bool {
		if len(y.world.Up()) >= y.Nodes+y.Nodes/4+1 {
			return false
		}
		y.begin(y.world.addHost())
		return true
	}},
	{"leave", func(y *Weather) bool {
		n := y.crashable()
		if n == nil || n.leaving {
			return false
		}
		y.world.Leave(n)
		return true
	}},
	{"twin", func(y *Weather) bool {
		n := y.any()
		if n == nil || y.world.chance(0.7) || y.twins > y.Nodes/8 {
			return false
		}
		y.twins++
		h := y.world.addHost()
		h.name = n.Name
		y.world.say("a second process is called %s", n.Name)
		y.begin(h)
		return true
	}},
	{"dials fail", func(y *Weather) bool {
		f := &y.world.net
		f.dialRefused, f.dialTLS, f.dialLocal = 0.02, 0.05, 0.05
		y.later(y.length(), func() { f.dialRefused, f.dialTLS, f.dialLocal = 0, 0, 0 })
		return true
	}},
	{"changed self", func(y *Weather) bool {
		n := y.any()
		if n == nil || n.leaving {
			return false
		}
		y.changeSelf(n, y.world.chance(0.1))

		return true
	}},
	{"storm of broadcasts", func(y *Weather) bool {
		n := y.any()
		if n == nil {
			return false
		}
		for i := range 50 {
			y.world.after(time.Duration(i)*2*time.Millisecond, func() {
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
}

// changeSelf has a node's application say something else of it.
func (y *Weather) changeSelf(n *Node, draining bool) {
	n.give(proto.UpdateSelf{
		Zone: n.host.zone, Streams: 0xffff, Handlers: []string{method}, Groups: []string{fmt.Sprint("g", y.world.rng.IntN(3))},
		Tags: []proto.Tag{{Key: "round", Value: fmt.Sprint(y.world.rng.IntN(1000))}}, Draining: draining,
	})
}

// length is how long a fault lasts.
func (y *Weather) length() time.Duration {
	if y.world.chance(0.5) {
		return y.world.between(200*time.Millisecond, 5*time.Second)
	}
	return y.world.between(5*time.Second, 25*time.Second)
}

func (y *Weather) partition(half bool) bool {
	some := y.some(half)
	if len(some) == 0 {
		return false
	}
	y.world.say("%v are cut off from the rest", some)
	y.world.Partition(some)
	y.later(y.length(), func() {
		y.world.say("%v are no longer cut off", some)
		y.world.Heal(some)
	})
	return true
}

// feedKind is one way for discovery to be.
type feedKind struct {
	name string
	list func(*Weather, *Node) []string
}

// feedKinds begins with the only honest one.
var feedKinds = []feedKind{
	{"", func(y *Weather, _ *Node) []string { return y.addrs(func(h *host) bool { return h.node != nil }, 3) }},
	{"discovery is stale", func(y *Weather, _ *Node) []string { return y.addrs(func(*host) bool { return true }, 6) }},
	{"discovery is partial", func(y *Weather, _ *Node) []string {
		return y.addrs(func(h *host) bool { return h.node != nil && h.index%3 == 0 }, 1)
	}},
	{"discovery is empty", func(*Weather, *Node) []string { return nil }},
	{"discovery lies", func(y *Weather, n *Node) []string {
		return append([]string{"192.0.2.1:7946", n.Addr()}, y.addrs(func(*host) bool { return true }, 1)...)
	}},
}

// addrs draws up to so many addresses of hosts that fit.
func (y *Weather) addrs(fit func(*host) bool, most int) []string {
	var all []string
	for _, i := range y.world.rng.Perm(len(y.world.hosts)) {
		if h := y.world.hosts[i]; fit(h) && len(all) < most {
			all = append(all, h.addr)
		}
	}
	return all
}

// feed tells a node what discovery says now.
func (y *Weather) feed(n *Node) {
	if !n.Living() {
		return
	}
	k := y.feeds[y.world.rng.IntN(len(y.feeds))]
	if k.name != "" {
		y.world.Report.Faults[k.name]++
	}
	n.Contacts(k.list(y, n)...)
}
