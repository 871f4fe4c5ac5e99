package dns

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlingmesh/starling/discovery"
)

func TestBadConfigurationNamesTheKey(t *testing.T) {
	for want, edit := range map[string]func(*Config){
		"names: 0 entries":               func(c *Config) { c.Names = nil },
		`names[0]: "a b" is not`:         func(c *Config) { c.Names = []string{"a b"} },
		"is an address, not a name":      func(c *Config) { c.Names = []string{"10.0.0.1"} },
		`type: "mx" is none of`:          func(c *Config) { c.Type = "mx" },
		"port: 0 is not within":          func(c *Config) { c.Port = 0 },
		`nameservers[0]: "ns.example" i`: func(c *Config) { c.Nameservers = []string{"ns.example"} },
		"resolv_conf: is empty":          func(c *Config) { c.ResolvConf = "" },
		"ndots: 99":                      func(c *Config) { c.Ndots = 99 },
		`transport: "doh"`:               func(c *Config) { c.Transport = "doh" },
		"tls_name: is for transport tls": func(c *Config) { c.TLSName = "x" },
		"tls_ca: is for transport tls":   func(c *Config) { c.TLSCA = "x" },
		"timeout: 0s":                    func(c *Config) { c.Timeout = 0 },
		"attempts: 0":                    func(c *Config) { c.Attempts = 0 },
		"edns_size: 9000":                func(c *Config) { c.EDNSSize = 9000 },
		"min_refresh: 0s":                func(c *Config) { c.MinRefresh = 0 },
		"max_refresh: 1s":                func(c *Config) { c.MaxRefresh = time.Second },
		`family: "ipx"`:                  func(c *Config) { c.Family = "ipx" },
		`sampling: "maybe"`:              func(c *Config) { c.Sampling = "maybe" },
		"keep: 1s":                       func(c *Config) { c.Keep = time.Second },
	} {
		cfg := Default()
		cfg.Names, cfg.Port = []string{"mesh.example"}, 7000
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		edit(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}

func TestResolvConfIsReadAgain(t *testing.T) {
	one, two := newServer(t), newServer(t)
	one.set("mesh.ns.svc.cluster.local.", "A", "10.0.0.1")
	two.set("mesh.ns.svc.cluster.local.", "A", "10.0.0.2")
	path := filepath.Join(t.TempDir(), "resolv.conf")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// resolv.conf has no ports, so the servers come from the configuration and
	// the rest from the file; that the file's servers count is tested below.
	cfg := testConfig(one)
	cfg.Names, cfg.ResolvConf = []string{"mesh.ns"}, path
	write("search other.example svc.cluster.local\noptions ndots:5\n")
	d := mustNew(t, cfg)
	wantLook(t, d, "complete", "10.0.0.1:7000", "")
	if q := one.questions(); !strings.HasPrefix(q, "udp mesh.ns.other.example.") {
		t.Errorf("asked %s, want the search domains first", q)
	}
	write("search other.example\n")
	wantLook(t, d, "complete", "", "")

	cfg.Nameservers = nil
	write("nameserver 127.0.0.7\nnameserver ::1\n")
	r, err := readResolv(cfg)
	if err != nil || strings.Join(r.servers, " ") != "127.0.0.7:53 [::1]:53" {
		t.Errorf("have %v, %v", r.servers, err)
	}
	cfg.Transport = tls
	if r, _ = readResolv(cfg); r.servers[0] != "127.0.0.7:853" {
		t.Errorf("have %v, want the port of dns over tls", r.servers)
	}
	write("# nothing\n")
	cfg.ResolvConf = path + ".not"
	if _, err := readResolv(cfg); discovery.ClassOf(err) != discovery.Misconfigured {
		t.Errorf("got %v, want it to be a matter of configuration", err)
	}
}

func TestTTLs(t *testing.T) {
	s := newServer(t)
	s.set("mesh.example.", "A", "10.0.0.1")
	s.edit(func() { s.ttl = 5 })
	d := mustNew(t, testConfig(s))
	if got := d.look(t.Context()).TTL; got != 5*time.Second {
		t.Errorf("ttl %v, want that of the record (an empty AAAA does not count)", got)
	}
	s.set("mesh.example.", "A")
	if got := d.look(t.Context()).TTL; got != 7*time.Second {
		t.Errorf("ttl %v of no such name, want the least of the SOA's", got)
	}
	s.edit(func() { s.ttl = 0 })
	s.set("mesh.example.", "A", "10.0.0.1")
	if got := d.look(t.Context()).TTL; got <= 0 || got > time.Second {
		t.Errorf("ttl %v, want something short for 0", got)
	}
}

func TestSamplesAreAPartByThemselves(t *testing.T) {
	s := newServer(t)
	s.set("mesh.example.", "A", ips(20)...)
	s.edit(func() { s.sample = 8 })
	d := mustNew(t, testConfig(s))
	seen := map[string]bool{}
	for round := range 40 {
		kind, addrs, err := look(t, d)
		if err != nil || len(addrs) != 8 {
			t.Fatalf("have %v, %v", addrs, err)
		}
		if round > 0 && kind != "partial" {
			t.Errorf("round %d: a sample passes for %s", round, kind)
		}
		for _, a := range addrs {
			seen[a] = true
		}
	}
	if len(seen) != 20 {
		t.Errorf("saw %d, want all 20", len(seen))
	}
	s.edit(func() { s.sample = 0 })
	kind := ""
	for range sampledRounds + goneMax + 2 {
		kind, _, _ = look(t, d)
	}
	if kind != "complete" {
		t.Errorf("a steady answer stays %s", kind)
	}
}

func TestMembersThatComeBackBetrayASample(t *testing.T) {
	s, all := &sampler{}, ips(20)
	late := 0
	for i := range 40 { // 18 of 20: too few change in a round to tell from one
		if !s.see(slices.Concat(all, all)[i*7%20 : i*7%20+18]) {
			late++
		}
	}
	if late > 4 {
		t.Errorf("%d of 40 samples passed for the whole", late)
	}
}

func TestASampleOfOneIsASample(t *testing.T) {
	s, all := &sampler{}, ips(5)
	late := 0
	for i := range 40 {
		if !s.see(all[i*3%5 : i*3%5+1]) {
			late++
		}
	}
	if late > 1 {
		t.Errorf("%d of 40 answers with one of five passed for the whole, want the first alone", late)
	}
}

func TestARollingUpdateIsNotTakenForASample(t *testing.T) {
	s, all := &sampler{}, ips(40)
	late := 0
	for i := range 30 {
		if s.see(all[i : i+10]) { // one replaced at a time
			late++
		}
	}
	if late != 0 {
		t.Errorf("%d rounds of an ordinary update passed for samples", late)
	}
}
