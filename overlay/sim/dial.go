package sim

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// dialing is one Dial under way.
type dialing struct {
	node   *Node
	out    proto.Dial
	until  time.Duration
	failed proto.DialFailed
}

// dial carries out one Dial: the addresses in turn, each with its share of the time.
func (w *World) dial(n *Node, out proto.Dial) {
	d := &dialing{node: n, out: out, until: w.now + out.Timeout, failed: proto.DialFailed{Tag: out.Tag, Why: proto.DialNoAddress}}
	w.after(time.Microsecond, func() { w.tryAddr(d, 0) })
}

// tryAddr dials the i-th address.
func (w *World) tryAddr(d *dialing, i int) {
	if d.node.state == dead {
		return
	}
	if i >= len(d.out.Addrs) || w.now >= d.until {
		w.dialOver(d)
		return
	}
	addr := d.out.Addrs[i]
	share := (d.until - w.now) / time.Duration(len(d.out.Addrs)-i)
	fail := func(after time.Duration, why proto.DialWhy, who peer.ID) {
		if after > share {
			after, why, who = share, proto.DialTimeout, peer.ID{}
		}
		w.after(after, func() {
			d.weaker(proto.DialFailed{Tag: d.out.Tag, Why: why, Addr: addr, Peer: who})
			w.tryAddr(d, i+1)
		})
	}
	h := w.hostOf[addr]
	if why := w.dialFault(d.node, h); why != 0 {
		fail(w.between(0, 3*w.cfg.Latency+time.Millisecond), why, peer.ID{})
		return
	}
	if h == nil || w.cutHosts(d.node.host, h) || w.cutHosts(h, d.node.host) || h.dark {
		fail(share, proto.DialTimeout, peer.ID{})
		return
	}
	n := h.node
	rtt := w.latency(d.node, n) + w.latencyHosts(h, d.node.host)
	switch {
	case n == nil || n.state == dead:
		fail(rtt, proto.DialRefused, peer.ID{})
	case n.state == paused: // the kernel accepts, and nobody shakes hands
		fail(share, proto.DialTimeout, peer.ID{})
	case n == d.node:
		fail(rtt, proto.DialSelf, peer.ID{})
	case !d.out.Expect.IsZero() && n.ID != d.out.Expect:
		fail(2*rtt, proto.DialOtherNode, n.ID)
	case 2*rtt+w.busy(n) > share:
		fail(share, proto.DialTimeout, peer.ID{})
	default:
		w.shake(d, n, rtt, func(why proto.DialWhy) { fail(0, why, peer.ID{}) })
	}
}

// shake is the handshake: the acceptor is up first, for it says its Hello last.
func (w *World) shake(d *dialing, n *Node, rtt time.Duration, fail func(proto.DialWhy)) {
	c := &conn{kind: d.out.Kind, lag: w.linkLag(d.node, n)}
	c.ends[0], c.ends[1] = end{node: d.node}, end{node: n}
	accepted := w.now + rtt*3/2 + w.busy(n)
	dialled := accepted + rtt/2
	c.ends[0].arrival, c.ends[1].arrival = dialled, accepted
	w.Report.Dials[d.out.Kind.String()]++
	if crossing(c) {
		w.Report.Faults["dialled from both ends"]++
	}
	w.conns = append(w.conns, c)
	d.node.shaking = append(d.node.shaking, c)
	hello := d.node.info()
	w.at(accepted, func() {
		if n.state != up || w.cut(d.node, n) || d.node.state == dead {
			c.torn = true
			return
		}
		w.linkUp(c, 1, proto.LinkUp{Peer: hello, Kind: c.kind, Addr: d.node.host.addr})
	})
	w.at(dialled, func() {
		d.node.shaking = slices.DeleteFunc(d.node.shaking, func(o *conn) bool { return o == c })
		switch {
		case d.node.state == dead: // the acceptor was told by its kernel
		case c.torn || c.ends[1].state != endUp || w.cut(n, d.node) || d.node.state == paused:
			c.ends[0].state = endGone
			c.torn = true
			if c.ends[1].state == endUp {
				w.after(w.between(rtt/2, time.Second), func() { w.down(c, 1, proto.DownReset) })
			}
			if c.ends[1].state == endGone && n.state == up {
				fail(proto.DialNetwork)
			} else {
				w.at(max(w.now, d.until), func() { fail(proto.DialTimeout) })
			}
		default:
			w.linkUp(c, 0, proto.LinkUp{
				Peer: n.info(), Kind: c.kind, Dialed: true, Tag: d.out.Tag, Addr: n.host.addr,
			})
		}
	})
}

// crossing tells whether the other side is dialling this one as well.
func crossing(c *conn) bool {
	return slices.ContainsFunc(c.ends[1].node.shaking, func(o *conn) bool { return o.kind == c.kind && o.ends[1].node == c.ends[0].node })
}

// linkUp gives an end its number and its process the news.
func (w *World) linkUp(c *conn, side int, up proto.LinkUp) {
	e := &c.ends[side]
	e.node.lastLink++
	e.id = e.node.lastLink
	e.state = endUp
	e.node.links = append(e.node.links, linkRef{e.id, c, side})
	up.Link, up.At = e.id, e.node.clock()
	e.node.give(up)
}

// weaker merges what became of several addresses: one that merely stays silent
// takes the hard evidence away.
func (d *dialing) weaker(f proto.DialFailed) {
	hard := func(w proto.DialWhy) bool { return w == proto.DialRefused || w == proto.DialOtherNode }
	if d.failed.Why != proto.DialNoAddress && !hard(d.failed.Why) && hard(f.Why) {
		d.failed.Addr = f.Addr
		return
	}
	d.failed = f
}

// dialOver tells a process that its Dial came to nothing.
func (w *World) dialOver(d *dialing) {
	w.Report.Dials["failed: "+d.failed.Why.String()]++
	d.node.give(d.failed)
}
