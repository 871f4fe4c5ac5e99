package announce

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	xipv4 "golang.org/x/net/ipv4"
	xipv6 "golang.org/x/net/ipv6"

	"github.com/starlingmesh/starling/discovery"
)

// air is what announcements travel through.
type air interface {
	// send sends to all interfaces; it fails if none took the packet.
	send(packet []byte) error
	// packets are what arrives, from all interfaces. It is never closed.
	packets() <-chan datagram
	// rescan looks which interfaces there are. It fails if none can be used.
	rescan() error
	// close returns when nothing of it runs.
	close()
}

type datagram struct {
	data []byte
	from netip.AddrPort
}

// inbox is how many packets may wait for the loop; more are lost, as packets are.
const inbox = 256

// sockets are real ones, one a family.
type sockets struct {
	cfg Config
	v4  *xipv4.PacketConn // nil: not this family
	v6  *xipv6.PacketConn
	in  chan datagram

	stop    context.CancelFunc
	done    <-chan struct{}
	running sync.WaitGroup

	ifaces []iface                      // owned by the loop
	chosen atomic.Pointer[map[int]bool] // for the readers: indices of ifaces
	joined map[string]bool              // owned by the loop: "eth0 4 239.255.78.27"
}

type iface struct {
	net.Interface
	has4, has6 bool
}

func openSockets(ctx context.Context, cfg Config) (air, error) {
	s := &sockets{cfg: cfg, in: make(chan datagram, inbox), joined: map[string]bool{}}
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.stop, s.done = cancel, inner.Done()
	err4, err6 := s.open4(ctx), s.open6(ctx)
	if s.v4 == nil && s.v6 == nil {
		cancel()
		return nil, errors.Join(err4, err6)
	}
	if s.v4 != nil {
		s.running.Go(s.read4)
	}
	if s.v6 != nil { // a machine without IPv6 does with the other
		s.running.Go(s.read6)
	}
	return s, nil
}

func (s *sockets) listen(ctx context.Context, network string) (net.PacketConn, error) {
	lc := net.ListenConfig{Control: reuse}
	c, err := lc.ListenPacket(ctx, network, fmt.Sprintf(":%d", s.cfg.Port))
	if err != nil {
		return nil, fmt.Errorf("announce: %w", err)
	}
	return c, nil
}

func (s *sockets) open4(ctx context.Context) error {
	if s.cfg.Family == ipv6 {
		return nil
	}
	c, err := s.listen(ctx, "udp4")
	if err != nil {
		return err
	}
	p := xipv4.NewPacketConn(c)
	err = errors.Join(p.SetControlMessage(xipv4.FlagInterface, true), p.SetMulticastTTL(s.cfg.Hops), p.SetMulticastLoopback(true))
	if err != nil {
		return errors.Join(fmt.Errorf("announce: %w", err), p.Close())
	}
	s.v4 = p
	return nil
}

func (s *sockets) open6(ctx context.Context) error {
	if s.cfg.Family == ipv4 {
		return nil
	}
	c, err := s.listen(ctx, "udp6")
	if err != nil {
		return err
	}
	p := xipv6.NewPacketConn(c)
	err = errors.Join(p.SetControlMessage(xipv6.FlagInterface, true), p.SetMulticastHopLimit(s.cfg.Hops), p.SetMulticastLoopback(true))
	if err != nil {
		return errors.Join(fmt.Errorf("announce: %w", err), p.Close())
	}
	s.v6 = p
	return nil
}

func (s *sockets) packets() <-chan datagram { return s.in }

func (s *sockets) read4() {
	buf := make([]byte, packetMax+1) // what is longer is cut, and refused
	for s.alive() {
		n, cm, from, err := s.v4.ReadFrom(buf)
		if err != nil {
			s.pause()
		} else if cm == nil || s.hears(cm.IfIndex) {
			s.pass(buf[:n], from)
		}
	}
}

func (s *sockets) read6() {
	buf := make([]byte, packetMax+1)
	for s.alive() {
		n, cm, from, err := s.v6.ReadFrom(buf)
		if err != nil {
			s.pause()
		} else if cm == nil || s.hears(cm.IfIndex) {
			s.pass(buf[:n], from)
		}
	}
}

// pause keeps an error that stays from being read in a tight loop.
func (s *sockets) pause() {
	select {
	case <-s.done:
	case <-time.After(100 * time.Millisecond):
	}
}

func (s *sockets) alive() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

func (s *sockets) hears(index int) bool {
	chosen := s.chosen.Load()
	return chosen != nil && (*chosen)[index]
}

func (s *sockets) pass(data []byte, from net.Addr) {
	d := datagram{data: slices.Clone(data)}
	if a, ok := from.(*net.UDPAddr); ok {
		d.from = a.AddrPort()
	}
	select {
	case s.in <- d:
	default:
	}
}

// rescan joins the group on interfaces that have come; the kernel has taken those
// that went.
func (s *sockets) rescan() error {
	all, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("announce: list the network interfaces: %w", err)
	}
	s.ifaces = nil
	chosen, joined := map[int]bool{}, map[string]bool{}
	var failed []error
	for _, ifi := range all {
		if !s.wants(ifi) {
			continue
		}
		i := iface{Interface: ifi}
		i.has4, i.has6 = families(ifi)
		i.has4, i.has6 = i.has4 && s.v4 != nil, i.has6 && s.v6 != nil
		if !i.has4 && !i.has6 {
			continue
		}
		if err := s.join(i, joined); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", ifi.Name, err))
		}
		chosen[ifi.Index] = true
		s.ifaces = append(s.ifaces, i)
	}
	s.chosen.Store(&chosen)
	s.joined = joined
	switch {
	case len(failed) > 0:
		return fmt.Errorf("announce: join the group: %w", errors.Join(failed...))
	case len(s.ifaces) > 0:
		return nil
	case len(s.cfg.Interfaces) > 0:
		return discovery.Classed(discovery.NotFound, "announce: none of the interfaces %s is up and has an address of its family", strings.Join(s.cfg.Interfaces, ", "))
	default:
		return discovery.Classed(discovery.NotFound, "announce: no network interface is up and can %s; name it in interfaces if there is one", s.cfg.Mode)
	}
}

// wants tells whether to use an interface.
func (s *sockets) wants(ifi net.Interface) bool {
	if ifi.Flags&net.FlagUp == 0 {
		return false
	}
	if len(s.cfg.Interfaces) > 0 {
		return slices.Contains(s.cfg.Interfaces, ifi.Name)
	}
	able := net.FlagMulticast
	if s.cfg.Mode == broadcast {
		able = net.FlagBroadcast
	}
	return ifi.Flags&able != 0 && ifi.Flags&net.FlagLoopback == 0
}

// families are those of an interface's addresses.
func families(ifi net.Interface) (has4, has6 bool) {
	addrs, err := ifi.Addrs()
	if err != nil {
		return false, false // it has just gone
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			has4 = has4 || n.IP.To4() != nil
			has6 = has6 || n.IP.To4() == nil
		}
	}
	return has4, has6
}

func (s *sockets) join(i iface, joined map[string]bool) error {
	if s.cfg.Mode == broadcast {
		return nil // everybody hears it, and all nodes are in ff02::1
	}
	once := func(key string, join func() error) error {
		if key = fmt.Sprintf("%d %s %s", i.Index, i.Name, key); !s.joined[key] {
			if err := join(); err != nil {
				return err
			}
		}
		joined[key] = true
		return nil
	}
	var err4, err6 error
	if i.has4 {
		err4 = once("4", func() error { return s.v4.JoinGroup(&i.Interface, &net.UDPAddr{IP: net.ParseIP(s.cfg.Group4)}) })
	}
	if i.has6 {
		err6 = once("6", func() error { return s.v6.JoinGroup(&i.Interface, &net.UDPAddr{IP: net.ParseIP(s.cfg.Group6)}) })
	}
	return errors.Join(err4, err6)
}

func (s *sockets) send(packet []byte) error {
	group4, group6 := s.cfg.Group4, s.cfg.Group6
	if s.cfg.Mode == broadcast {
		group4, group6 = "255.255.255.255", "ff02::1"
	}
	sent := 0
	var failed []error
	note := func(i iface, err error) {
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", i.Name, err))
		} else {
			sent++
		}
	}
	for _, i := range s.ifaces {
		if i.has4 {
			to := &net.UDPAddr{IP: net.ParseIP(group4), Port: s.cfg.Port}
			_, err := s.v4.WriteTo(packet, &xipv4.ControlMessage{IfIndex: i.Index}, to)
			note(i, err)
		}
		if i.has6 {
			to := &net.UDPAddr{IP: net.ParseIP(group6), Port: s.cfg.Port, Zone: i.Name}
			_, err := s.v6.WriteTo(packet, &xipv6.ControlMessage{IfIndex: i.Index}, to)
			note(i, err)
		}
	}
	if sent > 0 {
		return nil
	}
	if len(failed) == 0 {
		return discovery.Classed(discovery.NotFound, "announce: there is no network interface to send to")
	}
	return fmt.Errorf("announce: %w", errors.Join(failed...))
}

func (s *sockets) close() {
	s.stop()
	if s.v4 != nil {
		_ = s.v4.Close() // readers end
	}
	if s.v6 != nil {
		_ = s.v6.Close()
	}
	s.running.Wait()
}
