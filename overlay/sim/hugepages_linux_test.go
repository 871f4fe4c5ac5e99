package sim

import (
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"
)

// hugePages asks the kernel for huge pages under the next so many GiB of the
// heap: a world of thousands of nodes is looked up all over, and most of the
// wait is for the addresses of small pages. Not granted, it is only slower.
func hugePages(b *testing.B, gib int) {
	b.Helper()
	// The heap grows into the room that this leaves behind, and the advice stays.
	room := make([]byte, gib<<30)
	if err := unix.Madvise(room, unix.MADV_HUGEPAGE); err != nil {
		b.Logf("no huge pages: %v", err)
	}
	debug.FreeOSMemory()
}
