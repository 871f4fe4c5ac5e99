package sim

import (
	"runtime"
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"
)

// roomy lets the heap grow to so many GiB before anything is collected, on huge
// pages if the kernel has them: a world of thousands of nodes is looked up all
// over, and most of the wait is for the addresses of small pages.
func roomy(b *testing.B, gib int) {
	b.Helper()
	// The heap grows into the room that this leaves behind, and the advice stays.
	room := make([]byte, gib<<30)
	if err := unix.Madvise(room, unix.MADV_HUGEPAGE); err != nil {
		b.Logf("no huge pages: %v", err)
	}
	percent, limit := debug.SetGCPercent(-1), debug.SetMemoryLimit(int64(gib)<<30)
	runtime.GC()
	b.Cleanup(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	})
}
