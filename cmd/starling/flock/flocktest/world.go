package flocktest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/starlingmesh/starling/cmd/starling/flock"
	"github.com/starlingmesh/starling/overlay/keys"
	"github.com/starlingmesh/starling/rpc/client"
)

// Slack is how much longer than its bound a test waits for an event: a busy machine is late, a broken promise never comes.
const Slack = 10

// A World is a flock in a test. Its methods end the test when what they want does not happen.
type World struct {
	*flock.Flock
	t *testing.T
}

// New makes a flock; nothing runs yet. It ends with the test, which tells the last words of its sidecars if it failed.
func New(t *testing.T, o flock.Options) *World {
	t.Helper()
	if o.Key == "" {
		o.Key = keys.New().Reveal()
	}
	o.Binary = binary
	f, err := flock.New(o)
	if err != nil {
		t.Fatal(err)
	}
	w := &World{Flock: f, t: t}
	t.Cleanup(func() {
		w.checkLogs()
		if err := f.Close(); err != nil {
			t.Errorf("close the flock: %v", err)
		}
	})
	return w
}

// Started is a flock whose members all know each other; each serves the small application, in a process of its own unless
// o.NoApps, and else in this one.
func Started(t *testing.T, o flock.Options) *World {
	t.Helper()
	w := New(t, o)
	ctx := w.Patience(10 * time.Second)
	if err := w.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if o.NoApps {
		for _, b := range w.Birds() {
			w.Serve(b, flock.EchoMethod, Echo)
		}
	}
	if err := w.AwaitAll(ctx, o.Birds); err != nil {
		t.Fatal(err)
	}
	return w
}

// Echo is a handler that says what it hears.
func Echo(_ context.Context, r *client.Request) (client.Payload, error) { return r.Payload, nil }

// Serve makes this process an application of the bird.
func (w *World) Serve(b *flock.Bird, method string, h client.Handler) {
	w.t.Helper()
	if err := b.Client().Handle(w.t.Context(), method, h); err != nil {
		w.t.Fatalf("%s: %v", b.Name, err)
	}
}

// Bird is the one of that number, from 1.
func (w *World) Bird(n int) *flock.Bird { return w.Birds()[n-1] }

// Except is all birds but some.
func (w *World) Except(without ...*flock.Bird) []*flock.Bird {
	var rest []*flock.Bird
next:
	for _, b := range w.Birds() {
		for _, x := range without {
			if x == b {
				continue next
			}
		}
		rest = append(rest, b)
	}
	return rest
}

// Patience is a context that ends with the test, or after ten times the bound.
func (w *World) Patience(bound time.Duration) context.Context {
	ctx, cancel := context.WithTimeoutCause(w.t.Context(), Slack*bound, fmt.Errorf("not within %d x %v", Slack, bound))
	w.t.Cleanup(cancel)
	return ctx
}

// Await asks again and again until so returns nil, prints how long it took, and ends the test after ten times the bound.
func (w *World) Await(what string, bound time.Duration, so func() error) time.Duration {
	w.t.Helper()
	began, end := time.Now(), time.After(Slack*bound)
	ticks := time.NewTicker(10 * time.Millisecond)
	defer ticks.Stop()
	for {
		err := so()
		if err == nil {
			break
		}
		select {
		case <-ticks.C:
		case <-end:
			w.t.Fatalf("%s: not within %d x %v: %v", what, Slack, bound, err)
		}
	}
	return w.Took(what, began, bound)
}

// Took prints how long something took beside the bound that it is promised within on a machine of its own.
func (w *World) Took(what string, began time.Time, bound time.Duration) time.Duration {
	w.t.Helper()
	took := time.Since(began)
	w.t.Logf("%s: %v (bound %v)", what, took.Round(time.Millisecond), bound)
	return took
}

// runMost is how long a program that should end by itself may take.
const runMost = time.Minute

// Run runs the program as people do and returns all it said and its exit code: -1 if it had to be killed.
func (w *World) Run(args ...string) (said string, code int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), runMost)
	defer cancel()
	c := exec.CommandContext(ctx, binary, args...)
	out, err := c.CombinedOutput()
	if c.ProcessState == nil {
		w.t.Fatalf("starling %s: %v", strings.Join(args, " "), err)
	}
	return string(out), c.ProcessState.ExitCode()
}

// Seeds gives all birds a static list of the first n as their only contacts.
func Seeds(t *testing.T, n int) func(name string, s *flock.Settings) {
	t.Helper()
	listen := map[string]string{}
	var list []string
	for i := range n {
		addr := freeAddress(t)
		listen[fmt.Sprintf("bird-%d", i+1)] = addr
		list = append(list, addr)
	}
	return func(name string, s *flock.Settings) {
		s.Sources = fmt.Sprintf("[{kind: static, contacts: [%s]}]", strings.Join(list, ", "))
		if addr, ok := listen[name]; ok {
			s.Listen = addr
		}
	}
}

// freeAddress is one that nobody listens at. Its port is below those that the kernel gives to connections (32768 on Linux,
// 49152 elsewhere), so that nobody else comes to have it by accident.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return addr
	}
	t.Fatal("no free port among a hundred")
	return ""
}

// checkLogs wants that no sidecar panicked or raced, and after a failure tells the end of each log.
func (w *World) checkLogs() {
	const most = 1500
	for _, b := range w.Birds() {
		text, err := os.ReadFile(b.LogFile())
		if err != nil {
			continue // it was never started
		}
		for _, bad := range []string{"panic: ", "fatal error: ", "DATA RACE"} {
			if at := bytes.Index(text, []byte(bad)); at >= 0 {
				w.t.Errorf("%s: %s", b.Name, text[at:min(len(text), at+4*most)])
			}
		}
		if w.t.Failed() && len(w.Birds()) <= 8 {
			w.t.Logf("%s's last words:\n%s", b.Name, text[max(0, len(text)-most):])
		}
	}
}
