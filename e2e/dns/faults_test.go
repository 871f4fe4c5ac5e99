package dns

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/starlingmesh/starling/cmd/starling/flock/flocktest"
	"github.com/starlingmesh/starling/discovery"
)

func TestMain(m *testing.M) {
	code, done, err := alone()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if done {
		os.Exit(code)
	}
	flocktest.Main(m)
}

const (
	grace = 2 * time.Second
	look  = 2 * time.Second // until the next answer: an interval of at most 1.2 s, and the time to ask
	// mended is until a source that failed is asked again: the backoff after a failure of three graces.
	mended = 10 * time.Second
)

// lasts is how long a fault lasts: long enough to lose everybody if silence could.
const lasts = 3 * grace

func TestServersThatSaySERVFAILLoseNoPeer(t *testing.T) {
	good := func(s *server) string { return s.file(zone(1, 1, pods(hosts(20)...)...)) }
	s := newServer(t, first+":"+port)
	s.serve(good(s))
	w := discover(t, config(s), grace)
	w.awaitOffered(look, at(hosts(20)...))

	s.serve(always("SERVFAIL"))
	w.awaitFailing(lasts, "SERVFAIL")
	w.awaitOffered(0, at(hosts(20)...))
	s.serve(good(s))
	w.awaitState(discovery.StateOK, mended)
	w.awaitOffered(look, at(hosts(20)...))
}

func TestOneNXDOMAINLosesNoPeer(t *testing.T) {
	good := func(s *server) string { return s.file(zone(1, 1, pods(hosts(20)...)...)) }
	s := newServer(t, first+":"+port)
	s.serve(good(s))
	const grace = 10 * time.Second // longer than one NXDOMAIN takes on the busiest machine
	w := discover(t, config(s), grace)
	w.awaitOffered(look, at(hosts(20)...))

	s.serve(always("NXDOMAIN"))
	w.awaitState(discovery.StateDoubtful, look)
	t.Log(w.health().HeldWhy)
	w.awaitOffered(0, at(hosts(20)...))
	s.serve(good(s))
	w.awaitState(discovery.StateOK, look)
	w.awaitLooks(2, 2*look)
	w.awaitOffered(0, at(hosts(20)...))
}

func TestNXDOMAINForGoodLosesNobodyWhomTheOverlaySees(t *testing.T) {
	s := newServer(t, first+":"+port)
	s.serve(s.file(zone(1, 1, pods(hosts(20)...)...)))
	w := discover(t, config(s), grace)
	w.awaitOffered(look, at(hosts(20)...))
	alive := at(hosts(20)...)[:15]
	w.alive(alive)

	s.serve(always("NXDOMAIN"))
	w.gone(at(hosts(20)...)[15:]...)
	// An answer that is confirmed counts: whom the overlay does not see goes. Whom it sees stays.
	w.awaitOffered(3*grace, alive)
	w.awaitLooks(4, 4*look)
	w.awaitOffered(0, alive)
}

func TestAnEmptyAnswerLosesNoPeer(t *testing.T) {
	s := newBIND(t, second+":"+port, zone(1, 1, pods(hosts(20)...)...))
	const grace = 10 * time.Second
	w := discover(t, config(s), grace)
	w.awaitOffered(look, at(hosts(20)...))

	s.update("update delete pods."+origin+" A", "update add pods."+origin+" 1 TXT nobody") // NOERROR without an address
	w.awaitState(discovery.StateDoubtful, look)
	if r, err := s.ask("pods."+origin, dns.TypeA, ""); err != nil || r.Rcode != dns.RcodeSuccess || len(r.Answer) != 0 {
		t.Fatalf("the server is to say that the name has no address, it says %v, %v", r, err)
	}
	w.awaitOffered(0, at(hosts(20)...))
	var back []string
	for _, h := range hosts(20) {
		back = append(back, "update add pods."+origin+" 1 A "+h)
	}
	s.update(back...)
	w.awaitState(discovery.StateOK, look)
	w.awaitOffered(0, at(hosts(20)...))
}

func TestAKilledAndAFrozenServerLoseNoPeer(t *testing.T) {
	s := newBIND(t, second+":"+port, zone(1, 1, pods(hosts(20)...)...))
	w := discover(t, config(s), grace)
	w.awaitOffered(look, at(hosts(20)...))

	s.kill()
	w.awaitFailing(lasts, "refused")
	w.awaitOffered(0, at(hosts(20)...))
	s.start()
	w.awaitState(discovery.StateOK, mended)

	s.freeze()
	w.awaitFailing(lasts, "timeout")
	w.awaitOffered(0, at(hosts(20)...))
	s.thaw()
	w.awaitState(discovery.StateOK, mended)
	w.awaitOffered(look, at(hosts(20)...))
}

func TestOneOfTwoServersMayFailAndChangesAreStillSeen(t *testing.T) {
	one := newCoreDNS(t, first+":"+port, always("SERVFAIL"))
	two := newBIND(t, second+":"+port, zone(1, 1, pods(hosts(19)...)...))
	w := discover(t, config(one, two), grace)
	w.awaitOffered(look, at(hosts(19)...))

	two.update("update add pods." + origin + " 1 A " + hosts(20)[19])
	w.awaitOffered(look, at(hosts(20)...))
	one.freeze() // now it costs a timeout each time
	w.awaitLooks(3, 3*look)
	one.kill()
	w.awaitLooks(3, 3*look)
	one.serve(always("NXDOMAIN")) // one says that there is nobody, one knows better
	w.awaitLooks(3, 3*look)
	if h := w.health(); h.State != discovery.StateOK || len(h.Failures) > 0 && h.Failures["unavailable"]+h.Failures["timeout"] > 0 {
		t.Errorf("the source is %s, with failures %v", h.State, h.Failures)
	}
	two.kill() // now one says that there is nobody, and one could not be asked
	w.awaitFailing(lasts, "refused")
	w.awaitOffered(0, at(hosts(20)...))
}

func TestAServerThatDropsAndTruncatesLosesNoPeer(t *testing.T) {
	// erratic gives every name these two.
	erratic := []string{"192.0.2.53:" + podPort, "[2001:db8::53]:" + podPort}
	s := newCoreDNS(t, first+":"+port, "erratic {\n  drop 3\n  truncate 1\n }")
	w := discover(t, config(s), grace)
	w.awaitOffered(5*look, erratic)
	w.playOn(lasts)
	w.awaitOffered(0, erratic)
	h := w.health()
	t.Logf("%d answers, %v failures", h.Observations, h.Failures)
	if h.Observations == 0 {
		t.Error("nothing came through")
	}
}
