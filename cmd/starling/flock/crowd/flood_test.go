package crowd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/starlingmesh/starling/cmd/starling/flock"
	"github.com/starlingmesh/starling/cmd/starling/flock/flocktest"
	"github.com/starlingmesh/starling/rpc/client"
)

const (
	flood    = 10_000
	memRise  = 20 << 20
	memBack  = 4 << 20 // within so much of what it was counts as back
	backFor  = 10 * time.Second
	silentIn = 5 * time.Second // limits.handshake
)

func TestTenThousandSilentConnectionsDisturbNobody(t *testing.T) {
	w := flocktest.Started(t, flock.Options{Birds: 5, Change: func(_ string, s *flock.Settings) { s.Rest = flocktest.HTTP }})
	target, other := w.Bird(1), w.Bird(2)
	n := descriptors(t, flood)
	before := 0
	for range 500 { // what it allocates once and for good is no matter of the flood
		w.Multicall(target)
		w.Multicall(other)
		w.Metrics(target)
		before = max(before, w.Memory(target))
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { keepAsking(ctx, t, w, other) })
	wg.Go(func() { keepAsking(ctx, t, w, target) })
	var peak atomic.Int64
	wg.Go(func() {
		ticks := time.NewTicker(5 * time.Millisecond)
		defer ticks.Stop()
		for ctx.Err() == nil {
			peak.Store(max(peak.Load(), int64(w.Memory(target))))
			<-ticks.C
		}
	})

	began := time.Now()
	open := make([]net.Conn, 0, n)
	for range n {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", target.Address())
		switch {
		case err == nil:
			open = append(open, c)
		case !errors.Is(err, syscall.ECONNRESET): // which is as good: refused before we looked
			t.Fatalf("connection %d: %v", len(open)+1, err)
		}
	}
	t.Logf("%d connections in %v", len(open), time.Since(began).Round(time.Millisecond))
	refused := func() error {
		if got := w.Refused(target, "silent"); got != n {
			return fmt.Errorf("%d refused as silent, want %d", got, n)
		}
		return nil
	}
	w.Await("all are refused as silent", silentIn, refused)
	for _, c := range open {
		_ = c.Close() // they were refused
	}
	t.Logf("%.1f MiB before, %.1f MiB at most until all were refused", mib(int64(before)), mib(peak.Load()))
	w.Await("memory is back", backFor, func() error {
		if now := w.Memory(target); now > before+memBack {
			return fmt.Errorf("%d MiB, before %d MiB", now>>20, before>>20)
		}
		return nil
	})
	stop()
	wg.Wait()
	if rise := peak.Load() - int64(before); rise > memRise {
		t.Errorf("memory rose by %.1f MiB", mib(rise))
	}
	for _, b := range w.Birds() {
		if got := w.Metrics(b)[`starling_members{status="alive"}`]; got != 5 {
			t.Errorf("%s knows %v members alive", b.Name, got)
		}
	}
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// keepAsking wants all replies, again and again.
func keepAsking(ctx context.Context, t *testing.T, w *flocktest.World, b *flock.Bird) {
	t.Helper()
	var longest time.Duration
	n := 0
	ticks := time.NewTicker(20 * time.Millisecond)
	defer ticks.Stop()
	for ; ctx.Err() == nil; <-ticks.C {
		a, err := b.Client().Multicall(t.Context(), flock.EchoMethod, client.Text("still there?"))
		if err != nil || a.Summary.Replied != len(w.Birds()) {
			t.Errorf("%s: a multicall during the flood: %+v, %v", b.Name, a, err)
			return
		}
		longest, n = max(longest, a.Summary.Elapsed), n+1
	}
	t.Logf("%s: %d multicalls meanwhile, all answered by all, the slowest in %v", b.Name, n, longest.Round(time.Microsecond))
}

// descriptors is how many connections this process may hold, at most want: it raises its limit as far as it may.
func descriptors(t *testing.T, want int) int {
	t.Helper()
	const ours = 500 // descriptors for everything else
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = limit.Max
	if need := uint64(want + ours); limit.Max < need {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: need, Max: need}); err == nil {
			limit.Cur = need
		}
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: limit.Cur, Max: max(limit.Cur, limit.Max)}); err != nil {
		t.Logf("raise the limit of descriptors: %v", err)
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}
	if int(limit.Cur) >= want+ours {
		return want
	}
	t.Logf("only %d descriptors are allowed: fewer connections than the %d promised", limit.Cur, want)
	return int(limit.Cur) - ours
}
