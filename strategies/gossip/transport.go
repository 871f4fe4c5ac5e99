package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	streamsMax    = 128 // from others at once; each may send a whole state
	dialMax       = 5 * time.Second
	packetMax     = 1 << 16
	bindTries     = 10 // with port 0: TCP's free port may be taken for UDP
	acceptWaitMax = time.Second
)

// transport carries what memberlist sends. Memberlist's own would do, but it
// takes a fresh 64 KB for each packet, knows one family unless told otherwise,
// and leaves connections and dials behind when it is shut down.
type transport struct {
	ctx    context.Context // ends with Shutdown
	cancel context.CancelFunc

	tcp     net.Listener
	udp     *net.UDPConn
	own     netip.AddrPort // what others are told
	packets chan *memberlist.Packet
	streams chan net.Conn
	running sync.WaitGroup

	mu     sync.Mutex // guards the rest
	open   map[*stream]struct{}
	fromUs int // of those open, the ones we dialled
}

// listen takes the port. advertise tells what others should be told of it.
func listen(ctx context.Context, bind netip.AddrPort, advertise func(port uint16) (netip.AddrPort, error)) (*transport, error) {
	t := &transport{
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), open: map[*stream]struct{}{},
	}
	host := bind.Addr().String()
	if bind.Addr() == netip.IPv6Unspecified() {
		host = "" // what the machine has, also without IPv6
	}
	var err error
	for range bindTries {
		if err = t.bind(ctx, host, int(bind.Port())); err == nil || bind.Port() != 0 {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	if t.own, err = advertise(t.port()); err != nil {
		return nil, errors.Join(err, t.tcp.Close(), t.udp.Close())
	}
	t.ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx)) // leaving needs it after ctx has ended
	t.running.Go(t.accept)
	t.running.Go(t.read)
	return t, nil
}

func (t *transport) bind(ctx context.Context, host string, port int) error {
	var lc net.ListenConfig
	tcp, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, fmt.Sprint(port)))
	if err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	addr, ok := tcp.Addr().(*net.TCPAddr)
	if !ok {
		panic("gossip: a TCP listener without a TCP address")
	}
	udp, err := lc.ListenPacket(ctx, "udp", net.JoinHostPort(host, fmt.Sprint(addr.Port)))
	if err != nil {
		return errors.Join(fmt.Errorf("bind: %w", err), tcp.Close())
	}
	conn, ok := udp.(*net.UDPConn)
	if !ok {
		panic("gossip: a UDP socket that is none")
	}
	_ = conn.SetReadBuffer(2 << 20) // as much as the system grants
	t.tcp, t.udp = tcp, conn
	return nil
}

func (t *transport) port() uint16 {
	ap, err := netip.ParseAddrPort(t.udp.LocalAddr().String())
	if err != nil {
		panic(err)
	}
	return ap.Port()
}

func (t *transport) accept() {
	wait := 5 * time.Millisecond
	for {
		conn, err := t.tcp.Accept()
		if err != nil {
			// Out of descriptors, or closed.
			select {
			case <-t.ctx.Done():
				return
			case <-time.After(wait):
				wait = min(2*wait, acceptWaitMax)
				continue
			}
		}
		wait = 5 * time.Millisecond
		s := t.track(conn, false)
		if s == nil {
			continue
		}
		select {
		case t.streams <- s:
		case <-t.ctx.Done():
			return
		}
	}
}

func (t *transport) read() {
	buf := make([]byte, packetMax)
	for {
		n, from, err := t.udp.ReadFromUDPAddrPort(buf)
		if t.ctx.Err() != nil {
			return
		}
		if err != nil || n == 0 {
			continue // an ICMP error of a packet that we sent
		}
		p := &memberlist.Packet{Buf: append([]byte(nil), buf[:n]...), From: net.UDPAddrFromAddrPort(from), Timestamp: time.Now()}
		select {
		case t.packets <- p:
		case <-t.ctx.Done():
			return
		}
	}
}

// stream is a connection that Shutdown closes if nobody else has.
type stream struct {
	net.Conn
	t      *transport
	dialed bool
}

// track returns nil, and closes conn, when there are too many or it is too late.
func (t *transport) track(conn net.Conn, dialed bool) *stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil || !dialed && len(t.open)-t.fromUs >= streamsMax {
		_ = conn.Close() // nothing was said on it
		return nil
	}
	s := &stream{Conn: conn, t: t, dialed: dialed}
	t.open[s] = struct{}{}
	if dialed {
		t.fromUs++
	}
	return s
}

// Close closes the connection.
func (s *stream) Close() error {
	s.t.mu.Lock()
	if _, is := s.t.open[s]; is && s.dialed {
		s.t.fromUs--
	}
	delete(s.t.open, s)
	s.t.mu.Unlock()
	return s.Conn.Close()
}

// FinalAdvertiseAddr is where others reach us; it was decided before.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.own.Addr().AsSlice(), int(t.own.Port()), nil
}

// WriteTo sends a packet.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, err
	}
	_, err = t.udp.WriteToUDPAddrPort(b, to)
	return time.Now(), err
}

// WriteToAddress sends a packet.
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, a.Addr)
}

// PacketCh has the packets of others.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// DialTimeout connects to another.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: min(timeout, dialMax)}
	conn, err := d.DialContext(t.ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	s := t.track(conn, true)
	if s == nil {
		return nil, net.ErrClosed
	}
	return s, nil
}

// DialAddressTimeout connects to another.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}

// StreamCh has the connections of others.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// Shutdown closes everything and returns when nothing of it runs.
func (t *transport) Shutdown() error {
	t.cancel()
	err := errors.Join(t.tcp.Close(), t.udp.Close())
	t.mu.Lock()
	open := make([]*stream, 0, len(t.open))
	for s := range t.open {
		open = append(open, s)
	}
	t.mu.Unlock()
	for _, s := range open {
		_ = s.Close() // whoever uses it hears of it
	}
	t.running.Wait()
	return err
}
