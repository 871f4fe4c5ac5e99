package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestTheProgramsPagesAreGivenBackAfterStartUp(t *testing.T) {
	before := residentFile(t)
	if err := dropStartUp(); err != nil {
		t.Fatal(err)
	}
	after := residentFile(t)
	t.Logf("pages of files in memory: %d kB, then %d kB", before, after)
	if after > before/2 {
		t.Errorf("%d kB of files are mapped, before %d kB", after, before)
	}
}

// residentFile is how much of this process is pages of files, in kB (proc_pid_status(5), RssFile).
func residentFile(t *testing.T) (kB int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(status), "RssFile:")
	if _, err := fmt.Sscanf(rest, "%d kB", &kB); !found || err != nil {
		t.Fatalf("no RssFile in %s (%v)", status, err)
	}
	return kB
}
