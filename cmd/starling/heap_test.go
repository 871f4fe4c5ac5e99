package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestASmallHeapMayDoubleAndALargeOneGrowByHalf(t *testing.T) {
	for inUse, want := range map[uint64]int{0: 200, 1 << 20: 200, 2 << 20: 100, 4 << 20: 50, 12 << 20: 50, 1 << 30: 50} {
		if got := growth(inUse); got != want {
			t.Errorf("%d MiB in use: %d %%, want %d", inUse>>20, got, want)
		}
	}
}

func TestCollectionsFollowTheSizeOfTheHeapUnlessTheEnvironmentSays(t *testing.T) {
	was := debug.SetGCPercent(100)
	defer debug.SetGCPercent(was)
	t.Setenv("GOGC", "70")
	collectBySize()
	if n := debug.SetGCPercent(100); n != 100 {
		t.Errorf("%d %% though the environment says", n)
	}
	_ = os.Unsetenv("GOGC")
	collectBySize()
	large := make([]byte, 64<<20)
	await(t, "half of a large heap", func() bool { return percent() == 50 })
	runtime.KeepAlive(large)
	await(t, "more of a small one", func() bool { return percent() > 50 })
}

// await collects until it is so: cleanups run some time after the collection.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !so(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("no %s: %d %%", what, percent())
		}
		runtime.GC()
	}
}

func percent() int {
	p := debug.SetGCPercent(100)
	debug.SetGCPercent(p)
	return p
}
