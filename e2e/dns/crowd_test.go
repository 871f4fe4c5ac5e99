package dns

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/starlingmesh/starling/cmd/starling/flock"
	"github.com/starlingmesh/starling/cmd/starling/flock/flocktest"
)

// crowdSize is how many are spawned: 200, or STARLING_DNS_CROWD.
func crowdSize(t *testing.T) int {
	t.Helper()
	n := 200
	if text := os.Getenv("STARLING_DNS_CROWD"); text != "" {
		if _, err := fmt.Sscan(text, &n); err != nil || n < 1 || n > 250 {
			t.Fatalf("STARLING_DNS_CROWD: %q is no number from 1 to 250", text)
		}
	}
	return n
}

// home is where a bird of the crowd lives: 127.77.0.1 and on.
func home(bird int) string { return fmt.Sprintf("127.77.0.%d", bird) }

// TestACrowdSpawnedAtOnceFromOneNameIsOneComponent: whatever the rush, the answer that is too long for UDP comes to each,
// nobody's listen queue overflows, and they find each other.
func TestACrowdSpawnedAtOnceFromOneNameIsOneComponent(t *testing.T) {
	crowd := crowdSize(t)
	const bound = 15 * time.Second
	s := newServer(t, first+":"+port)
	var homes []string
	for i := range crowd {
		homes = append(homes, home(i+1))
	}
	s.serve(s.file(zone(5, 1, pods(homes...)...)))

	var last time.Time // when the last was about to be spawned
	w := flocktest.New(t, flock.Options{Birds: crowd, NoApps: true, Change: func(name string, set *flock.Settings) {
		var i int
		if _, err := fmt.Sscanf(name, "bird-%d", &i); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		set.Listen = home(i) + ":" + podPort
		set.Sources = fmt.Sprintf("[{kind: dns, names: [pods.%s], port: %s, nameservers: [%q]}]", origin, podPort, s.addr)
		set.Rest = flocktest.HTTP
		last = time.Now()
	}})
	before, began := listenTrouble(t), time.Now()
	if err := w.Start(w.Patience(bound)); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d spawned in %v; all could be asked %v after the last", crowd, last.Sub(began).Round(time.Millisecond), time.Since(last).Round(time.Millisecond))
	defer printDials(t, w)
	// Components that met while the crowd came may be held together by bridges, two a node, for a minute.
	awaitCalmly(t, "one component of at most 5 links and 2 bridges each", last, bound, func() error { return w.OneComponent(7) })
	awaitCalmly(t, "each knows all", last, bound, func() error { return allKnow(t, w, crowd) })
	after := listenTrouble(t)
	t.Logf("listen overflows: %d, drops: %d", after.overflows-before.overflows, after.drops-before.drops)
	if after != before {
		t.Errorf("the kernel dropped connections: %+v before, %+v after", before, after)
	}
}

// printDials tells what the dials of all were for, and what became of them.
func printDials(t *testing.T, w *flocktest.World) {
	t.Helper()
	sum := map[string]float64{}
	for _, b := range w.Birds() {
		for name, n := range w.Metrics(b) {
			if labels, is := strings.CutPrefix(name, "starling_overlay_dials_total"); is {
				sum[labels] += n
			}
		}
	}
	t.Logf("dials: %v", sum)
}

// awaitCalmly asks every two seconds, so that asking 200 for 200 members does not keep them from their work.
func awaitCalmly(t *testing.T, what string, since time.Time, bound time.Duration, so func() error) {
	t.Helper()
	end := time.After(slack * bound)
	ticks := time.NewTicker(2 * time.Second)
	defer ticks.Stop()
	for {
		err := so()
		if err == nil {
			t.Logf("%s: %v after the last was spawned (bound %v)", what, time.Since(since).Round(time.Millisecond), bound)
			return
		}
		select {
		case <-ticks.C:
		case <-end:
			t.Fatalf("%s: not within %d x %v: %v", what, slack, bound, err)
		}
	}
}

// allKnow wants that each bird knows so many, all alive.
func allKnow(t *testing.T, w *flocktest.World, members int) error {
	t.Helper()
	wrong := make([]error, len(w.Birds()))
	var wg sync.WaitGroup
	for i, b := range w.Birds() {
		wg.Go(func() {
			alive := 0
			list, _, err := b.Client().Members(t.Context())
			for _, m := range list {
				if m.Status == "alive" {
					alive++
				}
			}
			if err != nil || alive != members {
				wrong[i] = fmt.Errorf("%s knows %d of %d alive (%d in all): %w", b.Name, alive, members, len(list), err)
			}
		})
	}
	wg.Wait()
	if i := slices.IndexFunc(wrong, func(err error) bool { return err != nil }); i >= 0 {
		return wrong[i]
	}
	return nil
}

// trouble is what the kernel of this network namespace counts of connections that no listener took (nstat(8): TcpExt).
type trouble struct{ overflows, drops int }

func listenTrouble(t *testing.T) (c trouble) {
	t.Helper()
	text, err := os.ReadFile("/proc/thread-self/net/netstat")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	names, values := strings.Fields(lines[0]), strings.Fields(lines[1])
	for name, to := range map[string]*int{"ListenOverflows": &c.overflows, "ListenDrops": &c.drops} {
		at := slices.Index(names, name)
		if at < 0 || at >= len(values) {
			t.Fatalf("the kernel does not count %s", name)
		}
		if _, err := fmt.Sscan(values[at], to); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// A count that cannot rise proves nothing.
func TestTheKernelCountsOverflows(t *testing.T) {
	before := listenTrouble(t)
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Port: 7000, Addr: [4]byte{127, 0, 53, 1}}), syscall.Listen(fd, 1)); err != nil {
		t.Fatal(err)
	}
	for range 8 { // more than the queue holds, and nobody accepts
		if c, err := net.DialTimeout("tcp", first+":7000", 100*time.Millisecond); err == nil {
			defer func() { _ = c.Close() }()
		}
	}
	if after := listenTrouble(t); after.overflows <= before.overflows || after.drops <= before.drops {
		t.Errorf("have %+v, before %+v", after, before)
	}
}
