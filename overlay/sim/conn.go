package sim

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// conn is one TCP connection with its handshake done, at one end at least.
type conn struct {
	kind proto.LinkKind
	ends [2]end // 0 dialled it, 1 accepted
	torn bool   // broken in the middle: nothing passes any more, whoever knows it
	lag  time.Duration
	// stalled: nothing passes before this, and nothing is lost.
	stalled time.Duration
}

// end is one side of a connection: a socket of a process.
type end struct {
	node    *Node
	id      proto.LinkID
	arrival time.Duration // of the last frame on its way to this end: they stay in order
	held    *[]frame      // sent here; the path does not carry them now; nil: none
	unacked uint64        // which wait for an acknowledgement runs; 0: none
	state   endState
}

type frame struct {
	msg  proto.Message
	size int
	bye  proto.DownWhy // instead of a message: this side closed
}

type endState uint8

const (
	endNew     endState = iota // in the handshake
	endUp                      // its LinkUp is given
	endClosing                 // hung up, and flushing
	endGone                    // no socket any more
)

// userTimeout is how long data may stay without acknowledgement (TCP_USER_TIMEOUT),
// flushMost how long a flush may take.
const (
	userTimeout = 3 * time.Second
	flushMost   = time.Second
)

// find returns a node's connection by its number.
func (n *Node) find(id proto.LinkID) (*conn, int) {
	for _, l := range slices.Backward(n.links) {
		if l.id == id {
			return l.conn, l.side
		}
	}
	return nil, 0
}

// send puts a node's message on its way.
func (w *World) send(n *Node, id proto.LinkID, m proto.Message) {
	msg, size := w.encode(m)
	if n.Tap != nil {
		n.Tap(m)
	}
	c, side := n.find(id)
	if c == nil || c.ends[side].state != endUp {
		return // its LinkDown is on the way
	}
	w.transmit(c, side, frame{msg: msg, size: size})
}

// transmit carries a frame, or keeps it while the path does not.
func (w *World) transmit(c *conn, side int, f frame) {
	me, other := &c.ends[side], &c.ends[1-side]
	switch {
	case c.torn:
		w.Report.Lost++
	case me.held != nil || w.cut(me.node, other.node) || c.stalled > w.now:
		if me.held == nil {
			me.held = new([]frame)
		}
		*me.held = append(*me.held, f)
		if c.stalled <= w.now {
			w.awaitAck(c, side)
		}
	default:
		w.launch(c, side, f, 0)
		if w.cut(other.node, me.node) {
			w.awaitAck(c, side)
		}
	}
}

// launch schedules a frame's arrival at the other end, behind all before it.
func (w *World) launch(c *conn, side int, f frame, extra time.Duration) {
	me, other := &c.ends[side], &c.ends[1-side]
	at := max(w.now+w.latency(me.node, other.node)+c.lag+extra, other.arrival+1)
	other.arrival = at
	if f.bye != 0 {
		w.at(at, func() { w.closed(c, 1-side, f.bye) })
		return
	}
	w.schedule(event{at: at, kind: eventFrame, side: uint8(1 - side), n: uint64(f.size), conn: c, node: other.node, msg: f.msg})
}

// arrive is a frame at the kernel of its receiver.
func (w *World) arrive(e *event) {
	c := e.conn
	me, other := &c.ends[e.side], &c.ends[1-e.side]
	switch {
	case c.torn:
		w.Report.Lost++
	case e.node.vanished:
		w.awaitAck(c, int(1-e.side))
	case me.state == endUp || me.state == endClosing:
		e.node.give(proto.Received{Link: me.id, Msg: e.msg, Size: int(e.n)})
	case other.state == endUp: // nobody has this socket any more
		w.Report.Lost++
		w.answerReset(c, int(1-e.side))
	}
}

// answerReset tells a sender that the other side has no such connection.
func (w *World) answerReset(c *conn, to int) {
	me, other := c.ends[to].node, c.ends[1-to].node
	if w.cut(other, me) || other.vanished {
		w.awaitAck(c, to)
		return
	}
	w.after(w.latency(other, me), func() { w.down(c, to, proto.DownReset) })
}

// awaitAck lets an end fail when nothing was acknowledged for userTimeout.
func (w *World) awaitAck(c *conn, side int) {
	e := &c.ends[side]
	if e.unacked != 0 {
		return
	}
	w.seq++
	run := w.seq
	e.unacked = run
	w.after(userTimeout+w.between(0, userTimeout/4), func() {
		if e.unacked != run {
			return
		}
		w.Report.Faults["unacknowledged"]++
		if w.chance(0.5) {
			w.down(c, side, proto.DownReset)
		} else {
			w.down(c, side, proto.DownStalled)
		}
	})
}

// closed is the other side's goodbye, or its reset, at the kernel of this end.
func (w *World) closed(c *conn, side int, why proto.DownWhy) {
	me := &c.ends[side]
	if c.torn || me.node.vanished {
		return
	}
	if why == proto.DownClosed && me.state == endClosing {
		w.down(c, side, proto.DownHungUp)
		return
	}
	w.down(c, side, why)
	if why == proto.DownClosed && c.ends[1-side].state == endClosing {
		if me.node.state == paused { // nobody there says goodbye
			return
		}
		w.transmit(c, side, frame{bye: proto.DownClosed})
	}
}

// hangup closes one end, as the runtime does: with a flush it lasts until the
// other side has said goodbye too, without it the other side sees a reset.
func (w *World) hangup(n *Node, id proto.LinkID, flush bool) {
	c, side := n.find(id)
	if c == nil || c.ends[side].state != endUp {
		return
	}
	c.ends[side].state = endClosing
	if flush {
		w.transmit(c, side, frame{bye: proto.DownClosed})
		w.after(flushMost, func() { w.down(c, side, proto.DownHungUp) })
		return
	}
	if w.chance(0.3) { // what is on its way is lost
		w.tear(c, side)
		w.after(w.latency(n, c.ends[1-side].node)+c.lag, func() {
			if !w.cut(n, c.ends[1-side].node) {
				w.down(c, 1-side, proto.DownReset)
			}
		})
	} else {
		w.transmit(c, side, frame{bye: proto.DownReset})
	}
	w.after(time.Microsecond, func() { w.down(c, side, proto.DownHungUp) })
}

// tear makes a connection useless; the end that did it need not be told.
func (w *World) tear(c *conn, by int) {
	c.torn = true
	other := &c.ends[1-by]
	w.after(userTimeout+w.between(0, userTimeout), func() { // if nothing else tells it
		if other.state == endUp {
			w.down(c, 1-by, proto.DownReset)
		}
	})
}

// down ends a socket and tells its process, once.
func (w *World) down(c *conn, side int, why proto.DownWhy) {
	e := &c.ends[side]
	if e.state == endGone || e.state == endNew {
		return
	}
	if e.state == endClosing {
		why = proto.DownHungUp
	}
	e.state, e.unacked, e.held = endGone, 0, nil
	e.node.drop(e.id)
	w.Report.Downs[why.String()]++
	e.node.give(proto.LinkDown{Link: e.id, Why: why})
}

// release sends what was held when a path or a stall is over.
func (w *World) release(c *conn, extra time.Duration) {
	for side := range c.ends {
		e := &c.ends[side]
		if c.torn || c.stalled > w.now || w.cut(e.node, c.ends[1-side].node) {
			continue
		}
		if !w.cut(c.ends[1-side].node, e.node) {
			e.unacked = 0
		}
		if e.held == nil {
			continue
		}
		held := *e.held
		e.held = nil
		for _, f := range held {
			w.launch(c, side, f, extra)
		}
	}
}

// sweepConns forgets those that nobody has any more.
func (w *World) sweepConns() {
	rest := w.conns[:0]
	for _, c := range w.conns {
		if c.ends[0].state != endGone || c.ends[1].state != endGone && c.ends[1].state != endNew {
			rest = append(rest, c)
		}
	}
	clear(w.conns[len(rest):])
	w.conns = rest
}
