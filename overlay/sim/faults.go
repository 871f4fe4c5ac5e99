package sim

import (
	"strings"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// net is what goes wrong between hosts now.
type faultyNet struct {
	cuts map[[2]int]int // directed, by host; how many faults cut it

	// shares of dials that fail for no visible reason
	dialRefused, dialTLS, dialLocal float64
	// share of new links that are slow, and by how much at most
	slowLinks float64
	slowBy    time.Duration
}

func (w *World) cutHosts(from, to *Host) bool {
	return w.net.cuts[[2]int{from.index, to.index}] > 0
}

// cut tells whether frames from one node do not reach the other.
func (w *World) cut(from, to *Node) bool {
	return len(w.net.cuts) > 0 && w.cutHosts(from.host, to.host)
}

// way is how long a frame takes between hosts that do not lag.
func (w *World) way() time.Duration { return w.cfg.Latency + w.between(0, w.cfg.Jitter) }

func (w *World) latency(from, to *Node) time.Duration {
	if !w.lags {
		return w.way()
	}
	return w.latencyHosts(from.host, hostOrNil(to, from.host))
}

// hostOrNil lets the way to nobody be as long as the way to oneself.
func hostOrNil(n *Node, instead *Host) *Host {
	if n == nil {
		return instead
	}
	return n.host
}

func (w *World) latencyHosts(from, to *Host) time.Duration {
	return w.way() + from.lag + to.lag
}

func (w *World) linkLag(a, b *Node) time.Duration {
	if w.net.slowLinks > 0 && w.chance(w.net.slowLinks) {
		w.Report.Faults["slow link"]++
		w.say("the link between %s and %s is slow", a, b)
		return w.between(w.net.slowBy/10, w.net.slowBy)
	}
	return 0
}

// busy is how long a process takes to shake hands.
func (w *World) busy(n *Node) time.Duration {
	return 3*n.stepFor + max(0, n.freeAt-w.now)
}

// dialFault draws what goes wrong with a dial for no visible reason.
func (w *World) dialFault(from *Node, to *Host) proto.DialWhy {
	f := &w.net
	if f.dialRefused+f.dialTLS+f.dialLocal == 0 || to == nil {
		return 0
	}
	switch p := w.rng.Float64(); {
	case p < f.dialRefused:
		w.Report.Faults["dial refused"]++
		w.say("a dial from %s to %s is refused", from, to.name)
		return proto.DialRefused
	case p < f.dialRefused+f.dialTLS:
		w.Report.Faults["handshake failed"]++
		return proto.DialTLS
	case p < f.dialRefused+f.dialTLS+f.dialLocal:
		w.Report.Faults["no descriptors"]++
		return proto.DialLocal
	}
	return 0
}

// Cut stops all frames between two nodes; connections stand until they notice.
func (w *World) Cut(a, b *Node) {
	w.CutOneWay(a, b)
	w.CutOneWay(b, a)
}

// CutOneWay stops frames from one node to another. Those the other way arrive
// and are not acknowledged.
func (w *World) CutOneWay(from, to *Node) {
	if w.net.cuts == nil {
		w.net.cuts = map[[2]int]int{}
	}
	w.net.cuts[[2]int{from.host.index, to.host.index}]++
	for _, c := range w.conns {
		if !c.torn && between(c, from, to) {
			for side := range c.ends {
				if c.ends[side].state == endUp && w.chance(0.2) { // data under way is not acknowledged
					w.awaitAck(c, side)
				}
			}
		}
	}
}

// Mend takes a Cut back.
func (w *World) Mend(a, b *Node) {
	w.MendOneWay(a, b)
	w.MendOneWay(b, a)
}

// MendOneWay takes a CutOneWay back: what was held goes out, a retransmission later.
func (w *World) MendOneWay(from, to *Node) {
	key := [2]int{from.host.index, to.host.index}
	if w.net.cuts[key]--; w.net.cuts[key] <= 0 {
		delete(w.net.cuts, key)
		for _, c := range w.conns {
			if between(c, from, to) {
				w.release(c, w.between(0, 400*time.Millisecond))
			}
		}
	}
}

func between(c *conn, a, b *Node) bool {
	x, y := c.ends[0].node.host, c.ends[1].node.host
	return x == a.host && y == b.host || x == b.host && y == a.host
}

// Partition cuts every node of some from all others. Heal with the same list
// takes it back.
func (w *World) Partition(some []*Node) { w.acrossHosts(some, w.Cut) }

// Heal takes a Partition back.
func (w *World) Heal(some []*Node) { w.acrossHosts(some, w.Mend) }

// OneWay cuts one direction between a node and all others: a deaf one hears nobody, a mute one is heard by nobody. The
// function it returns takes that back.
func (w *World) OneWay(n *Node, deaf bool) (mend func()) {
	both := func(do func(from, to *Node)) func(a, b *Node) {
		return func(a, b *Node) {
			if deaf {
				a, b = b, a
			}
			do(a, b)
		}
	}
	w.acrossHosts([]*Node{n}, both(w.CutOneWay))
	return func() { w.acrossHosts([]*Node{n}, both(w.MendOneWay)) }
}

// acrossHosts calls do for one process of each pair of hosts on both sides.
func (w *World) acrossHosts(some []*Node, do func(a, b *Node)) {
	inside := make([]bool, len(w.hosts))
	for _, n := range some {
		inside[n.host.index] = true
	}
	for _, a := range some {
		for _, h := range w.hosts {
			if !inside[h.index] {
				do(a, &Node{host: h})
			}
		}
	}
}

// MendAll ends every cut.
func (w *World) MendAll() {
	w.net.cuts = nil
	for _, c := range w.conns {
		w.release(c, w.between(0, 400*time.Millisecond))
	}
}

// Break resets every connection between two nodes: what is on its way is lost,
// and both ends notice, each in its time.
func (w *World) Break(a, b *Node) {
	for _, c := range w.conns {
		if !c.torn && between(c, a, b) {
			w.breakConn(c)
		}
	}
}

func (w *World) breakConn(c *conn) {
	c.torn = true
	for side := range c.ends {
		late := w.between(0, 2*w.cfg.Latency)
		if w.chance(0.3) {
			late = w.between(0, 4*time.Second)
		}
		w.after(late, func() { w.down(c, side, proto.DownReset) })
	}
}

// Stall lets nothing pass between two nodes for a while, and loses nothing.
func (w *World) Stall(a, b *Node, d time.Duration) {
	for _, c := range w.conns {
		if !c.torn && between(c, a, b) {
			c.stalled = max(c.stalled, w.now+d)
			w.at(c.stalled, func() { w.release(c, 0) })
		}
	}
}

// Crash kills a process (SIGKILL): its kernel closes its sockets.
func (w *World) Crash(n *Node) {
	w.say("%s is killed", n)
	n.end(false)
}

// Vanish powers a node's host off: nobody is told.
func (w *World) Vanish(n *Node) {
	w.say("%s loses power", n)
	n.vanished = true
	n.end(false)
	n.host.dark = true
}

// Restart starts a new process on a dead node's host: the old name, a new ID.
func (w *World) Restart(n *Node) *Node {
	if n.Living() {
		panic("sim: restart of the living")
	}
	return w.startOn(n.host)
}

// Pause stops a process (SIGSTOP): its kernel goes on accepting, and buffers.
func (w *World) Pause(n *Node) {
	if n.state == up {
		w.say("%s is stopped", n)
		n.state = paused
		w.stirred++
		n.wakes++ // its timer does not run
	}
}

// Resume lets a process go on (SIGCONT): it reads what has piled up.
func (w *World) Resume(n *Node) {
	if n.state != paused {
		return
	}
	w.say("%s goes on, with %d inputs to read", n, len(n.inbox))
	w.stirred++
	n.state, n.resumed, n.wakeAt, n.freeAt = up, w.now, time.Time{}, w.now
	if len(n.inbox) == 0 || w.chance(0.5) {
		n.inbox = append([]waiting{{proto.Wake{}, w.now}}, n.inbox...)
	}
	n.drain()
}

// Slow makes every step of a node cost so much; zero: as fast as ever.
func (w *World) Slow(n *Node, perStep time.Duration) {
	n.stepFor = perStep
	if perStep == 0 {
		n.slowAt = w.now
	}
}

// Lag adds to every frame from and to a node's host.
func (w *World) Lag(n *Node, d time.Duration) {
	h := n.host
	h.lagged, h.lagEnd, h.lag = h.lag, w.now, d
	w.lags = true
}

// Leave ends a node gracefully.
func (w *World) Leave(n *Node) {
	w.say("%s is told to leave", n)
	n.leaving = true
	n.give(proto.Leave{})
}

// Contacts tells a node what discovery vouches for.
func (n *Node) Contacts(addrs ...string) {
	list := make([]proto.Contact, len(addrs))
	for i, a := range addrs {
		list[i].Addrs = []string{a}
	}
	n.give(proto.Contacts{Contacts: list})
}

// Addr is where the node listens.
func (n *Node) Addr() string { return n.host.addr }

// fatalKind is the reason of a Fatal without the names in it.
func fatalKind(why string) string {
	kind, _, _ := strings.Cut(why, ":")
	return kind
}

// wanted: a node asks discovery to look again, at once.
func (w *World) wanted(n *Node) {
	if w.feed != nil {
		w.after(w.between(time.Millisecond, 200*time.Millisecond), func() { w.feed(n) })
	}
}
