package overlay

import (
	"container/list"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/starlingmesh/starling/overlay/link"
	"github.com/starlingmesh/starling/overlay/proto"
)

// gate bounds the connections that have not been admitted. One that says
// nothing makes room for the next: whoever floods us with silence keeps
// nobody out who speaks.
type gate struct {
	max int

	mu     sync.Mutex // guards the rest
	open   int
	silent list.List // of *visitor, the oldest first
}

// visitor is a connection between accept and admission.
type visitor struct {
	conn   *tcp
	silent *list.Element // nil when it has spoken, or was shown out
	out    bool          // shown out: its place is taken
}

// enter gives a connection a place, and shows the oldest silent one out for it
// if need be. It reports false when everybody inside is speaking.
func (g *gate) enter(c *tcp) (*visitor, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open >= g.max {
		first := g.silent.Front()
		if first == nil {
			return nil, false
		}
		v, _ := g.silent.Remove(first).(*visitor)
		v.silent, v.out = nil, true
		v.conn.close(true)
		g.open--
	}
	g.open++
	v := &visitor{conn: c}
	v.silent = g.silent.PushBack(v)
	return v, true
}

// speaks tells that the visitor has begun a handshake; false if it was shown out.
func (g *gate) speaks(v *visitor) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v.silent != nil {
		g.silent.Remove(v.silent)
		v.silent = nil
	}
	return !v.out
}

func (g *gate) leave(v *visitor) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v.silent != nil {
		g.silent.Remove(v.silent)
	}
	if !v.out {
		g.open--
	}
}

// close shows everybody out who has not spoken.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for e := g.silent.Front(); e != nil; e = e.Next() {
		if v, ok := e.Value.(*visitor); ok {
			v.conn.close(true)
		}
	}
}

// count is how many are inside.
func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}

const (
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = time.Second
)

// accept takes connections until the listener is closed. Without descriptors
// it waits, longer each time, instead of spinning.
func (o *Overlay) accept(ctx context.Context) {
	pause := acceptPauseMin
	for {
		c, err := o.listener.AcceptTCP()
		switch {
		case err == nil:
			pause = acceptPauseMin
			o.receive(ctx, o.below(c))
		case errors.Is(err, net.ErrClosed):
			return
		default:
			o.acceptErrors.Add(1)
			if pause == acceptPauseMin {
				o.log.Warn("cannot accept connections; trying again", "err", err)
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			pause = min(2*pause, acceptPauseMax)
		}
	}
}

// receive starts the handshake of an accepted connection, or refuses it.
func (o *Overlay) receive(ctx context.Context, c *tcp) {
	v, ok := o.gate.enter(c)
	if !ok {
		o.refused(c, refuse(whyBusy, errors.New("too many handshakes at once")))
		c.close(true)
		return
	}
	o.wg.Go(func() {
		defer o.gate.leave(v)
		if err := o.welcome(ctx, v); err != nil {
			o.refused(c, err)
		}
	})
}

// welcome takes a visitor from its first byte to a link. Nothing but a
// goroutine is spent on it until it has begun a TLS handshake.
func (o *Overlay) welcome(ctx context.Context, v *visitor) error {
	deadline := time.Now().Add(o.cfg.Limits.Handshake)
	head, err := firstBytes(v.conn, deadline)
	if !o.gate.speaks(v) {
		return refuse(whySilent, errors.New("it said nothing while others waited"))
	}
	if err != nil {
		v.conn.close(true)
		return err
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	v.conn.head = head
	if err := tune(v.conn.TCPConn, o.cfg.Limits.Unacked, o.cfg.Limits.NotSent); err != nil {
		v.conn.close(true)
		return refuse(whyClosed, err)
	}
	var l *link.Link
	addr := v.conn.RemoteAddr().String()
	g, err := o.greet(ctx, v.conn, role{admit: func(g *greeted) (err error) {
		l, err = o.admit(g, addr)
		return err
	}})
	if err != nil {
		if l != nil {
			o.table.remove(l)
		}
		return err
	}
	if g.hello.Kind == proto.LinkLane {
		return o.welcomeLane(g)
	}
	o.linkUp(l, g, proto.LinkUp{})
	return nil
}

// tlsHead is how many bytes tell whether a connection begins with TLS: the
// head of a record (RFC 8446, section 5.1).
const tlsHead = 5

func firstBytes(c *tcp, deadline time.Time) ([]byte, error) {
	_ = c.SetReadDeadline(deadline)
	head := make([]byte, tlsHead)
	n, err := io.ReadFull(c, head)
	switch {
	case n == 0 && errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &refusal{why: whySilent, err: errors.New("it said nothing in time")}
	case n == 0 && err != nil:
		return nil, &refusal{why: whyClosed, err: err}
	case head[0] != 0x16 || n > 1 && head[1] != 3: // not a handshake of TLS
		return nil, refuse(whyPlaintext, errors.New("it does not begin with a TLS handshake"))
	case err != nil:
		return nil, refuse(whyTimeout, err)
	}
	return head, nil
}

// admit has the last word on a dialler: is there room for its link?
func (o *Overlay) admit(g *greeted, addr string) (*link.Link, error) {
	if g.hello.Kind == proto.LinkLane {
		if o.table.laneOf(g.hello.Self.ID, g.hello.Lane) == nil {
			return nil, refuse(whyLane, errors.New("no link that this lane belongs to"))
		}
		return nil, nil //nolint:nilnil // a lane is no link of its own
	}
	l := o.newLink(g, addr)
	if !o.table.add(l) {
		return nil, refuse(whyLinks, errors.New("too many links"))
	}
	return l, nil
}

func (o *Overlay) welcomeLane(g *greeted) error {
	l := o.table.laneOf(g.hello.Self.ID, g.hello.Lane)
	if l == nil || !l.AddLane(g.conn, g.in) {
		g.conn.Close(true)
		return refuse(whyLane, errors.New("its link is gone, or has lanes enough"))
	}
	return nil
}

// refused counts a refusal and logs it if it is news.
func (o *Overlay) refused(c *tcp, err error) {
	var r *refusal
	if !errors.As(err, &r) {
		r = &refusal{why: whyTLS, err: err}
	}
	if o.refusals.add(r.why) {
		o.log.Warn("connection refused", "addr", c.RemoteAddr().String(), "why", r.why.String(), "err", r.err)
	}
}
