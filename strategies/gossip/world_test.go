package gossip

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/serf/serf"

	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/discovery/keyring"
)

// fast makes a minute of gossip out of a second.
func fast(c *serf.Config) {
	m := c.MemberlistConfig
	m.ProbeInterval, m.ProbeTimeout = 50*time.Millisecond, 30*time.Millisecond
	m.SuspicionMult, m.SuspicionMaxTimeoutMult, m.AwarenessMaxMultiplier = 2, 1, 1
	m.GossipInterval, m.PushPullInterval = 10*time.Millisecond, time.Second
	c.BroadcastTimeout, c.LeavePropagateDelay = 300*time.Millisecond, 50*time.Millisecond
	c.ReconnectInterval = time.Hour // what we do ourselves shall show
	c.ReapInterval = 100 * time.Millisecond
}

// world is some members on this machine. The first holds hub, which all others join.
type world struct {
	t       *testing.T
	hub     string
	cluster string
	key     byte
	members map[string]*member // by the overlay's address
}

type member struct {
	g      *Gossip
	s      *session
	sink   *recorder
	cancel context.CancelFunc
	done   chan struct{}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	tr, err := listen(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"), func(port uint16) (netip.AddrPort, error) {
		return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, hub: tr.own.String(), cluster: "shop", key: 1, members: map[string]*member{}}
	if err := tr.Shutdown(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.killAll)
	return w
}

func (w *world) config() Config {
	c := Default()
	c.Profile, c.Bind, c.Join = local, "127.0.0.1:0", []string{w.hub}
	c.RejoinEvery = time.Second
	return c
}

// build makes a strategy that says it is at addr; nobody if that is empty.
func (w *world) build(addr string, edit func(*Config)) *Gossip {
	w.t.Helper()
	cfg := w.config()
	if edit != nil {
		edit(&cfg)
	}
	self := discovery.Self{Cluster: w.cluster, Name: "test", Zone: "z1"}
	if addr != "" {
		self.Node, self.Addrs = "id-of-"+addr, []string{addr}
	}
	ring, err := keyring.Fixed(bytes.Repeat([]byte{w.key}, keyring.KeyLen))
	if err != nil {
		w.t.Fatal(err)
	}
	g, err := New(cfg, self, ring, slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	g.tune = fast
	return g
}

// start starts a member; the first takes the hub's place.
func (w *world) start(addr string, edit func(*Config)) *member {
	w.t.Helper()
	hub := !slices.ContainsFunc(w.list(), func(m *member) bool { return m.s.transport.own.String() == w.hub })
	m := &member{sink: &recorder{}, done: make(chan struct{})}
	m.g = w.build(addr, func(c *Config) {
		if hub {
			c.Bind = w.hub
		}
		if edit != nil {
			edit(c)
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	m.g.run++
	var err error
	if m.s, err = m.g.start(ctx, m.sink); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		m.s.loop(ctx)
		close(m.done)
	}()
	w.members[addr] = m
	return m
}

func (w *world) list() []*member {
	var list []*member
	for _, m := range w.members {
		list = append(list, m)
	}
	return list
}

// kill ends a member as kill -9 does.
func (w *world) kill(addr string) {
	m := w.members[addr]
	delete(w.members, addr)
	m.cancel()
	<-m.done
	_ = m.s.serf.Shutdown()
	m.s.joiner.Wait()
}

// leave ends a member that says goodbye.
func (w *world) leave(addr string) {
	m := w.members[addr]
	delete(w.members, addr)
	m.cancel()
	<-m.done
	m.s.stop()
}

func (w *world) killAll() {
	for addr := range w.members {
		w.kill(addr)
	}
}

// set makes the members exactly these.
func (w *world) set(addrs ...string) {
	for addr := range w.members {
		if !slices.Contains(addrs, addr) {
			w.leave(addr)
		}
	}
	for _, a := range addrs {
		if w.members[a] == nil {
			w.start(a, nil)
		}
	}
}

// recorder keeps what a strategy says.
type recorder struct {
	mu    sync.Mutex // guards the rest
	last  map[string]discovery.Candidate
	fails []string
}

func (r *recorder) Observe(o discovery.Observation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.last = map[string]discovery.Candidate{}
	}
	switch o := o.(type) {
	case discovery.Partial:
		for _, c := range o.Candidates {
			r.last[c.Key] = c
		}
	case discovery.Delta:
		for _, k := range o.Withdrawn {
			delete(r.last, k)
		}
	case discovery.Complete:
		panic("gossip never knows everybody")
	}
}

func (r *recorder) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fails = append(r.fails, err.Error())
}

// keys are who is offered, failed ones with a !.
func (r *recorder) keys() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var keys []string
	for k, c := range r.last {
		if c.Ready == discovery.No {
			k += "!"
		}
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return strings.Join(keys, " ")
}

func (r *recorder) failed() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.fails, "\n")
}

// await waits for what real sockets and timers bring.
func await(t *testing.T, what string, have func() string, want func(string) bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		got := have()
		if want(got) {
			return
		}
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("waited for %s; have %s", what, got)
		}
	}
}

func is(want string) func(string) bool { return func(s string) bool { return s == want } }
func contains(want string) func(string) bool {
	return func(s string) bool { return strings.Contains(s, want) }
}
