// Package announce finds other sidecars of its network segments: each says now and
// then, sealed with a key of the cluster, where it is, by UDP to a multicast group
// or to everybody. No contact is needed. See [open] for the packets and [core] for
// who speaks when.
//
// It never reads a packet that no key of ours opens, never answers a packet, and
// believes no source address. Whoever has a key can offer addresses; the handshake
// of the overlay decides who is a member. A packet may be replayed to a node that
// has just started, for five minutes: it then offers an address that was good then.
package announce

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	mrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/discovery/keyring"
)

const (
	gather = 100 * time.Millisecond // changes are told together
	chores = 5 * time.Second        // keys and interfaces are looked at
	// warnGap is the least time between two lines about packets of others.
	warnGap = time.Minute
	// opensMax is how many packets a second are tried to be opened, 10 µs and a
	// few KB each. More is a flood, and what we lose in it is said again.
	opensMax = 2000
)

// Announce is the strategy.
type Announce struct {
	cfg  Config
	self discovery.Self
	ring *keyring.Ring
	log  *slog.Logger
	ask  chan struct{}                              // capacity 1
	open func(context.Context, Config) (air, error) // for tests

	// owned by Run
	core   *core
	known  map[string]discovery.Candidate
	warned time.Time
	second time.Time // of opens
	opens  int

	mu     sync.Mutex // guards counts
	counts map[string]uint64
}

// Further names of counters.
const (
	sent       = "sent"
	unopened   = "unopened"
	malformed  = "malformed"
	flooded    = "flooded"
	unsent     = "unsent"
	unreadable = "keyring_errors"
)

var countNames = []string{taken, ourOwn, repeated, skewed, contrary, crowded, nonsense, sent, unopened, malformed, flooded, unsent, unreadable}

// New returns the strategy. self is what others are told of this node; ring the
// keys, which there must be.
func New(cfg Config, self discovery.Self, ring *keyring.Ring, log *slog.Logger) (*Announce, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("announce: %w", err)
	}
	if ring == nil {
		return nil, errors.New("announce: there is no key: set keyring_file (a cluster with certificates has no key of its own)")
	}
	if self.Node != "" && len(self.Addrs) == 0 {
		return nil, errors.New("announce: this node has no address to announce")
	}
	return &Announce{
		cfg: cfg, self: self, ring: ring, log: log, ask: make(chan struct{}, 1), open: openSockets,
		known: map[string]discovery.Candidate{}, counts: map[string]uint64{},
	}, nil
}

// Refresh tells again all that is known. It does not block.
func (a *Announce) Refresh() {
	select {
	case a.ask <- struct{}{}:
	default:
	}
}

// Describe says how the strategy is set up.
func (a *Announce) Describe() discovery.Description {
	where := "all interfaces"
	if len(a.cfg.Interfaces) > 0 {
		where = strings.Join(a.cfg.Interfaces, " ")
	}
	return discovery.Description{
		Config: map[string]string{
			"mode": a.cfg.Mode, "interfaces": where, "family": a.cfg.Family, "port": fmt.Sprint(a.cfg.Port), "every": a.cfg.Every.String(),
		},
		Rights: []string{fmt.Sprintf("send and receive udp port %d by %s on the segment", a.cfg.Port, a.cfg.Mode)},
	}
}

// Counters are packets by what became of them: sent, unsent, heard, own, repeated
// (replays, and copies over the other family), unopened (another key or cluster),
// skewed (clocks differ by more than five minutes), malformed, contradictory,
// nonsensical, crowded, flooded; and keyring_errors.
func (a *Announce) Counters() map[string]uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make(map[string]uint64, len(countNames))
	for _, name := range countNames {
		all[name] = a.counts[name]
	}
	return all
}

func (a *Announce) count(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts[what]++
}

// Run announces and listens until ctx ends.
func (a *Announce) Run(ctx context.Context, sink discovery.Sink) error {
	air, err := a.open(ctx, a.cfg)
	if err != nil {
		return err
	}
	defer air.close()
	if a.core == nil {
		me := announcement{node: a.self.Node, name: a.self.Name, zone: a.self.Zone, addrs: a.self.Addrs}
		_, _ = rand.Read(me.boot[:]) // never fails: crypto/rand ends the process instead
		a.core = newCore(time.Now(), a.cfg.Every, a.cfg.copies(), me, mrand.New(mrand.NewPCG(mrand.Uint64(), mrand.Uint64())))
	}
	a.loop(ctx, air, sink)
	if bye, ok := a.core.bye(time.Now()); ok && a.self.Node != "" {
		_ = a.transmit(air, bye) // or we expire
	}
	return nil
}

// loop is the life of one run.
func (a *Announce) loop(ctx context.Context, air air, sink discovery.Sink) {
	r := &reporter{Announce: a, sink: sink, full: len(a.known) > 0}
	r.health(&r.lost, air.rescan())
	tick := time.NewTicker(chores)
	defer tick.Stop()
	speak := time.NewTimer(0)
	defer speak.Stop()
	report := time.NewTimer(a.cfg.Every + time.Second) // whatever was heard by then
	defer report.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-air.packets():
			a.hear(time.Now(), d)
		case <-speak.C:
			if words, ok := a.core.tick(time.Now()); ok {
				r.health(&r.mute, a.transmit(air, words))
			}
			speak.Reset(time.Until(a.core.deadline()))
		case <-tick.C:
			r.health(&r.lost, air.rescan())
			a.reloadKeys(sink)
		case <-a.ask:
			r.full = true
		case <-report.C:
			r.due, r.said = false, true
			r.tell()
		}
		if r.pending() && !r.due && r.mayTell() {
			r.due = true
			report.Reset(gather)
		}
	}
}

// hear takes a packet.
func (a *Announce) hear(now time.Time, d datagram) {
	if now.Sub(a.second) >= time.Second {
		a.second, a.opens = now, 0
	}
	if a.opens++; a.opens > opensMax {
		a.count(flooded)
		return
	}
	words, err := open(a.ring.Keys(), a.self.Cluster, d.data)
	switch {
	case errors.Is(err, errBroken):
		a.count(malformed)
	case err != nil:
		a.count(unopened)
		a.warn(now, "announcements arrive that no key of ours opens: of another cluster, or with a key that we lack", "from", d.from)
	default:
		what := a.core.heard(now, words)
		a.count(what)
		if what == skewed {
			a.warn(now, "an announcement's clock and ours differ by more than five minutes; it is not taken", "peer", words.name, "sent", words.sent)
		}
	}
}

func (a *Announce) warn(now time.Time, msg string, args ...any) {
	if now.Sub(a.warned) >= warnGap {
		a.warned = now
		a.log.Warn(msg, args...) //nolint:sloglint // the two callers' are constant
	}
}

func (a *Announce) transmit(air air, words announcement) error {
	err := air.send(seal(a.ring.Keys()[0], a.self.Cluster, words))
	if err != nil {
		a.count(unsent)
		return err
	}
	a.count(sent)
	return nil
}

func (a *Announce) reloadKeys(sink discovery.Sink) {
	changed, err := a.ring.Reload()
	if err != nil {
		a.count(unreadable)
		sink.Fail(discovery.Classed(discovery.Misconfigured, "announce: keyring_file: %w", err))
	}
	if changed {
		a.log.Info("announce: the keys have changed", "keys", len(a.ring.Keys()))
	}
}

// reporter tells the sink what the core has learnt.
type reporter struct {
	*Announce

	sink discovery.Sink
	due  bool // a report is about to be made
	said bool // there was one
	full bool // the next has everything
	lost bool // there is no network interface
	mute bool // what we sent last was not taken
}

// health notes whether the air can be used. While it cannot, every failure is told.
func (r *reporter) health(bad *bool, err error) {
	if err != nil {
		r.sink.Fail(err)
	}
	r.full = r.full || *bad && err == nil
	*bad = err != nil
}

func (r *reporter) pending() bool {
	n := &r.core.news
	well := !r.lost && !r.mute && !r.core.deaf
	return well && (r.full || n.again || len(n.offers) > 0) || n.deaf > 0 || len(n.withdrawn) > 0
}

// mayTell: who only looks gathers for an interval first, so that one answer has
// everybody.
func (r *reporter) mayTell() bool { return r.self.Node != "" || r.said }

func (r *reporter) tell() {
	n := r.core.take()
	maps.Copy(r.known, n.offers)
	for key := range n.withdrawn {
		delete(r.known, key)
	}
	if len(n.withdrawn) > 0 {
		r.sink.Observe(discovery.Delta{Withdrawn: slices.Sorted(maps.Keys(n.withdrawn))})
	}
	if n.deaf > 0 {
		r.sink.Fail(discovery.Classed(discovery.Unavailable,
			"announce: nobody is heard any more, and %d were: is the network up, and does it carry %s on udp port %d?", n.deaf, r.cfg.Mode, r.cfg.Port))
	}
	if r.lost || r.mute || r.core.deaf {
		r.full = true
		return // all is told again when the air is well
	}
	offers := n.offers
	if r.full || n.again || len(n.offers)+len(n.withdrawn) == 0 {
		offers = r.known
	}
	r.full = false
	list := make([]discovery.Candidate, 0, len(offers))
	for _, key := range slices.Sorted(maps.Keys(offers)) {
		c := offers[key]
		c.Addrs, c.Labels = slices.Clone(c.Addrs), maps.Clone(c.Labels) // the sink owns them
		list = append(list, c)
	}
	if len(list) > 0 || len(n.withdrawn) == 0 {
		r.sink.Observe(discovery.Partial{Candidates: list})
	}
}
