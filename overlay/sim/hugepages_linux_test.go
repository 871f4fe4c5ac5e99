package sim

import (
	"runtime"
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"
)

// hugePages asks the kernel for huge pages under the next so many GiB of the
// heap: a world of thousands of nodes is looked up all over, and most of the
// wait is for the addresses of small pages. Not granted, it is only slower.
// With touched they are there from the start, as in a process that runs for
// long: else each page's first use is measured, too.
func hugePages(b *testing.B, gib int, touched bool) {
	b.Helper()
	// The heap grows into the room that this leaves behind, and the advice stays.
	room := make([]byte, gib<<30)
	if err := unix.Madvise(room, unix.MADV_HUGEPAGE); err != nil {
		b.Logf("no huge pages: %v", err)
	}
	if !touched {
		debug.FreeOSMemory()
		return
	}
	for i := 0; i < len(room); i += 4 << 10 {
		room[i] = 1
	}
	runtime.GC()
}
