package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// The heap may grow by so much between two collections.
const (
	growLeast = 2 << 20 // bytes
	growShare = 2       // or a half of what is in use
)

// collectBySize sets after each collection when the next one is due, unless the environment says (GOGC). The runtime's
// habit is to wait until the heap has doubled. For a sidecar that knows thousands of pods that is as much memory again as
// they take, so a large heap waits for half as much as it uses. A small one keeps the habit: more room made calls dearer
// where 64 sidecars share a processor's cache (243 µs for 217 µs of each node, with 6 MB). Where memory is short GOMEMLIMIT
// still counts.
func collectBySize() {
	if _, set := os.LookupEnv("GOGC"); !set {
		afterCollection(debug.SetGCPercent(growth(0)))
	}
}

// afterCollection is called once for each collection, by the cleanup of an object that the one before left to it.
func afterCollection(percent int) {
	if want := growth(inUse()); want < percent*9/10 || want > percent*11/10 {
		debug.SetGCPercent(want)
		percent = want
	}
	runtime.AddCleanup(new([64]byte), afterCollection, percent)
}

// growth is in percent of the bytes in use, as GOGC is.
func growth(inUse uint64) int {
	inUse = max(inUse, 1<<20)
	return int(100 * max(growLeast, inUse/growShare) / inUse)
}

// inUse is what the last collection found to be in use, in bytes.
func inUse() uint64 {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	return live[0].Value.Uint64()
}
