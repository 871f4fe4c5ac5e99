package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/core"
	"github.com/starlingmesh/starling/overlay/proto"
)

// These are what weather and scripts do to a world, beside its faults.

// After does something when so much time has passed.
func (w *World) After(d time.Duration, do func()) { w.after(d, do) }

// Say tells one line of the story, if anybody listens.
func (w *World) Say(format string, args ...any) { w.say(format, args...) }

// Fail ends the world: something is as it must not be. The first reason stays.
func (w *World) Fail(format string, args ...any) { w.fail(format, args...) }

// Steps is how many inputs all nodes have taken.
func (w *World) Steps() int { return w.steps }

// Hosts are all machines that there are.
func (w *World) Hosts() []*Host { return w.hosts }

// AddHost makes a machine for one more node, of this name; empty: n and its number.
func (w *World) AddHost(name string) *Host {
	h := w.addHost()
	if name != "" {
		h.name = name
	}
	return h
}

// Rename gives the node that starts next on a host a name that nobody had.
func (w *World) Rename(h *Host) {
	w.renamed++
	h.name = fmt.Sprintf("n%d.%d", h.index, w.renamed)
}

// StartOn starts a process under a fresh ID. Whatever listened there is replaced.
func (w *World) StartOn(h *Host) *Node { return w.startOn(h) }

// Addr is where the host's process listens.
func (h *Host) Addr() string { return h.addr }

// Zone is one of a, b and c.
func (h *Host) Zone() string { return h.zone }

// Node is the process that listens, or nil.
func (h *Host) Node() *Node { return h.node }

// Host is the machine that a process runs on.
func (n *Node) Host() *Host { return n.host }

// Runs tells whether the process lives and is not stopped.
func (n *Node) Runs() bool { return n.state == up }

// Leaving tells whether the process was told to leave.
func (n *Node) Leaving() bool { return n.leaving }

// Linked are the processes at the other ends of a node's connections, oldest first.
func (n *Node) Linked() []*Node {
	all := make([]*Node, len(n.links))
	for i, l := range n.links {
		all[i] = l.conn.ends[1-l.side].node
	}
	return all
}

// Core is the machine itself, to be looked at and not stepped; nil: a hostile process has none.
func (n *Node) Core() *core.Core { return n.core }

// Update has a node's application say something else of it.
func (n *Node) Update(in proto.UpdateSelf) {
	in.Zone, in.Streams, in.Handlers = n.host.zone, 0xffff, []string{method}
	n.give(in)
}

// Discovery is who looks again for contacts when a node wants some; nil: nobody.
func (w *World) Discovery(look func(*Node)) { w.feed = look }

// FailDials lets shares of all dials, of one, fail for no visible reason: refused, in the handshake, for want of descriptors.
func (w *World) FailDials(refused, tls, local float64) {
	w.net.dialRefused, w.net.dialTLS, w.net.dialLocal = refused, tls, local
}

// SlowLinks lets a share of all new connections, of one, be slower by up to so much.
func (w *World) SlowLinks(share float64, by time.Duration) { w.net.slowLinks, w.net.slowBy = share, by }

// Temper is how applications answer: shares of all calls, of one. The rest is answered at once.
type Temper struct{ Slow, Hang, Queued, Failing, Refusing, Large float64 }

// Temper sets it.
func (w *World) Temper(t Temper) { w.apps.temper = t }

// Calm ends every fault of the network, the hosts and the applications. The dead stay dead.
func (w *World) Calm() {
	w.net = faultyNet{}
	w.MendAll()
	w.Temper(Temper{Large: w.apps.temper.Large})
	for _, h := range w.hosts {
		h.lag = 0
	}
	for _, n := range w.Nodes {
		w.Slow(n, 0)
		w.Resume(n)
		if n.state == up && n.core != nil && n.core.Self().Draining {
			n.Update(proto.UpdateSelf{})
		}
	}
}

// Broadcasts is how many there were.
func (w *World) Broadcasts() int { return len(w.apps.casts) }

// Reached is who of some nodes has the broadcast of this number, and over how many hops it came to its last.
func (w *World) Reached(number int, some []*Node) (nodes, hops int) {
	c := w.apps.casts[number]
	for _, n := range some {
		if c.has(n) {
			nodes++
		}
	}
	return nodes, c.hops
}

// Missed says which broadcast of some nodes, from the one of this number on and before a time, did not reach all of them (P4).
func (w *World) Missed(some []*Node, from int, before time.Duration) string {
	for _, c := range w.apps.casts[from:] {
		for _, n := range some {
			if c.id.Seq != 0 && slices.Contains(some, c.by) && !c.has(n) && c.at < before {
				return fmt.Sprintf("P4: %v published at %v by %v never reached %v", c.id, c.at, c.by, n)
			}
		}
	}
	return ""
}

// Unaccounted says which broadcast a node neither had nor told as lost, though it had others around it (P4).
func (w *World) Unaccounted(some []*Node) string { return w.checks.broadcast.unaccounted(some) }
