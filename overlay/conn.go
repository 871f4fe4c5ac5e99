package overlay

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/starlingmesh/starling/overlay/keys"
	"github.com/starlingmesh/starling/overlay/link"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/wire"
)

// tcp is a connection below TLS.
type tcp struct {
	*net.TCPConn
	sock    net.Conn // TCPConn, for reading and writing
	head    []byte   // read already, to be read again
	ended   bool     // the other side ended it; touched by the reader only
	in, out *atomic.Uint64
}

func (c *tcp) Read(p []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	n, err := c.sock.Read(p)
	c.in.Add(uint64(n))
	c.ended = c.ended || errors.Is(err, io.EOF)
	return n, err //nolint:wrapcheck // a Reader's errors go through as they are
}

func (c *tcp) Write(p []byte) (int, error) {
	n, err := c.sock.Write(p)
	c.out.Add(uint64(n))
	return n, err //nolint:wrapcheck // a Writer's errors go through as they are
}

func (c *tcp) SetDeadline(at time.Time) error {
	return c.sock.SetDeadline(at) //nolint:wrapcheck // as above
}

func (c *tcp) SetWriteDeadline(at time.Time) error {
	return c.sock.SetWriteDeadline(at) //nolint:wrapcheck // as above
}

// close ends the connection; hard resets it.
func (c *tcp) close(hard bool) {
	if hard {
		_ = c.SetLinger(0)
	}
	_ = c.Close()
}

// secured is a connection after its TLS handshake.
type secured struct {
	*tls.Conn
	below *tcp
}

func (c *secured) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, io.EOF) && c.below.ended { // without a close_notify (RFC 8446, section 6.1)
		err = io.ErrUnexpectedEOF
	}
	return n, err //nolint:wrapcheck // a Reader's errors go through as they are
}

func (c *secured) Close(hard bool) { c.below.close(hard) }

// greeted is a connection whose other side has been checked.
type greeted struct {
	conn  *secured
	in    *link.Frames
	hello proto.Hello // the other side's
	id    proto.LinkID
}

// role is which side of a handshake we take.
type role struct {
	dialled bool
	kind    proto.LinkKind         // if dialled
	lane    proto.LinkID           // if dialled as a lane: our number of the link it belongs to
	admit   func(g *greeted) error // the last word, when all that can be checked has been
}

// greet performs TLS and exchanges Hellos on a fresh connection, until the
// deadline of ctx. The acceptor says its Hello last, when it has admitted the
// dialler; if it does not, it says why. After an error the connection is closed.
func (o *Overlay) greet(ctx context.Context, below *tcp, as role) (*greeted, error) {
	stop := context.AfterFunc(ctx, func() { below.close(true) })
	defer stop()
	if deadline, ok := ctx.Deadline(); ok {
		_ = below.SetDeadline(deadline)
	}
	c := &secured{below: below}
	if as.dialled {
		c.Conn = tls.Client(below, o.clientTLS)
	} else {
		c.Conn = tls.Server(below, o.serverTLS)
	}
	g := &greeted{
		conn: c, in: link.NewFrames(c), id: proto.LinkID(o.lastLink.Add(1)),
	}
	err := o.exchange(ctx, g, as)
	if !stop() && (err == nil || errors.Is(err, net.ErrClosed)) { // it was we who closed it
		err = refuse(whyTimeout, ctx.Err())
	}
	if err != nil {
		if !as.dialled {
			o.sayWhy(c, err)
		}
		below.close(false)
		return nil, err
	}
	_ = below.SetDeadline(time.Time{})
	g.in.Open()
	return g, nil
}

func (o *Overlay) exchange(ctx context.Context, g *greeted, as role) error {
	if err := g.conn.HandshakeContext(ctx); err != nil {
		return refuse(whyTLS, err)
	}
	if as.dialled {
		if err := o.sayHello(g.conn, as.kind, cmp.Or(as.lane, g.id), true); err != nil {
			return err
		}
	}
	frame, err := g.in.Next()
	if err != nil {
		return refuse(whyTLS, fmt.Errorf("wait for the hello: %w", err))
	}
	if g.hello, err = wire.ParseHello(frame); err != nil {
		return refuse(whyGarbage, err)
	}
	if err := o.check(g, as.dialled); err != nil {
		return err
	}
	if err := as.admit(g); err != nil || as.dialled {
		return err
	}
	return o.sayHello(g.conn, g.hello.Kind, g.id, false)
}

// check compares a Hello with what we stand for: the cluster before anything else.
func (o *Overlay) check(g *greeted, dialled bool) error {
	h, state := &g.hello, g.conn.ConnectionState()
	if h.Cluster != o.cfg.Cluster {
		return refuse(whyCluster, errors.New("it belongs to another cluster"))
	}
	if _, ok := wire.Version(*h, proto.Hello{VersionMin: wire.VersionMin, VersionMax: wire.VersionMax}); !ok {
		return refuse(whyVersion, fmt.Errorf("it speaks protocol versions %d to %d, we %d to %d",
			h.VersionMin, h.VersionMax, wire.VersionMin, wire.VersionMax))
	}
	if err := keys.CheckProof(&state, h.Self.ID, h.Key, h.Proof, !dialled); err != nil {
		return refuse(whyProof, err)
	}
	if h.Self.Name == "" {
		return refuse(whyGarbage, errors.New("it has no name"))
	}
	if h.Self.ID == o.me.ID {
		return refuse(whySelf, errors.New("it is this node itself"))
	}
	if err := o.keys.CheckName(state.PeerCertificates[0], h.Self.Name); err != nil {
		return refuse(whyName, err)
	}
	if o.faults.refuses(h.Self.ID, h.Self.Name) {
		return refuse(whyFault, errors.New("cut by fault injection"))
	}
	return nil
}

func (o *Overlay) sayHello(c *secured, kind proto.LinkKind, lane proto.LinkID, dialler bool) error {
	state := c.ConnectionState()
	proof, err := o.me.Proof(&state, dialler)
	if err != nil {
		return refuse(whyProof, err)
	}
	frame := wire.AppendHello(nil, proto.Hello{
		VersionMin: wire.VersionMin, VersionMax: wire.VersionMax, Kind: kind, Cluster: o.cfg.Cluster,
		Self: o.Self(), Lane: lane, Key: o.me.Public, Proof: proof,
	})
	if err := link.WriteFrame(c, frame); err != nil {
		return refuse(whyTLS, fmt.Errorf("send the hello: %w", err))
	}
	return nil
}

// sayWhy tells a dialler why it is refused, if it is a member: whoever failed
// in TLS learns nothing from us. Itself it recognises by our Hello.
func (o *Overlay) sayWhy(c *secured, err error) {
	var r *refusal
	if !errors.As(err, &r) || !c.ConnectionState().HandshakeComplete {
		return
	}
	why := wire.RefusedOther
	switch r.why {
	case whySelf:
		_ = o.sayHello(c, proto.LinkProbe, 0, false)
		_ = c.CloseWrite()
		return
	case whyCluster:
		why = wire.RefusedCluster
	case whyVersion:
		why = wire.RefusedVersion
	case whyName:
		why = wire.RefusedName
	case whyLinks:
		why = wire.RefusedBusy
	case whyTLS, whyTimeout:
		return
	default:
	}
	frame := wire.AppendRefusal(nil, wire.Refusal{
		Why: why, VersionMin: wire.VersionMin, VersionMax: wire.VersionMax, Text: r.why.String(),
	})
	_ = link.WriteFrame(c, frame)
	_ = c.CloseWrite()
}
