package flock_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/starlingmesh/starling/cmd/starling/flock"
	"github.com/starlingmesh/starling/cmd/starling/flock/flocktest"
	"github.com/starlingmesh/starling/rpc/client"
)

func withHTTP(_ string, s *flock.Settings) { s.Rest = flocktest.HTTP }

// running waits until the application beside a bird works on so many requests.
func running(w *flocktest.World, b *flock.Bird, want float64) {
	w.Await(fmt.Sprintf("%s works on %v requests", b.Name, want), time.Second, func() error {
		if got := w.Metrics(b)[`starling_rpc_open{what="requests"}`]; got != want {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
}

func TestAnApplicationKilledInTheMiddleOfACallIsHandlerGone(t *testing.T) {
	w := flocktest.Started(t, flock.Options{Birds: 3, Change: withHTTP})
	caller, victim := w.Bird(1), w.Bird(2)
	const budget = time.Minute
	var verdict *client.NodeVerdict
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		verdict, failed = caller.Client().Call(t.Context(), victim.Name, flock.SleepMethod, client.Text("1h"), client.Timeout(budget))
	}()
	running(w, victim, 1)
	began := time.Now()
	victim.KillApp()
	<-done
	w.Took("the verdict on a killed application", began, time.Second)
	if failed != nil {
		t.Fatal(failed)
	}
	if v := verdict; v.Verdict != client.HandlerGone || v.Executed != client.Maybe || v.Elapsed > budget/2 || v.Reason == "" {
		t.Errorf("got %+v, want handler_gone, maybe", v)
	}
	w.Await("nobody serves there any more", time.Second, func() error {
		a := w.Multicall(caller)
		for _, v := range a.Verdicts {
			if v.Name == victim.Name && (v.Verdict != client.NoHandler || v.Executed != client.No) {
				return fmt.Errorf("%s: %s, executed %s", v.Name, v.Verdict, v.Executed)
			}
		}
		return nil
	})
	w.Await("all know that nobody serves there", time.Second, func() error { return w.Serving(2) })
	if err := w.StartApp(victim); err != nil {
		t.Fatal(err)
	}
	if err := w.AwaitAll(w.Patience(time.Second), 3); err != nil {
		t.Error(err)
	}
	w.WantVerdicts(w.Multicall(caller), nil)
}

func TestAHandlerSlowerThanTheBudgetTimesOutRunning(t *testing.T) {
	w := flocktest.Started(t, flock.Options{Birds: 3, Change: withHTTP})
	const budget = 500 * time.Millisecond
	began := time.Now()
	a, err := w.Bird(1).Client().Multicall(t.Context(), flock.SleepMethod, client.Text("1h"), client.Timeout(budget))
	took := w.Took("an answer about handlers that sleep", began, budget)
	if err != nil {
		t.Fatal(err)
	}
	if took > budget+time.Second {
		t.Errorf("it took %v, the budget was %v", took, budget)
	}
	w.WantVerdicts(a, w.Birds(), client.TimedOut)
	for _, v := range a.Verdicts {
		if v.Executed != client.Maybe || v.Stage != client.Started {
			t.Errorf("%s: executed %s, stage %s (%s), want maybe, started", v.Name, v.Executed, v.Stage, v.Reason)
		}
	}
	for _, b := range w.Birds() { // each handler heeded its context
		running(w, b, 0)
	}
}

func TestACallerThatGivesUpStopsTheHandlers(t *testing.T) {
	w := flocktest.Started(t, flock.Options{Birds: 3, Change: withHTTP})
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	ended := make(chan error, 1)
	go func() {
		_, err := w.Bird(1).Client().Multicall(ctx, flock.SleepMethod, client.Text("1h"), client.Timeout(time.Minute))
		ended <- err
	}()
	for _, b := range w.Birds() {
		running(w, b, 1)
	}
	giveUp()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the call ended with %v", err)
	}
	for _, b := range w.Birds() { // long before their time is over
		running(w, b, 0)
	}
}

// fault runs `starling fault` on a bird.
func fault(t *testing.T, w *flocktest.World, b *flock.Bird, args ...string) {
	t.Helper()
	if said, code := w.Run(append([]string{"fault", "--admin-socket", b.AdminSocket()}, args...)...); code != 0 {
		t.Fatalf("starling fault %s: exit code %d: %s", strings.Join(args, " "), code, said)
	}
}

// wantUnreachable asks everybody from a caller that reaches nobody: verdicts by the budget, never an error in their place.
func wantUnreachable(t *testing.T, w *flocktest.World, caller *flock.Bird, which string) {
	t.Helper()
	const budget = time.Second
	began := time.Now()
	a := w.Multicall(caller, client.Timeout(budget))
	if took := w.Took(which, began, budget); took > budget+time.Second {
		t.Errorf("it took %v, the budget was %v", took, budget)
	}
	w.WantVerdicts(a, w.Except(caller), client.Unreachable)
	for _, v := range a.Verdicts {
		if v.Name != caller.Name && (v.Executed == client.Yes || v.Reason == "") {
			t.Errorf("%+v", v)
		}
	}
}

// Cut off: every connection breaks, and none comes up. Stalled: nothing breaks, and nothing comes through.
func TestACallerThatIsCutOffGetsUnreachableForAllOthers(t *testing.T) {
	for _, kind := range []string{"cut", "stall"} {
		t.Run(kind, func(t *testing.T) {
			w := flocktest.Started(t, flock.Options{Birds: 5, Faults: true})
			caller := w.Bird(3)
			others := w.Except(caller)
			fault(t, w, caller, kind, "*", "--for", "10m")
			wantUnreachable(t, w, caller, "the first multicall")
			wantUnreachable(t, w, caller, "the second")
			// The others notice, and go on without it.
			w.Await("the four others call it down", 6*time.Second, func() error { return w.Complete(4, caller) })
			wantUnreachable(t, w, caller, "one when the others have given it up")
			if a := w.Multicall(others[0]); a.Summary.Replied != 4 {
				t.Errorf("%d of the four others replied: %+v", a.Summary.Replied, a.Verdicts)
			}
			fault(t, w, caller, "clear")
			if err := w.AwaitAll(w.Patience(20*time.Second), 5); err != nil {
				t.Fatal(err)
			}
			w.WantVerdicts(w.Multicall(caller), nil)
		})
	}
}
