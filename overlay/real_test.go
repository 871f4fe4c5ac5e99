package overlay

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// A real node runs on the real core and answers every call with its name.
type real struct {
	*Overlay
	upper *upper
	done  chan proto.CallDone
	stop  func()
}

func newReal(t testing.TB, name string, contacts ...string) *real {
	t.Helper()
	o, err := New(testConfig(t, name), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r := &real{Overlay: o, upper: &upper{}, done: make(chan proto.CallDone, 10)}
	r.upper.do = func(out proto.Output) {
		switch out := out.(type) {
		case proto.Dispatch:
			o.Submit(proto.LocalResult{ID: out.ID, Result: proto.Result{
				Outcome: proto.Replied, Executed: proto.ExecutedYes, Stage: proto.StageFinished, Payload: []byte(name),
			}})
		case proto.CallDone:
			r.done <- out
		default:
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx, r.upper) }()
	r.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s ended: %v", name, err)
		}
	}
	var list []proto.Contact
	for _, c := range contacts {
		list = append(list, proto.Contact{Addrs: []string{c}})
	}
	o.Contacts(list)
	return r
}

func (r *real) awaitMembers(t testing.TB, status proto.Status, want int) {
	t.Helper()
	count := func() (n int) {
		for _, m := range r.Roster().Members {
			if m.Status == status {
				n++
			}
		}
		return n
	}
	for deadline := time.Now().Add(15 * time.Second); count() != want; {
		if time.Now().After(deadline) {
			t.Fatalf("%s knows %d members %v, want %d; stats %+v", r.Self().Name, count(), status, want, r.Stats())
		}
		<-time.After(time.Millisecond)
	}
}

// call asks everybody and returns who answered.
func (r *real) call(t testing.TB, ref uint64) (names []string) {
	t.Helper()
	r.Submit(proto.StartCall{Ref: ref, Request: proto.Request{Mode: proto.ModeCall, Method: "m", Payload: make([]byte, 32)}, Budget: 5 * time.Second})
	select {
	case <-r.done:
	case <-time.After(10 * time.Second):
		t.Fatal("the call did not end")
	}
	r.upper.mu.Lock()
	defer r.upper.mu.Unlock()
	for _, out := range r.upper.told {
		if v, ok := out.(proto.CallVerdict); ok && v.Ref == ref {
			names = append(names, fmt.Sprint(string(v.Result.Payload), " ", v.Verdict))
		}
	}
	r.upper.told = nil
	slices.Sort(names)
	return names
}

func TestRealNodesFindEachOtherCallEachOtherAndPart(t *testing.T) {
	a := newReal(t, "a")
	defer a.stop()
	var nodes []*real
	for _, name := range []string{"b", "c", "d", "e"} {
		n := newReal(t, name, a.Addr().String())
		defer func() {
			if name != "e" {
				n.stop()
			}
		}()
		nodes = append(nodes, n)
	}
	for _, n := range append(nodes, a) {
		n.awaitMembers(t, proto.StatusAlive, 5)
	}
	for ref, n := range append(nodes, a) {
		if got := fmt.Sprint(n.call(t, uint64(ref+1))); got != "[a replied b replied c replied d replied e replied]" {
			t.Errorf("%s got %s", n.Self().Name, got)
		}
	}
	e := nodes[3]
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := e.Leave(ctx); err != nil {
		t.Error(err)
	}
	e.stop()
	for _, n := range append(nodes[:3], a) {
		n.awaitMembers(t, proto.StatusLeft, 1)
		n.awaitMembers(t, proto.StatusAlive, 4)
	}
}

// BenchmarkMulticall is 32 bytes to five nodes of one process, and back.
func BenchmarkMulticall(b *testing.B) {
	var cluster []*real
	for i := range 5 {
		var contacts []string
		if i > 0 {
			contacts = []string{cluster[0].Addr().String()}
		}
		n := newReal(b, fmt.Sprint("n", i), contacts...)
		defer n.stop()
		cluster = append(cluster, n)
	}
	for _, n := range cluster {
		n.awaitMembers(b, proto.StatusAlive, 5)
	}
	var took []time.Duration
	ref := uint64(1000)
	for b.Loop() {
		ref++
		start := time.Now()
		if got := cluster[0].call(b, ref); len(got) != 5 {
			b.Fatalf("answers %v", got)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	for _, q := range []int{75, 85, 90, 93, 95, 97} {
		b.Logf("p%d %v", q, took[len(took)*q/100])
	}
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
