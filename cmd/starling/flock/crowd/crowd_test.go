// Package crowd holds the tests that need many processes, or much of the machine. They are asked for by `make test` with
// STARLING_CROWD=1, in a run of their own; `go test ./...` passes them over.
package crowd

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/starlingmesh/starling/cmd/starling/flock"
	"github.com/starlingmesh/starling/cmd/starling/flock/flocktest"
	"github.com/starlingmesh/starling/rpc/client"
)

func TestMain(m *testing.M) {
	if os.Getenv("STARLING_CROWD") == "" {
		fmt.Println("passed over: set STARLING_CROWD=1")
		return
	}
	flocktest.Main(m)
}

const crowd = 64

// start gives 64 sidecars three contacts and no more.
func start(t *testing.T) *flocktest.World {
	t.Helper()
	began := time.Now()
	w := flocktest.New(t, flock.Options{Birds: crowd, NoApps: true, Faults: true, Change: flocktest.Seeds(t, 3)})
	if err := w.Start(w.Patience(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, b := range w.Birds() {
		w.Serve(b, flock.EchoMethod, flocktest.Echo)
	}
	w.Await("every directory is complete", 10*time.Second, func() error { return w.Complete(crowd) })
	w.Took("64 processes from nothing", began, 10*time.Second)
	return w
}

func TestSixtyFourFromThreeContactsBecomeOneCluster(t *testing.T) {
	w := start(t)
	w.Await("one component of views of at most 5", 10*time.Second, func() error { return w.OneComponent(5) })

	caller := w.Birds()[rand.IntN(crowd)]
	began := time.Now()
	w.WantVerdicts(w.Multicall(caller), nil)
	w.Took("a multicall from "+caller.Name, began, time.Second)
	began = time.Now()
	for _, b := range w.Birds() {
		w.WantVerdicts(w.Multicall(b), nil)
	}
	w.Took("a multicall from each of 64", began, 10*time.Second)

	began = time.Now()
	a, err := caller.Client().Abcast(t.Context(), flock.EchoMethod, client.Text("hello"), client.ConfirmHandler())
	if err != nil {
		t.Fatal(err)
	}
	w.Took("an abcast confirmed by all handlers", began, time.Second)
	w.WantVerdicts(a, nil)
	for _, v := range a.Verdicts {
		if v.Verdict != client.Delivered {
			t.Errorf("%s: %s, want delivered", v.Name, v.Verdict)
		}
	}
}

func TestAKilledAndAPausedSidecarOfSixtyFour(t *testing.T) {
	w := start(t)
	w.Await("one component of views of at most 5", 10*time.Second, func() error { return w.OneComponent(5) })
	killed, paused := w.Bird(20), w.Bird(40)

	others := w.Except(killed)
	news := w.Listen(others...)
	killed.Kill()
	w.AwaitEvent(news, "down", killed.Name, 1500*time.Millisecond)
	w.WantEvents(news, "down", "", 1)

	others = w.Except(killed, paused)
	news = w.Listen(append(others, paused)...)
	quiet := news[:len(others)]
	paused.Pause()
	began := time.Now()
	const budget = 2 * time.Second
	var last time.Duration
	var verdicts []client.NodeVerdict
	for v, err := range others[0].Client().MulticallStream(t.Context(), flock.EchoMethod, client.Text("hello"), client.Timeout(budget)) {
		if err != nil {
			t.Fatal(err)
		}
		verdicts = append(verdicts, v)
		switch {
		case v.Name == paused.Name:
			w.Took(fmt.Sprintf("the verdict on the paused one, %s (%s, %s)", v.Verdict, v.Executed, v.Reason), began, budget)
		case v.Name != killed.Name:
			last = time.Since(began)
		}
	}
	t.Logf("the last of the 62 others had replied after %v", last.Round(time.Microsecond))
	if took := time.Since(began); took > budget+time.Second {
		t.Errorf("the stream ended after %v, the budget was %v", took, budget)
	}
	byName := map[string]client.NodeVerdict{}
	for _, v := range verdicts {
		if _, twice := byName[v.Name]; twice {
			t.Errorf("two verdicts on %s", v.Name)
		}
		byName[v.Name] = v
	}
	for _, b := range others {
		if v := byName[b.Name]; v.Verdict != client.Replied {
			t.Errorf("%s: %+v", b.Name, v)
		}
	}
	switch v := byName[paused.Name]; v.Verdict {
	case client.TimedOut, client.Unreachable, client.Down, client.Lost:
		if v.Executed != client.Maybe {
			t.Errorf("the paused one: executed %s: %+v", v.Executed, v)
		}
	default:
		t.Errorf("the paused one: %+v", v)
	}
	if last > budget*3/4 {
		t.Errorf("the others replied only after %v", last)
	}
	w.AwaitEvent(quiet, "down", paused.Name, 6*time.Second-time.Since(began))

	paused.Resume()
	w.AwaitEvent(quiet, "up", paused.Name, 6*time.Second)
	w.Await("63 replies", 10*time.Second, func() error { return replied(w.Multicall(paused), crowd-1) })
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for range 6 { // as long as an accusation would take
		<-ticks.C
		if err := replied(w.Multicall(paused), crowd-1); err != nil {
			t.Error(err)
		}
	}
	w.WantEvents(quiet, "down", paused.Name, 1)
	w.WantEvents(quiet, "down", "", 1)
	for _, b := range others {
		w.WantEvents(news, "suspect", b.Name, 0)
		w.WantEvents(news, "down", b.Name, 0)
	}
}

func replied(a *client.Answer, want int) error {
	if a.Summary.Replied != want {
		return fmt.Errorf("%d replied, want %d: %+v", a.Summary.Replied, want, a.Summary)
	}
	return nil
}

// busyFor is how long the processors are kept from the sidecars.
func busyFor(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("STARLING_BUSY")
	if text == "" {
		return 20 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("STARLING_BUSY: %v", err)
	}
	return d
}

func TestBesideBusyLoopsNobodyIsDeclaredDown(t *testing.T) {
	w := start(t)
	news := w.Listen(w.Birds()...)
	length := busyFor(t)
	stop := busyLoops(t, max(2, runtime.NumCPU()))
	end := time.After(length)
	calls, late := 0, 0
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for running := true; running; {
		select {
		case <-ticks.C:
			calls++
			if a := w.Multicall(w.Birds()[rand.IntN(crowd)]); a.Summary.Replied != crowd {
				late++
			}
		case <-end:
			running = false
		}
	}
	stop()
	t.Logf("%v beside busy loops: %d multicalls, %d of them without all 64 replies", length, calls, late)
	w.WantEvents(news, "down", "", 0)
	suspicions := 0
	for _, n := range news {
		suspicions += len(n.Events("suspect", ""))
	}
	t.Logf("%d suspicions, all refuted", suspicions)
	if late > 0 {
		t.Errorf("%d of %d multicalls lacked replies within 5 s", late, calls)
	}
}

// busyLoops are processes that do nothing, as fast as they can.
func busyLoops(t *testing.T, n int) (stop func()) {
	t.Helper()
	var all []*exec.Cmd
	for range n {
		c := exec.CommandContext(t.Context(), "sh", "-c", "while :; do :; done")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	stop = sync.OnceFunc(func() {
		for _, c := range all {
			_ = c.Process.Kill() // then Wait tells of it
			_ = c.Wait()
		}
	})
	t.Cleanup(stop)
	return stop
}
