package static_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/discovery/discoverytest"
	"github.com/starlingmesh/starling/strategies/static"
)

// resolver is a DNS of one name.
type resolver struct {
	mu   sync.Mutex // guards the rest
	ips  []netip.Addr
	down bool
}

func (r *resolver) lookup(context.Context, string) ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return nil, errors.New("server misbehaving")
	}
	return append([]netip.Addr(nil), r.ips...), nil
}

func (r *resolver) set(addrs ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ips = nil
	for _, a := range addrs {
		r.ips = append(r.ips, netip.MustParseAddrPort(a).Addr())
	}
}

func (r *resolver) breakDown(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

func mustNew(t *testing.T, lookup static.Lookup, contacts ...string) *static.Static {
	cfg := static.Default()
	cfg.Contacts = contacts
	cfg.Refresh = time.Second
	s, err := static.New(cfg, lookup)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContractWithAddresses(t *testing.T) {
	discoverytest.Run(t, func(t *testing.T) discoverytest.Harness {
		s := mustNew(t, nil, "10.0.0.1:7000", "[fd00::1]:7000")
		return discoverytest.Harness{Strategy: s, Refresh: s.Refresh, Fixed: []string{"10.0.0.1:7000", "[fd00::1]:7000"}}
	})
}

func TestContractWithNames(t *testing.T) {
	discoverytest.Run(t, func(t *testing.T) discoverytest.Harness {
		r := &resolver{}
		s := mustNew(t, r.lookup, "seed.example:7000")
		return discoverytest.Harness{
			Strategy: s, Refresh: s.Refresh, Set: r.set, BreakWays: 2,
			Break: func(way int) {
				if way == 0 {
					r.breakDown(true)
				} else {
					r.set() // the name is gone
				}
			},
			Mend: func() { r.breakDown(false); r.set("10.1.2.1:1", "10.1.2.2:1", "10.1.2.3:1") },
		}
	})
}

// recorder keeps the latest candidates by key.
type recorder struct {
	mu    sync.Mutex // guards the rest
	last  []discovery.Candidate
	fails int
}

func (r *recorder) Observe(o discovery.Observation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = o.(discovery.Partial).Candidates // anything else panics: static never withdraws
}

func (r *recorder) Fail(error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fails++
}

func (r *recorder) addrs() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, c := range r.last {
		all = append(all, c.Addrs...)
	}
	return strings.Join(all, " ")
}

func TestNamesAreResolvedAgainAndOutlastAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &resolver{}
		dns.set("10.0.0.1:1")
		s := mustNew(t, dns.lookup, "10.9.9.9:7000", "seed.example:7000")
		rec := &recorder{}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = s.Run(ctx, rec) }()
		expect := func(want string) {
			t.Helper()
			time.Sleep(2 * time.Second) // fake time: one round at least
			synctest.Wait()
			if got := rec.addrs(); got != want {
				t.Errorf("have %s, want %s", got, want)
			}
		}
		expect("10.9.9.9:7000 10.0.0.1:7000")
		dns.set("10.0.0.2:1")
		expect("10.9.9.9:7000 10.0.0.2:7000")
		dns.breakDown(true)
		expect("10.9.9.9:7000 10.0.0.2:7000")
		if rec.fails == 0 {
			t.Error("a resolver that is down was not reported")
		}
	})
}

func TestBadConfigurationNamesTheKey(t *testing.T) {
	for name, tt := range map[string]struct {
		edit func(*static.Config)
		want string
	}{
		"none":    {func(c *static.Config) { c.Contacts = nil }, "contacts: 0 entries"},
		"no port": {func(c *static.Config) { c.Contacts = []string{"a:1", "b"} }, `contacts[1]: address "b": want host:port`},
		"port 0":  {func(c *static.Config) { c.Contacts = []string{"a:0"} }, "not a number from 1 to 65535"},
		"any":     {func(c *static.Config) { c.Contacts = []string{"0.0.0.0:1"} }, "nobody can be dialled"},
		"refresh": {func(c *static.Config) { c.Refresh = time.Millisecond }, "refresh: 1ms is not within"},
		"keep":    {func(c *static.Config) { c.Keep = time.Second }, "keep: 1s is shorter than refresh"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := static.Default()
			cfg.Contacts = []string{"10.0.0.1:7000"}
			if err := cfg.Validate(); err != nil {
				t.Fatal(err)
			}
			tt.edit(&cfg)
			if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want it to say %q", err, tt.want)
			}
			if _, err := static.New(cfg, nil); err == nil {
				t.Error("New took it")
			}
		})
	}
}
