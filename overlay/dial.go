package overlay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/starlingmesh/starling/overlay/link"
	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/sock"
)

// dial carries out one Dial and answers it exactly once.
func (o *Overlay) dial(d proto.Dial) {
	select {
	case o.dialling <- struct{}{}:
	default:
		o.dialFailed(proto.DialFailed{Tag: d.Tag, Why: proto.DialLocal})
		return
	}
	o.wg.Go(func() {
		defer func() { <-o.dialling }()
		ctx, cancel := context.WithTimeout(o.running, d.Timeout)
		defer cancel()
		failed := proto.DialFailed{Tag: d.Tag, Why: proto.DialNoAddress}
		for i, addr := range d.Addrs {
			err := o.dialOne(ctx, &d, addr, len(d.Addrs)-i)
			if err == nil {
				return
			}
			why, who := dialWhy(err)
			if o.running.Err() != nil {
				why = proto.DialLocal
			}
			failed = weaker(failed, proto.DialFailed{Tag: d.Tag, Why: why, Addr: addr, Peer: who})
			o.dialsSaid.log(o.log, &d, addr, why, err, len(o.table.all()) == 0)
			if ctx.Err() != nil {
				break
			}
		}
		o.dialFailed(failed)
	})
}

// weaker merges what became of two addresses of one node. Refused and
// other_node are hard evidence that it is gone; one address that merely stays
// silent takes that away.
func weaker(a, b proto.DialFailed) proto.DialFailed {
	hard := func(w proto.DialWhy) bool { return w == proto.DialRefused || w == proto.DialOtherNode }
	if a.Why != proto.DialNoAddress && !hard(a.Why) && hard(b.Why) {
		a.Addr = b.Addr
		return a
	}
	return b
}

func (o *Overlay) dialFailed(f proto.DialFailed) {
	o.dials.add(DialCount{proto.DialOwner(f.Tag).String(), f.Why.String()})
	o.inbox.post(f)
}

// dialOne tries one address, with its share of the time that is left.
func (o *Overlay) dialOne(ctx context.Context, d *proto.Dial, addr string, left int) error {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	if !d.Expect.IsZero() && o.faults.refuses(d.Expect, "") {
		return refuse(whyFault, errors.New("cut by fault injection"))
	}
	var l *link.Link
	g, err := o.connect(ctx, addr, role{dialled: true, kind: d.Kind, admit: func(g *greeted) error {
		if err := meant(g, d.Expect); err != nil {
			return err
		}
		g.hello.Kind = d.Kind
		if l = o.newLink(g, addr); !o.table.add(l) {
			l = nil
			return refuse(whyLinks, errors.New("too many links of our own"))
		}
		return nil
	}})
	if err != nil {
		if l != nil {
			o.table.remove(l)
		}
		return err
	}
	o.dials.add(DialCount{d.Owner.String(), "up"})
	o.linkUp(l, g, proto.LinkUp{Dialed: true, Tag: d.Tag})
	return nil
}

// connect opens a connection to an address and greets whoever is there.
func (o *Overlay) connect(ctx context.Context, addr string, as role) (*greeted, error) {
	dialer := net.Dialer{KeepAliveConfig: keepAlive}
	c, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	below := o.below(c)
	if err := tune(below.TCPConn, o.cfg.Limits.Unacked, o.cfg.Limits.NotSent); err != nil {
		below.close(true)
		return nil, err
	}
	return o.greet(ctx, below, as)
}

// keepAlive finds broken connections over which nothing is sent.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: time.Second, Count: 3}

// below makes the lower half of a connection.
func (o *Overlay) below(c net.Conn) *tcp {
	t, ok := c.(*net.TCPConn)
	if !ok {
		panic("overlay: a connection that is not TCP")
	}
	return &tcp{TCPConn: t, sock: sock.New(t), in: &o.bytesIn, out: &o.bytesOut}
}

// OpenLane opens a lane beside a link, to any address of its peer; for link.Host.
func (h host) OpenLane(l *link.Link) (link.Conn, *link.Frames, error) {
	ctx, cancel := context.WithTimeout(h.o.running, laneTimeout)
	defer cancel()
	err := errors.New("the peer has no address")
	for _, addr := range l.Peer.Addrs {
		var g *greeted
		g, err = h.o.connect(ctx, addr, role{dialled: true, kind: proto.LinkLane, lane: l.ID, admit: func(g *greeted) error {
			return meant(g, l.Peer.ID)
		}})
		if err == nil {
			return g.conn, g.in, nil
		}
	}
	return nil, nil, err
}

// laneTimeout is how long the first bulk frame of a link waits for its lane.
const laneTimeout = time.Second

// meant refuses whoever answers in place of the node that was dialled.
func meant(g *greeted, want peer.ID) error {
	if got := g.hello.Self.ID; !want.IsZero() && got != want {
		return &refusal{why: whyExpect, id: got, err: fmt.Errorf("%s answered, %s was meant", got.Short(), want.Short())}
	}
	return nil
}
