package dns

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/discovery/discoverytest"
)

func mustNew(t *testing.T, cfg Config) *DNS {
	t.Helper()
	d, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// look plays one round and returns its kind, and the addresses, sorted.
func look(t *testing.T, d *DNS) (kind string, addrs []string, err error) {
	t.Helper()
	r := d.look(t.Context())
	var cands []discovery.Candidate
	switch o := r.Seen.(type) {
	case nil:
		kind = "nothing"
	case discovery.Complete:
		kind, cands = "complete", o.Candidates
	case discovery.Partial:
		kind, cands = "partial", o.Candidates
	}
	for _, c := range cands {
		addrs = append(addrs, strings.Join(c.Addrs, "+"))
	}
	slices.Sort(addrs)
	return kind, addrs, r.Err
}

func wantLook(t *testing.T, d *DNS, kind, addrs, errPart string) {
	t.Helper()
	k, a, err := look(t, d)
	if k != kind || strings.Join(a, " ") != addrs {
		t.Errorf("have %s %v (%v), want %s %s", k, a, err, kind, addrs)
	}
	if errPart == "" && err != nil || errPart != "" && (err == nil || !strings.Contains(err.Error(), errPart)) {
		t.Errorf("error %v, want %q", err, errPart)
	}
}

func ips(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("10.0.%d.%d", i/250, 1+i%250))
	}
	return out
}

func TestContractWithAddresses(t *testing.T) {
	discoverytest.Run(t, func(t *testing.T) discoverytest.Harness {
		s := newServer(t)
		d := mustNew(t, testConfig(s))
		return discoverytest.Harness{
			Strategy: d, Refresh: d.Refresh,
			Set: func(addrs ...string) {
				var data []string
				for _, a := range addrs {
					data = append(data, netip.MustParseAddrPort(a).Addr().String())
				}
				s.set("mesh.example.", "A", data...)
			},
			Break:     func(way int) { s.setMode(mode(1 + way)) },
			BreakWays: int(modes) - 1,
			Mend:      func() { s.setMode(well) },
		}
	})
}

func TestContractWithServices(t *testing.T) {
	discoverytest.Run(t, func(t *testing.T) discoverytest.Harness {
		s := newServer(t)
		cfg := testConfig(s)
		cfg.Names = []string{"_mesh._tcp.example."}
		d := mustNew(t, cfg)
		return discoverytest.Harness{
			Strategy: d, Refresh: d.Refresh,
			Set: func(addrs ...string) {
				var data []string
				for i, a := range addrs {
					target := fmt.Sprintf("pod-%d.example.", i)
					ap := netip.MustParseAddrPort(a)
					s.set(target, "A", ap.Addr().String())
					data = append(data, fmt.Sprintf("0 50 %d %s", ap.Port(), target))
				}
				s.set("_mesh._tcp.example.", "SRV", data...)
			},
			Break: func(int) { s.setMode(servfail) }, BreakWays: 1,
			Mend: func() { s.setMode(well) },
		}
	})
}

func TestAAndAAAATogether(t *testing.T) {
	s := newServer(t)
	s.set("mesh.example.", "A", "10.0.0.1", "10.0.0.2")
	s.set("mesh.example.", "AAAA", "fd00::1")
	for family, want := range map[string]string{
		auto: "10.0.0.1:7000 10.0.0.2:7000 [fd00::1]:7000", ipv4: "10.0.0.1:7000 10.0.0.2:7000", ipv6: "[fd00::1]:7000",
	} {
		cfg := testConfig(s)
		cfg.Family = family
		wantLook(t, mustNew(t, cfg), "complete", want, "")
	}
	cfg := testConfig(s)
	cfg.Type = type4A
	wantLook(t, mustNew(t, cfg), "complete", "[fd00::1]:7000", "")
}

func TestCNAMEsAreFollowed(t *testing.T) {
	s := newServer(t)
	s.set("mesh.example.", "CNAME", "real.example.")
	s.set("real.example.", "A", "10.0.0.1")
	wantLook(t, mustNew(t, testConfig(s)), "complete", "10.0.0.1:7000", "")
}

func TestAnAliasThatTheServerDoesNotResolveIsNotNobody(t *testing.T) {
	s := newServer(t)
	s.set("mesh.example.", "CNAME", "real.example.")
	s.set("real.example.", "A", "10.0.0.1")
	s.edit(func() { s.aliases = true })
	d := mustNew(t, testConfig(s))
	wantLook(t, d, "complete", "10.0.0.1:7000", "") // we follow it ourselves
	s.set("real.example.", "A")
	wantLook(t, d, "complete", "", "") // the server says so of the alias
	s.set("real.example.", "CNAME", "mesh.example.")
	wantLook(t, d, "nothing", "", "more than 8 aliases")
}

func TestTheWholeAnswerOfTheNextServerBeatsOneThatWasCutShort(t *testing.T) {
	one, two := newServer(t), newServer(t)
	one.set("mesh.example.", "A", ips(200)...)
	two.set("mesh.example.", "A", ips(200)...)
	one.setTCPDown(true)
	d := mustNew(t, testConfig(one, two))
	if kind, addrs, err := look(t, d); kind != "complete" || len(addrs) != 200 || err != nil {
		t.Errorf("have %s of %d (%v), want complete of 200", kind, len(addrs), err)
	}
	two.setMode(servfail)
	if kind, addrs, err := look(t, d); kind != "partial" || len(addrs) == 0 || err != nil {
		t.Errorf("have %s of %d (%v), want a part, for want of better", kind, len(addrs), err)
	}
}

func TestATruncatedAnswerIsFetchedOverTCP(t *testing.T) {
	s := newServer(t)
	s.set("mesh.example.", "A", ips(200)...)
	cfg := testConfig(s)
	kind, addrs, err := look(t, mustNew(t, cfg))
	if kind != "complete" || len(addrs) != 200 || err != nil {
		t.Errorf("have %s of %d (%v), want complete of 200", kind, len(addrs), err)
	}
	s.setTCPDown(true)
	if kind, addrs, _ := look(t, mustNew(t, cfg)); kind == "complete" || len(addrs) == 0 || len(addrs) >= 200 {
		t.Errorf("have %s of %d, want a part: the rest is unknown", kind, len(addrs))
	}
}

func TestTCPAlone(t *testing.T) {
	s := newServer(t)
	s.set("mesh.example.", "A", ips(200)...)
	cfg := testConfig(s)
	cfg.Transport = tcp
	kind, addrs, _ := look(t, mustNew(t, cfg))
	if kind != "complete" || len(addrs) != 200 || strings.Contains(s.questions(), "udp") {
		t.Errorf("have %s of %d, want complete of 200 without udp", kind, len(addrs))
	}
}

func TestThreeOutcomes(t *testing.T) {
	one, two := newServer(t), newServer(t)
	cfg := testConfig(one, two)
	one.set("mesh.example.", "A", "10.0.0.1")
	two.set("mesh.example.", "A", "10.0.0.1")
	d := mustNew(t, cfg)

	wantLook(t, d, "complete", "10.0.0.1:7000", "")
	one.setMode(servfail)
	wantLook(t, d, "complete", "10.0.0.1:7000", "") // the other knows
	two.setMode(drops)
	wantLook(t, d, "nothing", "", "mesh.example.") // nobody could say
	two.setMode(well)
	two.set("mesh.example.", "A")
	wantLook(t, d, "nothing", "", "SERVFAIL") // one says no such name, the other might know better
	one.setMode(well)
	one.set("mesh.example.", "A")
	wantLook(t, d, "complete", "", "") // all say that there is nobody
}

func TestALostPacketIsAskedAgain(t *testing.T) {
	s := newServer(t)
	s.set("mesh.example.", "A", "10.0.0.1")
	d := mustNew(t, testConfig(s))
	d.client = &losing{client: d.client}
	wantLook(t, d, "complete", "10.0.0.1:7000", "")
}

// losing loses the first answer to each question.
type losing struct {
	client
	seen [1 << 16]bool
}

func (l *losing) ask(ctx context.Context, server, name string, k kind) (answer, error) {
	if !l.seen[k] {
		l.seen[k] = true
		return answer{}, context.DeadlineExceeded
	}
	return l.client.ask(ctx, server, name, k)
}

func TestAllServersAreAskedIfSoConfigured(t *testing.T) {
	one, two := newServer(t), newServer(t)
	one.set("mesh.example.", "A", "10.0.0.1", "10.0.0.2")
	two.set("mesh.example.", "A", "10.0.0.2", "10.0.0.3")
	cfg := testConfig(one, two)
	cfg.AllServers = true
	wantLook(t, mustNew(t, cfg), "complete", "10.0.0.1:7000 10.0.0.2:7000 10.0.0.3:7000", "")
	two.setMode(servfail)
	wantLook(t, mustNew(t, cfg), "partial", "10.0.0.1:7000 10.0.0.2:7000", "SERVFAIL")
}

func TestSeveralNamesAreOnePicture(t *testing.T) {
	s := newServer(t)
	s.set("mesh.example.", "A", "10.0.0.1")
	s.set("_mesh._tcp.example.", "SRV", "10 5 7001 pod.example.")
	s.set("pod.example.", "A", "10.0.0.2")
	cfg := testConfig(s)
	cfg.Names = []string{"mesh.example.", "_mesh._tcp.example.", "gone.example."}
	wantLook(t, mustNew(t, cfg), "complete", "10.0.0.1:7000 10.0.0.2:7001", "")
}

func TestServices(t *testing.T) {
	s := newServer(t)
	s.set("_mesh._tcp.example.", "SRV", "10 5 7001 Pod-0.example.", "20 5 7002 pod-1.example.", "0 0 1 .", "0 0 7003 ghost.example.")
	s.set("pod-0.example.", "A", "10.0.0.1")
	s.set("pod-0.example.", "AAAA", "fd00::1")
	s.set("pod-1.example.", "A", "10.0.0.2")
	s.set("Pod-0.example.", "A", "10.0.0.1") // glue under the target as it is written
	s.set("Pod-0.example.", "AAAA", "fd00::1")
	cfg := testConfig(s)
	cfg.Names = []string{"_mesh._tcp.example."}
	cfg.Port = 0
	for _, noGlue := range []bool{false, true} {
		s.edit(func() { s.noGlue, s.asked = noGlue, nil })
		found, err := discovery.Look(t.Context(), mustNew(t, cfg))
		if err != nil || found.Kind != "complete" || len(found.Candidates) != 2 {
			t.Fatalf("no glue %v: have %+v, %v", noGlue, found, err)
		}
		c := found.Candidates[0]
		if c.Key != "pod-0.example:7001" || c.Host != "pod-0.example" || c.Labels["srv_priority"] != "10" || c.Labels["srv_weight"] != "5" ||
			!slices.Equal(c.Addrs, []string{"10.0.0.1:7001", "[fd00::1]:7001"}) {
			t.Errorf("no glue %v: have %+v", noGlue, c)
		}
		if len(found.Skipped) != 1 || found.Skipped[0].What != "ghost.example:7003" {
			t.Errorf("skipped %v, want the target without address", found.Skipped)
		}
		if asked := strings.Contains(s.questions(), "pod-1.example. A"); asked != noGlue {
			t.Errorf("no glue %v, but the target was asked for: %v", noGlue, asked)
		}
	}
}

func TestAPodThatReturnsWithAnotherAddressKeepsItsKey(t *testing.T) {
	s := newServer(t)
	s.set("_mesh._tcp.example.", "SRV", "0 0 7000 pod-0.example.")
	cfg := testConfig(s)
	cfg.Names = []string{"_mesh._tcp.example."}
	for _, ip := range []string{"10.0.0.1", "10.0.0.9"} {
		s.set("pod-0.example.", "A", ip)
		found, err := discovery.Look(t.Context(), mustNew(t, cfg))
		if err != nil || found.Candidates[0].Key != "pod-0.example:7000" || found.Candidates[0].Addrs[0] != ip+":7000" {
			t.Errorf("have %+v, %v", found, err)
		}
	}
}

func TestManyServicesWarnOnce(t *testing.T) {
	s := newServer(t)
	var data []string
	for i := range 520 {
		target := fmt.Sprintf("p%d.example.", i)
		s.set(target, "A", fmt.Sprintf("10.1.%d.%d", i/250, 1+i%250))
		data = append(data, "0 0 7000 "+target)
	}
	s.set("_mesh._tcp.example.", "SRV", data...)
	cfg := testConfig(s)
	cfg.Names = []string{"_mesh._tcp.example."}
	cfg.Timeout = 2 * time.Second
	var out bytes.Buffer
	d, err := New(cfg, slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if kind, addrs, err := look(t, d); kind != "complete" || len(addrs) != 520 {
			t.Fatalf("have %s of %d (%v), want complete of 520", kind, len(addrs), err)
		}
	}
	if n := strings.Count(out.String(), "comes near the most"); n != 1 {
		t.Errorf("warned %d times, want once: %s", n, out.String())
	}
}

func TestSearchGoesOnPastAFailureButTellsOnlyAPart(t *testing.T) {
	d := mustNew(t, testConfig(newServer(t)))
	d.cfg.Names = []string{"mesh"}
	d.cfg.Nameservers, d.cfg.Search, d.cfg.Ndots = []string{"127.0.0.1"}, []string{"broken.example"}, 5
	d.client = brokenDomain{}
	wantLook(t, d, "partial", "10.0.0.1:7000", "broken.example")
	wantLook(t, d, "complete", "10.0.0.1:7000", "") // from now on it is asked first where it was
}

func TestAKnownNameIsNotSearchedForAgainUntilItIsGone(t *testing.T) {
	s := newServer(t)
	s.set("mesh.two.example.", "A", "10.0.0.1")
	cfg := testConfig(s)
	cfg.Names, cfg.Search, cfg.Ndots, cfg.Type = []string{"mesh"}, []string{"one.example", "two.example", "three.example"}, 5, typeA
	d := mustNew(t, cfg)
	for _, want := range []string{"mesh.one.example. A,udp mesh.two.example. A", "mesh.two.example. A"} {
		s.edit(func() { s.asked = nil })
		wantLook(t, d, "complete", "10.0.0.1:7000", "")
		if asked := strings.ReplaceAll(s.questions(), "\n", ","); asked != "udp "+want {
			t.Errorf("asked %s, want %s", asked, want)
		}
	}
	s.set("mesh.two.example.", "A")
	s.set("mesh.three.example.", "A", "10.0.0.3", "10.0.0.4")
	wantLook(t, d, "complete", "10.0.0.3:7000 10.0.0.4:7000", "")
	d.cfg.Search = []string{"one.example"} // the file changed
	wantLook(t, d, "complete", "", "")
}

type brokenDomain struct{}

func (brokenDomain) ask(_ context.Context, _, name string, k kind) (answer, error) {
	switch {
	case strings.Contains(name, "broken"):
		return answer{}, fmt.Errorf("ask for %s: SERVFAIL", name)
	case k == kindA:
		return answer{addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}, nil
	default:
		return answer{}, nil
	}
}

func TestAServerFromBeforeEDNS(t *testing.T) {
	s := newServer(t)
	s.set("mesh.example.", "A", ips(100)...)
	s.edit(func() { s.oldUDP = true })
	kind, addrs, err := look(t, mustNew(t, testConfig(s)))
	if kind != "complete" || len(addrs) != 100 || err != nil {
		t.Errorf("have %s of %d (%v), want complete of 100", kind, len(addrs), err)
	}
}
