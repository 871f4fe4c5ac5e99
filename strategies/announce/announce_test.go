package announce

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/discovery/discoverytest"
	"github.com/starlingmesh/starling/discovery/keyring"
)

func ring(t *testing.T, keys ...byte) *keyring.Ring {
	t.Helper()
	var list [][]byte
	for _, b := range keys {
		list = append(list, testKey(b))
	}
	r, err := keyring.Fixed(list...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func config() Config {
	c := Default()
	c.Port, c.Every = 7827, time.Second
	return c
}

func build(t *testing.T, cfg Config, addr string, keys ...byte) *Announce {
	t.Helper()
	self := discovery.Self{Cluster: "shop", Name: "test", Zone: "z1"}
	if addr != "" {
		self.Node, self.Addrs = "id-of-"+addr, []string{addr}
	}
	a, err := New(cfg, self, ring(t, keys...), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// channel is an air of one process.
type channel struct {
	mu     sync.Mutex // guards the rest
	ports  map[*port]bool
	broken error
	mute   bool
}

type port struct {
	c  *channel
	in chan datagram
}

func (c *channel) open(context.Context, Config) (air, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &port{c: c, in: make(chan datagram, 64)}
	if c.ports == nil {
		c.ports = map[*port]bool{}
	}
	c.ports[p] = true
	return p, nil
}

func (p *port) send(packet []byte) error {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if p.c.broken != nil {
		return p.c.broken
	}
	if p.c.mute {
		return nil
	}
	for to := range p.c.ports {
		select {
		case to.in <- datagram{data: packet}:
		default:
		}
	}
	return nil
}

func (p *port) packets() <-chan datagram { return p.in }

func (p *port) rescan() error {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	return p.c.broken
}

func (p *port) close() {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	delete(p.c.ports, p)
}

func (c *channel) set(broken error, mute bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken, c.mute = broken, mute
}

// flock is some announcers in a channel, by address.
type flock struct {
	t     *testing.T
	c     *channel
	birds map[string]func()
}

func (f *flock) set(addrs ...string) {
	for a, stop := range f.birds {
		if !slices.Contains(addrs, a) {
			stop()
			delete(f.birds, a)
		}
	}
	for _, a := range addrs {
		if f.birds[a] == nil {
			f.start(a)
		}
	}
}

func (f *flock) start(addr string) {
	s := build(f.t, config(), addr, 1)
	s.open = f.c.open
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = s.Run(ctx, &recorder{}) })
	f.birds[addr] = func() { cancel(); done.Wait() }
}

func TestContract(t *testing.T) {
	discoverytest.Run(t, func(t *testing.T) discoverytest.Harness {
		f := &flock{t: t, c: &channel{}, birds: map[string]func(){}}
		s := build(t, config(), "10.9.9.9:7000", 1)
		s.open = f.c.open
		return discoverytest.Harness{
			Strategy: s, Refresh: s.Refresh, Set: f.set, Close: func() { f.set() }, BreakWays: 1,
			Break: func(int) { f.c.set(errors.New("network is down"), false) },
			Mend:  func() { f.c.set(nil, false) },
		}
	})
}

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
		panic("announcements are never everybody's")
	}
}

func (r *recorder) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fails = append(r.fails, err.Error())
}

func (r *recorder) keys() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var keys []string
	for k := range r.last {
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

func TestSilenceEverywhereIsAFailureAndLosesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flock{t: t, c: &channel{}, birds: map[string]func(){}}
		f.set("10.0.0.1:1", "10.0.0.2:1")
		s := build(t, config(), "10.0.0.3:1", 1)
		s.open = f.c.open
		rec := &recorder{}
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { _ = s.Run(ctx, rec) })
		time.Sleep(5 * time.Second) // fake time
		const all = "10.0.0.1:1 10.0.0.2:1"
		if got := rec.keys(); got != all {
			t.Errorf("have %s", got)
		}
		f.c.set(nil, true)
		time.Sleep(60 * time.Second)
		if got := rec.keys(); got != all {
			t.Errorf("silence left %s", got)
		}
		if got := rec.failed(); !strings.Contains(got, "nobody is heard any more, and 2 were") {
			t.Errorf("silence was told as %q", got)
		}
		f.c.set(nil, false)
		time.Sleep(60 * time.Second)
		if got := rec.keys(); got != all {
			t.Errorf("after it have %s", got)
		}
		f.set("10.0.0.1:1")
		time.Sleep(time.Second)
		if got := rec.keys(); got != "10.0.0.1:1" {
			t.Errorf("after a farewell have %s", got)
		}
		f.set()
		cancel()
		done.Wait()
	})
}

func TestKeysChangeWhileItRunsAndStrangersAreCounted(t *testing.T) {
	now := time.Now()
	a := build(t, config(), "10.0.0.3:1", 1, 2)
	a.core = alone(now)
	other := say(1, 1, now)
	for _, tt := range []struct {
		key     byte
		cluster string
		want    string
	}{{3, "shop", unopened}, {1, "market", unopened}, {2, "shop", taken}, {2, "shop", repeated}} {
		before := a.Counters()[tt.want]
		a.hear(now, datagram{data: seal(testKey(tt.key), tt.cluster, other)})
		if got := a.Counters()[tt.want]; got != before+1 {
			t.Errorf("key %d, cluster %s: %v, want one more %s", tt.key, tt.cluster, a.Counters(), tt.want)
		}
	}
	for range 2 * opensMax {
		a.hear(now, datagram{data: []byte("noise")})
	}
	if got := a.Counters(); got[flooded] == 0 || got[unopened] > opensMax {
		t.Errorf("a flood: %v", got)
	}
}

// TestRealSocketsOfOneMachineHearEachOther: by multicast on the loopback interface, several on one port.
func TestRealSocketsOfOneMachineHearEachOther(t *testing.T) {
	for name, edit := range map[string]func(*Config){
		"multicast": func(*Config) {},
		"broadcast": func(c *Config) { c.Mode = broadcast },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config()
			cfg.Interfaces, cfg.Family, cfg.Port = []string{loopback(t)}, ipv4, freePort(t)
			edit(&cfg)
			ctx, cancel := context.WithCancel(t.Context())
			var done sync.WaitGroup
			defer done.Wait()
			defer cancel()
			addrs := []string{"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"}
			recs := make([]*recorder, len(addrs))
			for i, addr := range addrs {
				recs[i] = &recorder{}
				s := build(t, cfg, addr, 1)
				done.Go(func() { _ = s.Run(ctx, recs[i]) })
			}
			deadline := time.NewTimer(20 * time.Second)
			defer deadline.Stop()
			again := time.NewTicker(20 * time.Millisecond)
			defer again.Stop()
			for i, addr := range addrs {
				want := strings.Join(slices.DeleteFunc(slices.Clone(addrs), func(a string) bool { return a == addr }), " ")
				for recs[i].keys() != want {
					select {
					case <-again.C:
					case <-deadline.C:
						t.Fatalf("%s has %q, want %q; failures %s", addr, recs[i].keys(), want, recs[i].failed())
					}
				}
			}
		})
	}
}

func loopback(t *testing.T) string {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback != 0 {
			return i.Name
		}
	}
	t.Fatal("no loopback interface")
	return ""
}

func freePort(t *testing.T) int {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

func TestAnInterfaceThatIsNotThereIsToldByName(t *testing.T) {
	cfg := config()
	cfg.Interfaces, cfg.Port = []string{"nowhere0"}, freePort(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := discovery.Look(ctx, build(t, cfg, "10.0.0.1:1", 1))
	if err == nil || !strings.Contains(err.Error(), "nowhere0") || discovery.ClassOf(err) != discovery.NotFound {
		t.Errorf("got %v", err)
	}
}

func TestBadConfigurationNamesTheKey(t *testing.T) {
	for want, edit := range map[string]func(*Config){
		`mode: "anycast" is none`:        func(c *Config) { c.Mode = "anycast" },
		"interfaces: 65 entries":         func(c *Config) { c.Interfaces = make([]string, 65) },
		`interfaces[1]: "eth0" is empty`: func(c *Config) { c.Interfaces = []string{"eth0", "eth0"} },
		`family: "ipx" is none`:          func(c *Config) { c.Family = "ipx" },
		"port: 0 is not within":          func(c *Config) { c.Port = 0 },
		`group4: "10.0.0.1" is no`:       func(c *Config) { c.Group4 = "10.0.0.1" },
		`group6: "239.0.0.1" is no`:      func(c *Config) { c.Group6 = "239.0.0.1" },
		"hops: 0 is not within":          func(c *Config) { c.Hops = 0 },
		"hops: broadcast passes no":      func(c *Config) { c.Hops, c.Mode = 2, broadcast },
		"every: 10ms is not within":      func(c *Config) { c.Every = 10 * time.Millisecond },
	} {
		cfg := config()
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		edit(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
	if _, err := New(config(), discovery.Self{}, nil, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "keyring_file") {
		t.Errorf("without a key: %v", err)
	}
}
