package gossip

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/starlingmesh/starling/cmd/starling/flock"
	"github.com/starlingmesh/starling/cmd/starling/flock/flocktest"
	"github.com/starlingmesh/starling/e2e/netns"
)

func TestMain(m *testing.M) {
	if _, err := exec.LookPath("serf"); err != nil {
		if err := netns.Install("serf"); err != nil {
			fmt.Fprintln(os.Stderr, "these tests need Debian's serf agent:", err)
			os.Exit(1)
		}
	}
	flocktest.Main(m)
}

const (
	join    = 10 * time.Second
	failure = 6 * time.Second // until the others call a killed one down
)

// nest is where the birds of a test gossip: a port each, the first being all others' only contact.
type nest struct {
	t     *testing.T
	dir   string
	ports []int
	more  string // options of the source
}

func newNest(t *testing.T, birds int, more string) *nest {
	t.Helper()
	n := &nest{t: t, dir: t.TempDir(), more: more}
	for range birds {
		n.ports = append(n.ports, freePort(t))
	}
	return n
}

// freePort is one that is free for TCP and UDP.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().(*net.TCPAddr)
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: addr.IP, Port: addr.Port})
		_ = l.Close()
		if err == nil {
			_ = u.Close()
			return addr.Port
		}
	}
	t.Fatal("no free port among a hundred")
	return 0
}

func (n *nest) contact() string { return fmt.Sprintf("127.0.0.1:%d", n.ports[0]) }

func (n *nest) options() flock.Options {
	return flock.Options{Birds: len(n.ports), Change: func(name string, s *flock.Settings) {
		var i int
		if _, err := fmt.Sscanf(name, "bird-%d", &i); err != nil {
			n.t.Errorf("%s: %v", name, err)
		}
		s.Sources = fmt.Sprintf("[{kind: gossip, profile: local, bind: '127.0.0.1:%d', join: ['%s'], rejoin_every: 1s, snapshot_file: '%s'%s}]",
			n.ports[i-1], n.contact(), filepath.Join(n.dir, name), n.more)
		s.Rest = flocktest.HTTP
	}}
}

func counter(w *flocktest.World, b *flock.Bird, what string) float64 {
	return w.Metrics(b)[fmt.Sprintf(`starling_discovery_strategy_total{source="gossip",what=%q}`, what)]
}

func candidates(w *flocktest.World, b *flock.Bird) float64 {
	return w.Metrics(b)[`starling_discovery_candidates{source="gossip"}`]
}

func TestFiveOverGossipOutliveTheirContact(t *testing.T) {
	n := newNest(t, 5, "")
	began := time.Now()
	w := flocktest.Started(t, n.options())
	w.Took("five are one cluster", began, join)
	w.Await("and are linked", join, func() error { return w.OneComponent(4) })
	contact, victim := w.Bird(1), w.Bird(3)
	w.Await("each has the others from the gossip, and a snapshot", join, func() error {
		for _, b := range w.Birds() {
			if got := candidates(w, b); got != 5 { // with itself
				return fmt.Errorf("%s has %v", b.Name, got)
			}
			if text, err := os.ReadFile(filepath.Join(n.dir, b.Name)); bytes.Count(text, []byte("127.0.0.1:")) != 4 {
				return fmt.Errorf("%s: %w %s", b.Name, err, text)
			}
		}
		return nil
	})

	victim.Kill()
	contact.Kill()
	w.Await("the others know two down", failure, func() error { return w.Complete(3, victim, contact) })

	if err := w.Restart(w.Patience(join), victim); err != nil {
		t.Fatal(err)
	}
	w.Await("a new process finds them by its snapshot, without the contact", join, func() error { return w.Complete(4, contact) })

	if err := w.Restart(w.Patience(join), contact); err != nil {
		t.Fatal(err)
	}
	w.Await("the contact is back under a new ID", join, func() error { return w.Complete(5) })
	w.Await("and is linked", join, func() error { return w.OneComponent(4) })
}

func TestWhoLeavesIsWithdrawnAndWhoIsKilledIsNot(t *testing.T) {
	n := newNest(t, 4, "")
	w := flocktest.Started(t, n.options())
	killed, left := w.Bird(3), w.Bird(4)
	rest := []*flock.Bird{w.Bird(1), w.Bird(2)}
	has := func(want float64) func() error {
		return func() error {
			for _, b := range rest {
				if got := candidates(w, b); got != want {
					return fmt.Errorf("%s has %v, want %v", b.Name, got, want)
				}
			}
			return nil
		}
	}
	w.Await("all are offered", join, has(4))
	left.Stop()
	w.Await("who left is withdrawn", join, has(3))
	killed.Kill()
	w.Await("who was killed is down", failure, func() error { return w.Complete(2, killed, left) })
	ticks := time.NewTicker(500 * time.Millisecond)
	defer ticks.Stop()
	for end := time.Now().Add(8 * time.Second); time.Now().Before(end); { // serf calls it failed in about three
		<-ticks.C
		if err := has(3)(); err != nil {
			t.Fatal(err)
		}
	}
}

// agent starts Debian's serf agent, and returns what asks it.
func agent(t *testing.T, args ...string) (ask func(words ...string) string, log func() string) {
	t.Helper()
	rpc := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("serf", append([]string{"agent", "-node=foreigner", "-rpc-addr=" + rpc, "-profile=local",
		fmt.Sprintf("-bind=127.0.0.1:%d", freePort(t)), "-log-level=debug"}, args...)...)
	c.Stdout, c.Stderr = file, file
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	log = func() string {
		text, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		_ = file.Close()
		if t.Failed() {
			text := log()
			t.Logf("the agent's last words:\n%s", text[max(0, len(text)-2000):])
		}
	})
	return func(words ...string) string {
		out, _ := exec.Command("serf", append(words, "-rpc-addr="+rpc)...).CombinedOutput() // it may not listen yet
		return string(out)
	}, log
}

func TestAForeignAgentIsRefused(t *testing.T) {
	n := newNest(t, 2, "")
	w := flocktest.Started(t, n.options())
	ask, _ := agent(t, "-retry-join="+n.contact(), "-retry-interval=1s")
	w.Await("the foreigner is refused by its missing label", join, func() error {
		if got := counter(w, w.Bird(1), "foreign_label"); got < 1 {
			return fmt.Errorf("%v were", got)
		}
		return nil
	})
	if got := ask("members"); !strings.Contains(got, "foreigner") || strings.Contains(got, "bird-") {
		t.Errorf("the foreigner knows\n%s", got)
	}
	if got := candidates(w, w.Bird(1)); got != 2 {
		t.Errorf("%v are offered, want 2", got)
	}
	if err := w.Complete(2); err != nil {
		t.Error(err)
	}
}

// With label none and a common key sidecars gossip in a fleet of serf agents; nobody takes those for sidecars.
func TestSidecarsGossipAmongAgentsAndTakeNoneForAPeer(t *testing.T) {
	key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := newNest(t, 3, fmt.Sprintf(", label: none, keyring_file: '%s'", keys))
	w := flocktest.Started(t, n.options())
	ask, _ := agent(t, "-retry-join="+n.contact(), "-retry-interval=1s", "-encrypt="+key)
	w.Await("the agent knows the sidecars", join, func() error {
		if got := ask("members", "-status=alive"); strings.Count(got, "bird-") != 3 || !strings.Contains(got, "starling=") {
			return fmt.Errorf("it knows\n%s", got)
		}
		return nil
	})
	said := ""
	w.Await("a look says why the agent is not taken", join, func() error {
		out, code := w.Run("discover", "-c", w.Bird(2).ConfigFile())
		if said = out; code != 0 || !strings.Contains(out, "foreigner") || !strings.Contains(out, "has no tags of a sidecar's") || !strings.Contains(out, "3 addresses") {
			return fmt.Errorf("exit code %d: %s", code, out)
		}
		return nil
	})
	t.Log(said)
	for _, b := range w.Birds() {
		if got := candidates(w, b); got != 3 {
			t.Errorf("%s: %v are offered, want 3", b.Name, got)
		}
	}
	if err := w.Complete(3); err != nil {
		t.Error(err)
	}
}
