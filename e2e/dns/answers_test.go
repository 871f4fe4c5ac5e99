package dns

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/starlingmesh/starling/discovery"
)

func TestATruncatedAnswerOfTwoHundredIsFetchedByTCP(t *testing.T) {
	s := newServer(t, first+":"+port)
	s.serve(s.file(zone(1, 1, pods(hosts(200)...)...)))
	for _, how := range []string{"", "tcp"} {
		r, err := s.ask("pods."+origin, dns.TypeA, how)
		if err != nil || r.Truncated != (how == "") {
			t.Fatalf("the server is to cut its answer short by udp, and only there: %v, %v", r, err)
		}
		t.Logf("by %s: %d of 200 addresses, cut short: %v", cmp.Or(how, "udp"), len(r.Answer), r.Truncated)
	}
	w := discover(t, config(s), grace)
	w.awaitOffered(look, at(hosts(200)...))
	w.playOn(lasts)
	w.awaitOffered(0, at(hosts(200)...))
}

func TestSampledAnswersLoseNobodyAndFindAll(t *testing.T) {
	for _, tt := range []struct{ size, of int }{{8, 20}, {8, 60}, {8, 9}, {1, 5}} {
		t.Run(fmt.Sprintf("%d of %d", tt.size, tt.of), func(t *testing.T) {
			s := newPowerDNS(t, first+":"+port, zone(1, 1, sample("pods", tt.size, tt.of)))
			all := map[string]bool{}
			for range 3 {
				r, err := s.ask("pods."+origin, dns.TypeA, "")
				if err != nil || len(r.Answer) != tt.size {
					t.Fatalf("the server is to give %d: %v, %v", tt.size, r, err)
				}
				for _, rr := range r.Answer {
					all[rr.(*dns.A).A.String()] = true
				}
			}
			t.Logf("three answers of the server have %d of %d", len(all), tt.of)
			cfg := config(s)
			cfg.MinRefresh, cfg.MaxRefresh = 100*time.Millisecond, 200*time.Millisecond
			w := discover(t, cfg, grace)
			w.awaitOffered(10*time.Second, at(hosts(tt.of)...)) // with 1 of 5 it takes 11 looks on average, with 8 of 60 33
			t.Logf("after %d looks", w.health().Observations)
			w.playOn(lasts)
			w.awaitOffered(0, at(hosts(tt.of)...))
		})
	}
}

func TestALiveChangeIsSeenWithinTheTTLAndItsJitter(t *testing.T) {
	const ttl = 3
	bound := ttl*time.Second*12/10 + time.Second // the Manager gathers for 100 ms, and the servers are asked
	s := newBIND(t, second+":"+port, zone(ttl, 1, pods(hosts(5)...)...))
	cfg := config(s)
	cfg.MaxRefresh = 30 * time.Second // the TTL alone decides
	w := discover(t, cfg, grace)
	w.awaitOffered(bound, at(hosts(5)...))
	name := "pods." + origin
	for i := 5; i < 8; i++ {
		s.update(fmt.Sprintf("update add %s %d A %s", name, ttl, hosts(8)[i]))
		w.awaitOffered(bound, at(hosts(i+1)...))
	}
	w.gone(at(hosts(1)...)...)
	s.update("update delete " + name + " A " + hosts(1)[0])
	w.awaitOffered(bound+grace, at(hosts(8)[1:]...)) // the overlay does not see it either
}

func TestThatThereIsNobodyIsAskedAgainAfterTheNegativeTTL(t *testing.T) {
	const negative = 3
	s := newBIND(t, second+":"+port, zone(1, negative))
	cfg := config(s)
	cfg.MaxRefresh = 30 * time.Second
	w := discover(t, cfg, grace)
	w.awaitLooks(1, look)
	for range 3 {
		before := w.health().LastSuccess
		w.awaitLooks(1, negative*time.Second*12/10)
		gap := w.health().LastSuccess.Sub(before)
		t.Logf("%v between two looks, the negative ttl is %d s", gap.Round(time.Millisecond), negative)
		if gap < negative*time.Second*7/10 { // 20 % is jitter, the rest the time an answer takes
			t.Errorf("asked again after %v", gap)
		}
	}
	s.update("update add pods." + origin + " 1 A " + hosts(1)[0])
	w.awaitOffered(negative*time.Second*12/10+time.Second, at(hosts(1)...))
}

func TestServicesWithAndWithoutTheirAddresses(t *testing.T) {
	const n = 100
	var records []string
	for i, h := range hosts(n) {
		records = append(records, fmt.Sprintf("_starling._tcp IN SRV 10 %d %d pod-%d", i, 7000+i, i), fmt.Sprintf("pod-%d IN A %s", i, h))
	}
	var want []string
	for i, h := range hosts(n) {
		want = append(want, fmt.Sprintf("%s:%d", h, 7000+i))
	}
	with := newServer(t, first+":"+port)
	with.serve(with.file(zone(1, 1, records...)))
	for what, s := range map[string]*server{
		"with":    with,
		"without": newBIND(t, second+":"+port, zone(1, 1, records...), "minimal-responses yes;"),
	} {
		r, err := s.ask("_starling._tcp."+origin, dns.TypeSRV, "tcp")
		if err != nil || len(r.Answer) != n || (len(r.Extra) > n) != (what == "with") {
			t.Fatalf("%s: %v, %v", what, r, err)
		}
		t.Logf("%s: %d records, and %d beside them", what, len(r.Answer), len(r.Extra)-1) // one is EDNS
		t.Run(what, func(t *testing.T) {
			cfg := config(s)
			cfg.Names = []string{"_starling._tcp." + origin}
			w := discover(t, cfg, grace)
			w.awaitOffered(2*look, want)
			c := w.Snapshot().Find("pod-42.")[0]
			if c.Key != "pod-42.mesh.example:7042" || c.Labels["srv_priority"] != "10" || c.Labels["srv_weight"] != "42" {
				t.Errorf("have %+v", c.Candidate)
			}
		})
	}
}

func TestWhatIsAskedByTLSIsVerified(t *testing.T) {
	ours, others := newAuthority(t), newAuthority(t)
	s := newServer(t, first+":"+port)
	tlsServe := func(a *authority) {
		t.Helper()
		s.serve("tls "+strings.Join(a.sign("dns.example"), " "), s.file(zone(1, 1, pods(hosts(200)...)...)))
	}
	s.from = func() *dns.Client { return ours.client("dns.example") }
	tlsServe(ours)
	cfg := config(s)
	cfg.Transport, cfg.TLSName, cfg.TLSCA = "tls", "dns.example", ours.file
	w := discover(t, cfg, grace)
	w.awaitOffered(look, at(hosts(200)...))

	s.from = func() *dns.Client { return others.client("dns.example") }
	tlsServe(others) // somebody else answers
	w.awaitFailing(lasts, "certificate")
	w.awaitOffered(0, at(hosts(200)...))
	s.from = func() *dns.Client { return ours.client("dns.example") }
	tlsServe(ours)
	w.awaitState(discovery.StateOK, mended)

	cfg.TLSName = "another.example"
	wrong := discover(t, cfg, grace)
	wrong.awaitFailing(0, "not another.example")
	if n := len(wrong.Snapshot().Candidates); n > 0 {
		t.Errorf("%d are offered on the word of a server with another name", n)
	}
}

func TestResolvConfMayChangeOnDisk(t *testing.T) {
	// resolv.conf knows no ports.
	one := newBIND(t, first+":53", zone(1, 1, pods(hosts(10)...)...))
	two := newServer(t, second+":53")
	two.serve(two.file(zone(1, 1, pods(hosts(12)...)...)))
	cfg := config()
	cfg.Names = []string{"pods"}
	conf := one.write("resolv.conf", "search mesh.example\nnameserver "+first+"\n")
	cfg.ResolvConf = conf
	w := discover(t, cfg, grace)
	w.awaitOffered(look, at(hosts(10)...))

	one.kill()
	w.awaitFailing(0, "refused")
	w.awaitOffered(0, at(hosts(10)...))
	one.write("resolv.conf", "# in the middle of being written\n")
	w.awaitFailing(lasts, "refused")
	w.awaitOffered(0, at(hosts(10)...))
	one.write("resolv.conf", "nameserver "+second+"\nsearch other.example mesh.example\noptions ndots:3\n")
	w.awaitOffered(mended, at(hosts(12)...))
	w.awaitState(discovery.StateOK, look)
	if first := slices.IndexFunc(w.Snapshot().Candidates, func(c discovery.Explained) bool { return c.Host != "pods.mesh.example" }); first >= 0 {
		t.Errorf("have %+v", w.Snapshot().Candidates[first])
	}
}
