// Package gossip finds other sidecars by the gossip of HashiCorp's serf: every
// member knows every member. Who joins or changes is offered, who leaves or is
// reaped is withdrawn; who merely fails stays, for the overlay knows better.
//
// It takes from serf who is there and nothing else: no events, no queries, no
// verdict about who lives. It never removes, renames or shuts down a member, and
// never hears another cluster (unless label is none, and then skips its members).
// When Run has returned, its port is free and all its connections are closed; a
// probe of memberlist's that waits for an answer still ends by its own timer,
// within one probe interval.
package gossip

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"

	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/discovery/keyring"
)

// warnAbove is from how many members on everybody's knowing everybody is a load
// that should be somebody's decision.
const warnAbove = 1000

// Gossip is the strategy.
type Gossip struct {
	cfg   Config
	self  discovery.Self
	ring  *keyring.Ring // nil: nothing is encrypted
	mark  string        // of the cluster, in the label and in tags
	tags  map[string]string
	log   *slog.Logger
	lines *listener
	ask   chan struct{} // capacity 1: look for others now

	tune func(*serf.Config) // for tests, which cannot wait for the timers of a network

	// owned by Run
	run     int
	picture picture
	warned  bool // that there are too many
}

// New returns the strategy. self is what others are told of this node; ring the
// keys, or nil if there are none.
func New(cfg Config, self discovery.Self, ring *keyring.Ring, log *slog.Logger) (*Gossip, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	if cfg.Encryption == auto && ring == nil {
		return nil, errors.New("gossip: encryption: there is no key: set keyring_file (a cluster with certificates has no key of its own), or encryption: off")
	}
	if cfg.Encryption == off {
		ring = nil
		log.Warn("gossip is not encrypted: whoever reaches its port can read and add addresses")
	}
	mark := markOf(self.Cluster)
	tags, err := tags(mark, self)
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	return &Gossip{
		cfg: cfg, self: self, ring: ring, mark: mark, tags: tags, log: log, lines: newListener(log),
		ask: make(chan struct{}, 1), tune: func(*serf.Config) {},
		picture: picture{mark: mark, keep: cfg.ForgetAfter, said: map[string]word{}},
	}, nil
}

// markOf is what members of a cluster have in common. The name itself would tell
// it to everybody on the way.
func markOf(cluster string) string {
	sum := sha256.Sum256([]byte("starling gossip " + cluster))
	return hex.EncodeToString(sum[:8])
}

// Refresh looks for others now, and comes back to the gossip if leave_after had
// this node leave it. It does not block.
func (g *Gossip) Refresh() {
	select {
	case g.ask <- struct{}{}:
	default:
	}
}

// Describe says how the strategy is set up.
func (g *Gossip) Describe() discovery.Description {
	return discovery.Description{
		Config: map[string]string{
			"join": strings.Join(g.cfg.Join, " "), "bind": g.cfg.Bind, "profile": g.cfg.Profile,
			"encrypted": fmt.Sprint(g.ring != nil), "label": g.cfg.Label, "leave_after": g.cfg.LeaveAfter,
		},
		Rights: []string{"listen on " + g.cfg.Bind + ", tcp and udp", "reach the same port of all others"},
	}
}

// Counters are joins, failed_joins, foreign_label (packets and connections of
// others that were refused), undecryptable and library_errors.
func (g *Gossip) Counters() map[string]uint64 { return g.lines.counters() }

// Run gossips until ctx ends, and leaves.
func (g *Gossip) Run(ctx context.Context, sink discovery.Sink) error {
	for ctx.Err() == nil {
		g.run++
		s, err := g.start(ctx, sink)
		if err != nil {
			return err
		}
		s.loop(ctx)
		s.stop()
		if ctx.Err() == nil { // it has left, as converged
			select {
			case <-ctx.Done():
			case <-g.ask:
			}
		}
	}
	return nil
}

// start joins nobody yet.
func (g *Gossip) start(ctx context.Context, sink discovery.Sink) (*session, error) {
	bind, err := parseBind(g.cfg.Bind)
	if err != nil {
		panic(err) // Validate has read it
	}
	if g.self.Node == "" {
		bind = netip.AddrPortFrom(bind.Addr(), 0) // the sidecar itself may have the port
	}
	t, err := listen(ctx, bind, func(port uint16) (netip.AddrPort, error) { return g.advertise(ctx, bind.Addr(), port) })
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	s := &session{
		Gossip: g, sink: sink, transport: t,
		// All that can still be in serf's own queue, of 1024, when it ends: nobody
		// reads then, and a full channel would hold its goroutine for ever.
		events: make(chan serf.Event, 2048),
		well:   make(chan struct{}, 1), hurry: make(chan struct{}, 1),
	}
	conf, err := g.config(s)
	if err == nil {
		s.serf, err = serf.Create(conf)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("gossip: %w", err), t.Shutdown())
	}
	s.keys = conf.MemberlistConfig.Keyring
	return s, nil
}

// config is serf's, with its traps avoided.
func (g *Gossip) config(s *session) (*serf.Config, error) {
	m := map[string]func() *memberlist.Config{
		lan: memberlist.DefaultLANConfig, wan: memberlist.DefaultWANConfig, local: memberlist.DefaultLocalConfig,
	}[g.cfg.Profile]()
	m.Transport = s.transport
	m.Logger = slog.NewLogLogger(g.lines, slog.LevelDebug)
	if g.cfg.Label == auto {
		m.Label = "starling " + g.mark
	}
	if g.ring != nil {
		keys := g.ring.Keys()
		ring, err := memberlist.NewKeyring(keys, keys[0])
		if err != nil {
			return nil, err
		}
		m.Keyring = ring
	}
	conf := serf.DefaultConfig()
	conf.MemberlistConfig = m
	conf.NodeName = g.newName()
	conf.Tags = g.tags
	conf.EventCh = s.events
	conf.LogOutput, conf.Logger = nil, m.Logger
	// "The minority quits": a library must not end because of a name.
	conf.EnableNameConflictResolution = false
	conf.DisableCoordinates = true // nobody asks for them
	conf.ReconnectTimeout = g.cfg.ForgetAfter
	conf.TombstoneTimeout = min(g.cfg.ForgetAfter, time.Hour) // names are never used again
	conf.BroadcastTimeout = time.Second
	conf.LeavePropagateDelay = 3 * m.GossipInterval
	g.tune(conf)
	return conf, nil
}

// newName is one that nobody has had: serf takes two of one name for one that has
// moved, or quarrels about it.
func (g *Gossip) newName() string {
	name := g.self.Name
	if g.self.Node == "" {
		name = "looking"
	}
	return name + "." + strings.ToLower(rand.Text()[:12])
}

// advertise decides what others are told: as written, or where the overlay is
// reached, or the address that packets to the first of join leave from.
func (g *Gossip) advertise(ctx context.Context, bound netip.Addr, port uint16) (netip.AddrPort, error) {
	if g.cfg.Advertise != "" {
		ap := netip.MustParseAddrPort(g.cfg.Advertise) // Validate has read it
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
	}
	if !bound.IsUnspecified() {
		return netip.AddrPortFrom(bound.Unmap(), port), nil
	}
	for _, a := range g.self.Addrs {
		if ap, err := netip.ParseAddrPort(a); err == nil {
			return netip.AddrPortFrom(ap.Addr().Unmap(), port), nil
		}
	}
	for _, a := range g.cfg.Join {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "udp", a) // asks the routing table; nothing is sent
		if err != nil {
			continue
		}
		ap, err := netip.ParseAddrPort(conn.LocalAddr().String())
		_ = conn.Close() // it carried nothing
		if err == nil {
			return netip.AddrPortFrom(ap.Addr().Unmap(), port), nil
		}
	}
	return netip.AddrPort{}, discovery.Classed(discovery.Misconfigured, "which address should others gossip to? Set advertise")
}
