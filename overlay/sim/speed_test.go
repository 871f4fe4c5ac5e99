package sim

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// grown is a cluster of so many nodes that start within the given time, from a few contacts, and has settled.
func grown(b *testing.B, cfg Config, nodes int, within time.Duration) *World {
	b.Helper()
	w := New(cfg)
	for i := range nodes {
		w.at(time.Duration(i)*within/time.Duration(nodes), func() {
			n := w.Start()
			n.Contacts(w.Nodes[0].Addr(), w.Nodes[i/2].Addr(), w.Nodes[i/3].Addr())
		})
	}
	for range 20 {
		w.Run(within / 20)
		if testing.Verbose() {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			fmt.Fprintf(os.Stderr, "%v: %d nodes, %d events, heap %.2f GiB after %d collections\n",
				w.Now(), len(w.Nodes), w.happened, float64(m.HeapAlloc)/(1<<30), m.NumGC)
		}
	}
	w.Run(10 * time.Second)
	if took, ok := w.Until(time.Minute, func() bool { return w.Settled() == "" }); !ok {
		b.Fatalf("not settled after %v: %s %s", took, w.Settled(), w.Failed())
	}
	return w
}

// BenchmarkEvents measures a world at work, every message through wire and every invariant watched: each iteration is a
// second of the world with ten calls to everybody and ten broadcasts. The aim at 1,000 nodes is 300,000 events/s on a core:
//
//	GOMAXPROCS=1 go test ./overlay/sim -run '^$' -bench Events -benchtime 60x
func BenchmarkEvents(b *testing.B) {
	// Collected seldom; but in twice the room what lives is further apart, and each second costs a fifth more.
	percent, limit := debug.SetGCPercent(-1), debug.SetMemoryLimit(4<<30)
	hugePages(b, 3, true)
	defer func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}()
	for _, nodes := range []int{100, 1000} {
		var w *World // the same for every b.N: it takes longer to grow than to watch
		b.Run(fmt.Sprint(nodes), func(b *testing.B) {
			if w == nil {
				w = grown(b, Calm(1), nodes, 10*time.Second)
			}
			began, stepped := w.happened, w.steps
			runtime.GC() // what was left of growing
			b.ResetTimer()
			for range b.N {
				for i := range 10 {
					n := w.Nodes[w.rng.IntN(nodes)]
					n.Ask(proto.Selector{}, 2*time.Second, 32, 0)
					n.Publish(fmt.Sprint("topic", i), 100)
					w.Run(100 * time.Millisecond)
				}
			}
			b.StopTimer()
			if w.Failed() != "" {
				b.Fatal(w.Failed())
			}
			b.ReportMetric(float64(w.happened-began)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(w.happened-began)/float64(b.N), "events/op")
			b.ReportMetric(float64(w.steps-stepped)/b.Elapsed().Seconds(), "steps/s")
		})
	}
}

// BenchmarkMemory prints what a large world takes, 10,000 nodes unless STARLING_SIM_NODES says otherwise; the aim is 16 GiB.
// What comes "from the system" is what it took at most, but for pages given back. STARLING_SIM_HEAP names a file for the profile of
// what it is. 10,000 nodes take two hours:
//
//	GOGC=200 GOMEMLIMIT=15500MiB go test ./overlay/sim -run '^$' -bench Memory -benchtime 1x -timeout 5h -v
func BenchmarkMemory(b *testing.B) {
	nodes := 10_000
	if text := os.Getenv("STARLING_SIM_NODES"); text != "" {
		var err error
		if nodes, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	hugePages(b, 15, false)
	// What newcomers say of themselves would be most of the memory, if everybody repeated it for half a minute.
	cfg := Calm(1)
	cfg.Core.Broadcast.CacheFor, cfg.Core.Broadcast.WindowFor = 2*time.Second, 4*time.Second
	for range b.N {
		began := time.Now()
		w := grown(b, cfg, nodes, time.Duration(nodes)*12*time.Millisecond)
		took := time.Since(began)
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.Logf("%d nodes settled at %v of the world, %v of ours: %d events, live heap %.2f GiB (%.0f bytes for each that one knows of another), from the system %.2f GiB",
			nodes, w.Now(), took.Round(time.Second), w.happened, float64(m.HeapAlloc)/(1<<30), float64(m.HeapAlloc)/float64(nodes*nodes), float64(m.Sys-m.HeapReleased)/(1<<30))
		b.ReportMetric(float64(m.Sys-m.HeapReleased)/(1<<30), "GiB")
		b.ReportMetric(float64(w.happened)/took.Seconds(), "events/s")
		if path := os.Getenv("STARLING_SIM_HEAP"); path != "" {
			f, err := os.Create(path)
			if err == nil {
				err = errors.Join(pprof.WriteHeapProfile(f), f.Close())
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		runtime.KeepAlive(w)
	}
}
