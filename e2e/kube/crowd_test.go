package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/starlingmesh/starling/cmd/starling/flock"
	"github.com/starlingmesh/starling/cmd/starling/flock/flocktest"
	"github.com/starlingmesh/starling/discovery"
)

const (
	replicas = 1000 // fake pods, which the sidecars discover
	surge    = 25   // as many at a time are replaced in a rollout
	seeds    = 32   // sidecars that all others are told of
	everyone = 1024 // watchers: more than there are pods and sidecars, so that nobody tells anybody
)

// All sidecars watch, or a few do and tell the rest. What the API server sends for a rollout of a thousand pods is counted
// before it, and each sidecar must know of each change in the end, though a watcher is killed on the way.
//
// STARLING_ROLLOUT is the number of sidecars; `make rollout` sets it. It is a measurement and not part of make e2e: 200 take
// ten minutes on two cores.
func TestFewWatchersSpareTheAPIServerARollout(t *testing.T) {
	text := os.Getenv("STARLING_ROLLOUT")
	if text == "" {
		t.Skip("it is a measurement, and wants the machine to itself: run make rollout")
	}
	sidecars, err := strconv.Atoi(text)
	if err != nil || sidecars <= 64 || sidecars > 250 {
		t.Fatalf("STARLING_ROLLOUT: %q is no number from 65 to 250", text)
	}
	few := rollout(t, sidecars, "auto")
	all := rollout(t, sidecars, fmt.Sprint(everyone))
	t.Logf("API bytes for a rollout of %d pods with %d sidecars: all watch %.1f MB, delegated %.1f MB: 1/%.0f",
		replicas, sidecars, mb(all), mb(few), float64(all)/float64(few))
	t.Logf("extrapolated to 1,000 sidecars, not measured: all watch %.0f MB (each watcher costs the same), delegated %.1f MB (as many watchers as here)",
		mb(all)*1000/float64(sidecars), mb(few))
	if few > all/4 {
		t.Errorf("delegated costs more than a quarter of all watching")
	}
}

// rollout has sidecars find each other, then replaces all pods, and returns how many bytes the API server sent them meanwhile.
func rollout(t *testing.T, sidecars int, watchers string) (sent int) {
	w, line := newWorld(t), newWire(t)
	w.allow()
	w.serve(service)
	f := w.crowd(sidecars, line, watchers) // they meet before there are pods: a thousand addresses where nobody listens hold a start up
	defer f.stop()
	pods := flockOf(replicas)
	w.start(pods...)
	f.await("each sidecar knows all pods", func() error { return f.wantKnown(pods) })
	f.watching("before")

	before, began := line.carried.Load(), time.Now()
	var next []pod
	for at := 0; at < replicas; at += surge {
		batch := slices.Clone(pods[at : at+surge])
		for i := range batch {
			batch[i].name += "-next"
			batch[i].ips = []string{address(replicas + at + i)}
		}
		next = append(next, batch...)
		w.start(batch...)
		w.remove(pods[at : at+surge]...)
		if at == replicas/2 {
			f.killWatcher()
		}
	}
	t.Logf("watchers %s: %d pods replaced in %v, %.1f MB from the API server so far", watchers, replicas, time.Since(began).Round(time.Second), mb(int(line.carried.Load()-before)))
	f.await("each sidecar that is left knows the new pods and no others", func() error { return f.wantKnown(next) })
	sent = int(line.carried.Load() - before)
	f.watching("after")
	return sent
}

// A crowd is sidecars that look for the same Service through one wire.
type crowd struct {
	*flocktest.World
	w      *world
	line   *wire
	killed *flock.Bird
}

// await asks every second, so that asking hundreds does not keep them from their work.
func (c *crowd) await(what string, so func() error) {
	c.w.t.Helper()
	const most = 5 * time.Minute
	began, end := time.Now(), time.After(most)
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for err := so(); err != nil; err = so() {
		select {
		case <-ticks.C:
		case <-end:
			c.w.t.Fatalf("%s: not within %v: %v", what, most, err)
		}
	}
	c.w.t.Logf("%s: %v", what, time.Since(began).Round(time.Millisecond))
}

// stop ends the sidecars before the test does: another crowd follows.
func (c *crowd) stop() {
	for _, b := range c.living() {
		b.Kill()
	}
}

func (w *world) crowd(sidecars int, line *wire, watchers string) *crowd {
	w.t.Helper()
	kubeconfig := w.kubeconfig(line.url(), w.asAccount())
	var some []string
	for n := range seeds {
		some = append(some, crowdAddress(n+1))
	}
	static := fmt.Sprintf("{kind: static, contacts: [%s]}", strings.Join(some, ", "))
	f := flocktest.New(w.t, flock.Options{Birds: sidecars, NoApps: true, Change: func(name string, s *flock.Settings) {
		n := number(name)
		s.Listen = crowdAddress(n)
		s.Sources = fmt.Sprintf("[%s, {kind: kubernetes, kubeconfig: %q, services: [%s], port: starling, watchers: %q}]", static, kubeconfig, service, watchers)
		s.Rest = "http: {listen: " + strings.Replace(crowdAddress(n), ":7827", ":7900", 1) + "}"
	}})
	w.must("start sidecars", f.Start(f.Patience(30*time.Second)))
	c := &crowd{World: f, w: w, line: line}
	for _, b := range f.Birds() {
		w.must("have a sidecar give way", giveWay(b.PID()))
	}
	c.await("the sidecars know each other", c.wantMembers)
	return c
}

// giveWay has a process give way to the control plane, which elsewhere has machines of its own: with hundreds beside it on
// a few cores it would be measured how long it waits for its turn.
func giveWay(pid int) error {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, thread := range threads {
		id, convErr := strconv.Atoi(thread.Name())
		err = errors.Join(err, convErr, syscall.Setpriority(syscall.PRIO_PROCESS, id, 10))
	}
	return err
}

// crowdAddress is away from the pods'.
func crowdAddress(n int) string { return address(20000+n) + ":7827" }

func number(bird string) (n int) {
	if _, err := fmt.Sscanf(bird, "bird-%d", &n); err != nil {
		panic(fmt.Sprintf("%s is no name of a bird: %v", bird, err))
	}
	return n
}

func (c *crowd) living() []*flock.Bird {
	if c.killed == nil {
		return c.Birds()
	}
	return c.Except(c.killed)
}

func (c *crowd) wantMembers() error {
	for _, b := range c.Birds() {
		s, err := b.Client().Status(c.w.t.Context())
		if err != nil || int(s.GetAlive()) != len(c.Birds()) {
			return fmt.Errorf("%s knows %d members (%v)", b.Name, s.GetAlive(), err)
		}
	}
	return nil
}

// wantKnown wants the strategy of each sidecar to vouch for these pods and no others.
func (c *crowd) wantKnown(pods []pod) error {
	want := map[string]bool{}
	for _, p := range pods {
		want[p.addr()] = true
	}
	for _, b := range c.living() { // cheap, and mostly enough
		host, _, _ := strings.Cut(crowdAddress(number(b.Name)), ":")
		if err := wantMetric(c.w.t, host+":7900", `starling_discovery_candidates{source="kubernetes"}`, float64(len(pods))); err != nil {
			return fmt.Errorf("%s: %w", b.Name, err)
		}
	}
	for _, b := range c.living() {
		known, err := vouched(c.w.t.Context(), b)
		if err != nil {
			return fmt.Errorf("%s: %w", b.Name, err)
		}
		for _, addr := range known {
			if !want[addr] {
				return fmt.Errorf("%s knows %s, which is gone", b.Name, addr)
			}
		}
		if len(known) != len(pods) {
			return fmt.Errorf("%s knows %d pods", b.Name, len(known))
		}
	}
	return nil
}

// vouched are the addresses that a sidecar's strategy vouches for, by what the sidecar tells its operators.
func vouched(ctx context.Context, b *flock.Bird) (addrs []string, err error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", b.AdminSocket())
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/starling.v1.AdminService/Dump", strings.NewReader("{}"))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	var answer struct{ Text string }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return nil, err
	}
	var dump struct {
		Discovery struct {
			Candidates []struct{ Evidence []discovery.Evidence }
		}
	}
	if err := json.Unmarshal([]byte(answer.Text), &dump); err != nil {
		return nil, err
	}
	for _, c := range dump.Discovery.Candidates {
		for _, e := range c.Evidence {
			if e.Source == "kubernetes" && e.Withdrawn.IsZero() {
				addrs = append(addrs, e.Addrs[0])
			}
		}
	}
	return addrs, nil
}

// watching says how many sidecars watch.
func (c *crowd) watching(when string) {
	c.w.t.Helper()
	c.w.t.Logf("%s the rollout %d of %d sidecars watch", when, len(c.watchers()), len(c.living()))
}

// watchers are those whose log says last that they watch. Who only listed keeps a connection for a while, too.
func (c *crowd) watchers() []*flock.Bird {
	c.w.t.Helper()
	var list []*flock.Bird
	for _, b := range c.living() {
		text, err := os.ReadFile(b.LogFile())
		c.w.must("read a log", err)
		said := string(text)
		if at := strings.LastIndex(said, "part in watching changes"); at >= 0 {
			line, _, _ := strings.Cut(said[at:], "\n")
			if strings.Contains(line, "part=watch ") {
				list = append(list, b)
			}
		}
	}
	return list
}

func (c *crowd) killWatcher() {
	c.w.t.Helper()
	watchers := c.watchers()
	if len(watchers) == 0 {
		c.w.t.Fatal("nobody watches")
	}
	c.killed = watchers[len(watchers)/2]
	c.killed.Kill()
	c.w.t.Logf("killed %s, which watched", c.killed.Name)
}
