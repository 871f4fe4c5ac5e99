package hyparview

import (
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

func (w *world) dial(from *node, d proto.Dial) {
	answer := func(after time.Duration, why proto.DialWhy, who peer.ID) {
		w.at(after, func() {
			from.step(func(out *proto.Out) {
				from.DialFailed(w.now, proto.DialFailed{Tag: d.Tag, Why: why, Addr: d.Addrs[0], Peer: who}, out)
			})
		})
	}
	to := w.byAddr[d.Addrs[0]]
	switch {
	case to == nil:
		answer(d.Timeout, proto.DialTimeout, peer.ID{})
	case to == from:
		answer(w.delay(), proto.DialSelf, peer.ID{})
	case to.dead:
		answer(2*w.delay(), proto.DialRefused, peer.ID{})
	case !d.Expect.IsZero() && d.Expect != to.info.ID:
		answer(2*w.delay(), proto.DialOtherNode, to.info.ID)
	default:
		a, b := w.connect(from, to)
		w.linkUp(a, 2*w.delay(), proto.LinkUp{Peer: to.info, Kind: d.Kind, Dialed: true, Tag: d.Tag, Addr: d.Addrs[0]})
		w.linkUp(b, 2*w.delay(), proto.LinkUp{Peer: from.info, Kind: d.Kind, Addr: from.info.Addrs[0]})
		w.trace("%v node%d dials node%d: links %d %d", w.now.Sub(time.Unix(1_000_000, 0)), from.i, to.i, a.id, b.id)
	}
}

func (w *world) connect(a, b *node) (*end, *end) {
	x := &end{id: w.linkID + 1, node: a}
	y := &end{id: w.linkID + 2, node: b, other: x}
	x.other = y
	w.linkID += 2
	w.ends[x.id], w.ends[y.id] = x, y
	return x, y
}

func (w *world) linkUp(e *end, after time.Duration, up proto.LinkUp) {
	up.Link = e.id
	e.last = w.now.Add(after)
	w.at(after, func() {
		e.up = true
		e.node.step(func(out *proto.Out) { e.node.LinkUp(w.now, up, out) })
	})
}

// in gives the delay after which something arrives at this end, in order.
func (w *world) in(e *end) time.Duration {
	at := w.now.Add(w.delay())
	if at.Before(e.last) {
		at = e.last
	}
	e.last = at
	return at.Sub(w.now)
}

func (w *world) send(e *end, msg proto.Message) {
	if !e.up || e.hungUp || e.cut {
		return
	}
	w.messages++
	to := e.other
	w.at(w.in(to), func() {
		if to.up && !to.cut {
			to.node.step(func(out *proto.Out) {
				l := to.node.find(to.id)
				idle := l != nil && l.state == stateIdle
				to.node.Receive(w.now, to.id, e.node.info.ID, msg, out)
				if idle && isRequest(msg) && !answers(out, to.id) {
					w.t.Fatalf("node %d did not answer %T", to.node.i, msg)
				}
			})
		}
	})
}

func isRequest(msg proto.Message) bool {
	switch msg.(type) {
	case proto.Join, proto.Neighbor:
		return true
	}
	return false
}

// answers tells whether there is exactly one answer to a request on this link.
func answers(out *proto.Out, id proto.LinkID) bool {
	n := 0
	for _, o := range out.List {
		if s, ok := o.(proto.Send); ok && s.Link == id {
			switch s.Msg.(type) {
			case proto.Accept, proto.Refuse:
				n++
			}
		}
	}
	return n == 1
}

func (w *world) sendTo(from *node, o proto.SendTo) {
	to := w.byAddr[o.Peer.Addrs[0]]
	w.at(2*w.delay(), func() {
		if to == nil || to.dead || to.info.ID != o.Peer.ID {
			from.step(func(out *proto.Out) { from.SendFailed(w.now, o.Peer.ID, o.Msg, out) })
			return
		}
		w.messages++
		to.step(func(out *proto.Out) { to.Receive(w.now, 0, from.info.ID, o.Msg, out) })
	})
}

func (w *world) hangup(e *end, flush bool) {
	if e.hungUp || !e.up {
		return
	}
	e.hungUp = true
	if !flush && w.rng.IntN(2) == 0 {
		e.other.cut = true // a reset overtakes what was sent
	}
	w.down(e, w.rngUpTo(time.Millisecond), proto.DownHungUp)
	w.down(e.other, w.in(e.other), proto.DownClosed)
}

// break loses a connection: what is under way is lost, and the ends notice at different times.
func (w *world) lose(e *end, notice time.Duration) {
	e.cut, e.other.cut = true, true
	w.down(e, w.rngUpTo(notice), proto.DownReset)
	w.down(e.other, w.rngUpTo(notice), proto.DownReset)
}

func (w *world) down(e *end, after time.Duration, why proto.DownWhy) {
	if at := w.now.Add(after); at.Before(e.last) && !e.up {
		after = e.last.Sub(w.now) // LinkUp comes first
	}
	w.at(after, func() {
		if !e.up {
			return
		}
		e.up = false
		delete(w.ends, e.id)
		e.node.step(func(out *proto.Out) { e.node.LinkDown(w.now, proto.LinkDown{Link: e.id, Why: why}, out) })
	})
}

func (w *world) rngUpTo(d time.Duration) time.Duration {
	return time.Duration(w.rng.Int64N(int64(d))) + 1
}

// crash ends a node without a word.
func (w *world) crash(n *node) {
	n.dead = true
	for _, e := range w.endsOf(n) {
		w.lose(e, 50*time.Millisecond)
	}
}

func (w *world) endsOf(n *node) []*end {
	var ends []*end
	for id := proto.LinkID(1); id <= w.linkID; id++ {
		if e := w.ends[id]; e != nil && e.node == n {
			ends = append(ends, e)
		}
	}
	return ends
}

// cutLink loses the active link between two nodes.
func (w *world) cutLink(a, b *node, notice time.Duration) {
	id, ok := a.Link(b.info.ID)
	if !ok {
		w.t.Fatalf("no link between %d and %d", a.i, b.i)
	}
	w.lose(w.ends[id], notice)
}
