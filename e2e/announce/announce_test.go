package announce

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/starlingmesh/starling/cmd/starling/flock"
	"github.com/starlingmesh/starling/cmd/starling/flock/flocktest"
	"github.com/starlingmesh/starling/e2e/netns"
	"github.com/starlingmesh/starling/overlay/keys"
)

func TestMain(m *testing.M) {
	if err := netns.Prepare(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	flocktest.Main(m)
}

const (
	found = 5 * time.Second  // without any contact
	heal  = 11 * time.Second // 10 s and a second of discovery
)

// segment is some hosts at one switch, a bird each.
type segment struct {
	t     *testing.T
	hosts map[string]*netns.Host
	opts  flock.Options
}

// newSegment is one of so many birds whose source has the given options. The last strangers of them have another key.
func newSegment(t *testing.T, birds, strangers int, source string) *segment {
	t.Helper()
	n := netns.New(t)
	n.Switch("hall")
	s := &segment{t: t, hosts: map[string]*netns.Host{}}
	for i := 1; i <= birds; i++ {
		name := fmt.Sprintf("bird-%d", i)
		s.hosts[name] = n.Host(name, "hall", fmt.Sprintf("10.77.0.%d/24", i), fmt.Sprintf("fd77::%d/64", i))
	}
	other := keys.New().Reveal()
	s.opts = flock.Options{
		Birds: birds, NoApps: true,
		Wrap: func(name string) []string { return s.hosts[name].Enter() },
		Change: func(name string, c *flock.Settings) {
			i, err := strconv.Atoi(strings.TrimPrefix(name, "bird-"))
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			c.Listen = fmt.Sprintf("'10.77.0.%d:7827'", i)
			if strings.Contains(source, "ipv6") {
				c.Listen = fmt.Sprintf("'[fd77::%d]:7827'", i)
			}
			c.Sources = "[{kind: announce, every: 1s" + source + "}]"
			c.Rest = flocktest.HTTP
			if i > birds-strangers {
				c.Security = fmt.Sprintf("{key: %s}", other)
			}
		},
	}
	return s
}

var probesAddr = regexp.MustCompile(`msg="probes and metrics" addr=(\S+)`)

// metric reads one of a bird's, at its host.
func (s *segment) metric(b *flock.Bird, name string) float64 {
	s.t.Helper()
	log, err := os.ReadFile(b.LogFile())
	if err != nil {
		s.t.Fatal(err)
	}
	at := probesAddr.FindAllSubmatch(log, -1)
	if at == nil {
		s.t.Fatalf("%s does not say where its metrics are:\n%s", b.Name, log)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
		err = s.hosts[b.Name].Do(func() (err error) {
			conn, err = (&net.Dialer{}).DialContext(ctx, network, addr)
			return err
		})
		return conn, err
	}}}
	res, err := client.Get("http://" + string(at[len(at)-1][1]) + "/metrics")
	if err != nil {
		s.t.Fatalf("%s: %v", b.Name, err)
	}
	defer func() { _ = res.Body.Close() }()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return v
		}
	}
	return 0
}

func (s *segment) counter(b *flock.Bird, what string) float64 {
	return s.metric(b, fmt.Sprintf(`starling_discovery_strategy_total{source="announce",what=%q}`, what))
}

func (s *segment) candidates(b *flock.Bird) float64 {
	return s.metric(b, `starling_discovery_candidates{source="announce"}`)
}

func TestFourFindEachOtherWithoutAnyContact(t *testing.T) {
	for _, mode := range []string{"multicast", "broadcast"} {
		for _, family := range []string{"ipv4", "ipv6"} {
			t.Run(mode+"/"+family, func(t *testing.T) {
				s := newSegment(t, 4, 0, fmt.Sprintf(", mode: %s, family: %s", mode, family))
				began := time.Now()
				w := flocktest.Started(t, s.opts)
				w.Took("four are one cluster", began, found)
				w.Await("each hears the three others", found, func() error {
					for _, b := range w.Birds() {
						if got := s.candidates(b); got != 3 {
							return fmt.Errorf("%s has %v", b.Name, got)
						}
					}
					return nil
				})
			})
		}
	}
}

func TestWhoHasAnotherKeyIsIgnoredAndCounted(t *testing.T) {
	s := newSegment(t, 5, 1, "")
	w := flocktest.New(t, s.opts)
	if err := w.Start(w.Patience(found)); err != nil {
		t.Fatal(err)
	}
	for _, b := range w.Birds() {
		w.Serve(b, flock.EchoMethod, flocktest.Echo)
	}
	stranger := w.Bird(5)
	w.Await("four are one cluster", found, func() error { return w.Complete(4, stranger) })
	w.Await("the stranger's packets are counted", found, func() error {
		for _, b := range w.Except(stranger) {
			if got := s.counter(b, "unopened"); got < 3 {
				return fmt.Errorf("%s has counted %v", b.Name, got)
			}
			if got := s.candidates(b); got != 3 {
				return fmt.Errorf("%s has %v candidates", b.Name, got)
			}
		}
		return nil
	})
	if got := s.candidates(stranger); got != 0 {
		t.Errorf("the stranger has %v candidates", got)
	}
}

func TestReplaysKeepNobody(t *testing.T) {
	s := newSegment(t, 4, 0, ", family: ipv4")
	group := &net.UDPAddr{IP: net.ParseIP("239.255.78.27"), Port: 7827}
	// Somebody at the first bird's host listens to all, and repeats what the fourth says.
	var spy, mouth *net.UDPConn
	err := s.hosts["bird-1"].Do(func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		if spy, err = net.ListenMulticastUDP("udp4", eth0, group); err != nil {
			return err
		}
		mouth, err = net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP("10.77.0.1")}, group)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = spy.Close(); _ = mouth.Close() }()
	w := flocktest.Started(t, s.opts)
	victim, witness := w.Bird(4), w.Bird(2)
	w.Await("all are offered", found, func() error {
		if got := s.candidates(witness); got != 3 {
			return fmt.Errorf("%v are", got)
		}
		return nil
	})
	var said [][]byte
	w.Await("some of its packets are caught", found, func() error {
		buf := make([]byte, 2000)
		if err := spy.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		n, from, err := spy.ReadFromUDP(buf)
		if err == nil && from.IP.Equal(net.ParseIP("10.77.0.4")) {
			said = append(said, append([]byte(nil), buf[:n]...))
		}
		if len(said) < 3 {
			return fmt.Errorf("%d are", len(said))
		}
		return err
	})
	victim.Kill()
	before := s.counter(witness, "repeated")
	w.Await("it expires while its words are repeated", found, func() error {
		for _, p := range said {
			if _, err := mouth.Write(p); err != nil {
				return err
			}
		}
		if got := s.candidates(witness); got != 2 {
			return fmt.Errorf("%v are offered", got)
		}
		return nil
	})
	if after := s.counter(witness, "repeated"); after < before+3 {
		t.Errorf("%v replays were counted, before %v", after, before)
	}
}

func TestAMinuteWithoutACableLosesNoPeer(t *testing.T) {
	s := newSegment(t, 4, 0, "")
	w := flocktest.Started(t, s.opts)
	alone := w.Bird(4)
	w.Await("it hears the three others", found, func() error {
		if got := s.candidates(alone); got != 3 {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	s.hosts[alone.Name].Pull()
	began := time.Now()
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for time.Since(began) < time.Minute {
		<-ticks.C
		if got := s.candidates(alone); got != 3 {
			t.Fatalf("after %v without a cable it has %v candidates", time.Since(began), got)
		}
	}
	s.hosts[alone.Name].Plug()
	w.Await("all four are together again", heal, func() error { return w.Complete(4) })
	w.Await("and hear each other", found, func() error {
		for _, b := range w.Birds() {
			if got := s.candidates(b); got != 3 {
				return fmt.Errorf("%s has %v", b.Name, got)
			}
		}
		return nil
	})
}
