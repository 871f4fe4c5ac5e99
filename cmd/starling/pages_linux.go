package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// startUp is how long the code of start-up may still be wanted, from when the node runs: long enough to have joined.
const startUp = 5 * time.Second

// dropStartUp unmaps the pages of the program's file that are in memory: most of them were wanted once, for the tables of
// packages that a sidecar of this configuration never uses, for flags and for the configuration. Those in use come back
// from the page cache at their next access, in a few hundred minor faults; the others are the kernel's to take when
// memory runs short, and no longer count as the sidecar's (RSS). See madvise(2), MADV_DONTNEED: of a private mapping that
// cannot be written, nothing is lost.
func dropStartUp() (err error) {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("look for the program's file: %w", err)
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("look where the program is mapped: %w", err)
	}
	defer func() { err = errors.Join(err, maps.Close()) }()
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		var from, to uintptr
		var may string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &may); err != nil {
			return fmt.Errorf("read where the program is mapped: %q: %w", lines.Text(), err)
		}
		if strings.Contains(may, "w") || !strings.HasSuffix(lines.Text(), " "+program) {
			continue
		}
		if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("give back the pages of %s: %w", program, errno)
		}
	}
	return lines.Err()
}
