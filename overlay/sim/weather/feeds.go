package weather

import "github.com/starlingmesh/starling/overlay/sim"

// feedKind is one way for discovery to be. A list that is nil is an error: what was known stays.
type feedKind struct {
	name string
	list func(*Weather, *sim.Node) []string
}

// feedKinds begins with the only honest one.
var feedKinds = []feedKind{
	{"", func(y *Weather, _ *sim.Node) []string {
		return y.addrs(func(h *sim.Host) bool { return h.Node() != nil }, 3)
	}},
	{"discovery is stale", func(y *Weather, _ *sim.Node) []string { return y.addrs(func(*sim.Host) bool { return true }, 6) }},
	{"discovery is partial", func(y *Weather, _ *sim.Node) []string {
		return y.addrs(func(h *sim.Host) bool { return h.Node() != nil && h.Zone() == "a" }, 1)
	}},
	{"discovery is empty", func(*Weather, *sim.Node) []string { return nil }},
	{"discovery fails", nil},
	{"discovery lies", func(y *Weather, n *sim.Node) []string {
		return append([]string{"192.0.2.1:7946", n.Addr()}, y.addrs(func(*sim.Host) bool { return true }, 1)...)
	}},
}

// addrs draws up to so many addresses of hosts that fit.
func (y *Weather) addrs(fit func(*sim.Host) bool, most int) []string {
	var all []string
	for _, i := range y.dice.Perm(len(y.world.Hosts())) {
		if h := y.world.Hosts()[i]; fit(h) && len(all) < most {
			all = append(all, h.Addr())
		}
	}
	return all
}

// feed tells a node what discovery says now.
func (y *Weather) feed(n *sim.Node) {
	if !n.Living() {
		return
	}
	y.dice = y.news
	k := y.feeds[y.dice.IntN(len(y.feeds))]
	if k.name != "" {
		y.world.Report.Faults[k.name]++
	}
	if k.list != nil {
		n.Contacts(k.list(y, n)...)
	}
}

// Faults are the names of all kinds of faults that a seed may draw, those of discovery too.
func Faults() []string {
	var names []string
	for _, f := range faults {
		names = append(names, f.name)
	}
	for _, k := range feedKinds[1:] {
		names = append(names, k.name)
	}
	return names
}
