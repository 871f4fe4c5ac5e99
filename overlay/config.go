package overlay

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/starlingmesh/starling/overlay/core"
	"github.com/starlingmesh/starling/overlay/keys"
	"github.com/starlingmesh/starling/overlay/link"
	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// Config is what a node is told at its start.
type Config struct {
	// Cluster is the cluster's ID. Mandatory, without a default: two clusters that
	// share one by accident merge as soon as an address is used again.
	Cluster string
	// Name is this node's name, unique among the living of the cluster.
	Name string
	// Listen is where other nodes connect to, host:port. Port 0 takes a free one.
	Listen string
	// Advertise is what others are told to dial, host:port, best first; at most
	// proto.MaxAddrs. Port 0 means the port listened on. Empty: the address
	// listened on or, if that is any, the machine's first global address.
	Advertise []string
	// Zone and Tags are what the node says of itself at first; UpdateSelf changes them.
	Zone string
	Tags []proto.Tag

	// Keys say who is a member. Mandatory unless Insecure.
	Keys keys.Source
	// Insecure takes a key that everybody knows in place of Keys: whoever reaches
	// the port is a member. Only with loopback addresses; for a first look.
	Insecure bool
	// Faults allows Fault to cut, delay and stall links. Off in production.
	Faults bool
	// Dialed, if set, is told how each dial of an address ended: who answered the
	// handshake (this node itself, perhaps), or why nobody did, with a zero ID. It
	// is called on the loop and must not block.
	Dialed func(addr string, who peer.ID, err error)

	Core   core.Config
	Limits Limits
}

// Limits are the bounds of the runtime.
type Limits struct {
	// Handshake is how long a new connection has, from accept to checked Hello. Too
	// short: busy machines cannot join. Too long: silent connections hold their place.
	Handshake time.Duration
	// Handshakes is how many connections may be between accept and checked Hello
	// at once. Beyond it the oldest that has said nothing is closed, or else the
	// new one. Each costs up to 300 KB while a hostile peer talks, 10 KB while silent.
	Handshakes int
	// Dials is how many dials may run at once; further ones fail as local.
	Dials int
	// Links is how many links of all kinds may be up at once. Each costs about
	// 60 KB and two descriptors when it has a lane.
	Links int

	// Link bounds each link.
	Link link.Limits

	// Inbox bounds in bytes of frames what was received and not yet taken by
	// the loop; beyond it readers wait, and so, by TCP, do the peers.
	Inbox int

	// Unacked is TCP_USER_TIMEOUT: how long sent bytes may stay unacknowledged.
	Unacked time.Duration
	// NotSent is TCP_NOTSENT_LOWAT in bytes: how much may wait in the kernel
	// unsent, where nothing more urgent can overtake it.
	NotSent int
}

// Default is a Config that lacks only Cluster, Name and Keys.
func Default() Config {
	return Config{
		Listen: ":7827",
		Core:   core.Default(),
		Limits: Limits{
			Handshake:  5 * time.Second,
			Handshakes: 128,
			Dials:      512,
			Links:      2048,
			Link: link.Limits{
				ControlQueue: 4 << 20, EchoQueue: 32 << 20, BulkQueue: 32 << 20,
				WriteStall: time.Second, Flush: time.Second,
			},
			Inbox:   16 << 20,
			Unacked: 3 * time.Second,
			NotSent: 128 << 10,
		},
	}
}

// Validate says in words what is wrong, all of it.
func (c *Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Cluster == "" {
		wrong("cluster ID: it is empty; give every cluster one of its own, or reused addresses will merge clusters")
	}
	if len(c.Cluster) > proto.MaxName {
		wrong("cluster ID: %d bytes, at most %d", len(c.Cluster), proto.MaxName)
	}
	if c.Name == "" || len(c.Name) > proto.MaxName {
		wrong("node name %q: want 1 to %d bytes", c.Name, proto.MaxName)
	}
	if len(c.Advertise) > proto.MaxAddrs {
		wrong("advertise: %d addresses, at most %d", len(c.Advertise), proto.MaxAddrs)
	}
	for _, addr := range append([]string{c.Listen}, c.Advertise...) {
		if err := checkAddr(addr); err != nil {
			errs = append(errs, err)
		} else if c.Insecure && !isLoopback(addr) {
			wrong("insecure: %s is not a loopback address; set a key", addr)
		}
	}
	if c.Keys == nil && !c.Insecure {
		wrong(`keys: none; make one with "starling keygen", or name certificate files`)
	}
	if c.Keys != nil && c.Insecure {
		wrong("insecure: keys are set too; take one of them away")
	}
	return errors.Join(append(errs, c.Core.Validate(), c.Limits.validate())...)
}

func (l *Limits) validate() error {
	var errs []error
	positive := func(name string, ok bool) {
		if !ok {
			errs = append(errs, fmt.Errorf("limit %s: must be more than zero", name))
		}
	}
	positive("handshake", l.Handshake > 0)
	positive("handshakes", l.Handshakes > 0)
	positive("dials", l.Dials > 0)
	positive("links", l.Links > 0)
	positive("write_stall", l.Link.WriteStall > 0)
	positive("flush", l.Link.Flush > 0)
	positive("unacked", l.Unacked > 0)
	positive("not_sent", l.NotSent > 0)
	positive("control_queue", l.Link.ControlQueue > 0)
	positive("echo_queue", l.Link.EchoQueue > 0)
	positive("bulk_queue", l.Link.BulkQueue > 0)
	positive("inbox", l.Inbox > 0)
	return errors.Join(errs...)
}

// checkAddr checks host:port without asking a resolver.
func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("address %q: want host:port: %w", addr, err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n > 65535 {
		return fmt.Errorf("address %q: port %q is not a number from 0 to 65535", addr, port)
	}
	return nil
}

func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// advertised is what others are told to dial, once it is known where we listen.
func (c *Config) advertised(listening *net.TCPAddr) ([]string, error) {
	wanted := c.Advertise
	if len(wanted) == 0 {
		wanted = []string{listening.String()}
	}
	var addrs []string
	for _, addr := range wanted {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, fmt.Errorf("advertise %q: %w", addr, err)
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			if host, err = globalHost(); err != nil {
				return nil, err
			}
		}
		if port == "0" {
			port = strconv.Itoa(listening.Port)
		}
		addrs = append(addrs, net.JoinHostPort(host, port))
	}
	return addrs, nil
}

// globalHost is the machine's first address that others may reach.
func globalHost() (string, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("look for an address to advertise: %w", err)
	}
	best := "127.0.0.1"
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || !n.IP.IsGlobalUnicast() {
			continue
		}
		if n.IP.To4() != nil {
			return n.IP.String(), nil
		}
		if best == "127.0.0.1" {
			best = n.IP.String()
		}
	}
	return best, nil
}
