package flock_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/starlingmesh/starling/cmd/starling/flock/flocktest"
)

func TestMain(m *testing.M) { flocktest.Main(m) }

// demoBound is how long a demo may take once it is built.
const demoBound = 40 * time.Second

// tempDir is short, for sockets, and anybody may write to it.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "demo-") //nolint:usetesting // that one is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // the test looked into it
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// wantNothingLeft looks for files in the demo's directory, and for processes that have it in their command line.
func wantNothingLeft(t *testing.T, tmp string) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(tmp, "*")); err != nil || len(left) > 0 {
		t.Errorf("files were left: %v %v", left, err)
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		if text, err := os.ReadFile(l); err == nil && bytes.Contains(text, []byte(tmp)) {
			t.Errorf("a process was left: %s %s", l, bytes.ReplaceAll(text, []byte{0}, []byte{' '}))
		}
	}
}

func wantStory(t *testing.T, said string, err error, took time.Duration) {
	t.Helper()
	if err != nil {
		t.Errorf("%v", err)
	}
	if took > demoBound {
		t.Errorf("it took %v", took)
	}
	for _, part := range []string{"bird-4 was killed (SIGKILL), bird-5 is paused (SIGSTOP)", "done: every node had one verdict"} {
		if !strings.Contains(said, part) {
			t.Errorf("it does not say %q", part)
		}
	}
	if n := strings.Count(said, "5 asked, 5 replied; executed: 5 yes, 0 no, 0 maybe"); n != 2 {
		t.Errorf("five of five replied %d times, want 2", n)
	}
	if t.Failed() {
		t.Log(said)
	}
}

// Two at once, in a directory that is none of theirs, and one of them for somebody who is not root.
func TestTwoDemosAtOnceForAnyUserInAnyDirectory(t *testing.T) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, nobody := range []bool{false, true} {
		if nobody && os.Getuid() != 0 {
			t.Log("the second demo runs as the same user: only root can become another")
		}
		tmp := tempDir(t)
		c := exec.CommandContext(t.Context(), flocktest.Binary(), "demo")
		c.Dir, c.Env = "/", append(os.Environ(), "TMPDIR="+tmp)
		if nobody && os.Getuid() == 0 {
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			c.Env = []string{"TMPDIR=" + tmp, "PATH=" + os.Getenv("PATH")} // no HOME either
		}
		wg.Go(func() {
			began := time.Now()
			out, err := c.CombinedOutput()
			t.Logf("nobody: %t: %v", nobody, time.Since(began).Round(time.Millisecond))
			wantStory(t, string(out), err, time.Since(began))
			wantNothingLeft(t, tmp)
		})
	}
}

func TestMakeDemoFromAnotherDirectory(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("there is no make")
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	tmp := tempDir(t)
	c := exec.CommandContext(t.Context(), "make", "-s", "-C", root, "demo")
	c.Dir, c.Env = "/", append(os.Environ(), "TMPDIR="+tmp)
	began := time.Now()
	out, err := c.CombinedOutput()
	t.Logf("make demo, building included: %v", time.Since(began).Round(time.Millisecond))
	wantStory(t, string(out), err, 0)
	wantNothingLeft(t, tmp)
}

// watchFor is a writer that tells when a word went by.
type watchFor struct {
	word string
	seen context.CancelFunc

	mu   sync.Mutex
	text bytes.Buffer
}

func (w *watchFor) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	if strings.Contains(w.text.String(), w.word) {
		w.seen()
	}
	return len(p), nil
}

// Ctrl-C while a bird is killed and another stands still: the hardest moment to clean up in.
func TestAnInterruptedDemoLeavesNothing(t *testing.T) {
	tmp := tempDir(t)
	c := exec.CommandContext(t.Context(), flocktest.Binary(), "demo")
	paused, seen := context.WithCancel(t.Context())
	out := &watchFor{word: "is paused", seen: seen}
	c.Stdout, c.Stderr, c.Env = out, out, append(os.Environ(), "TMPDIR="+tmp)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	<-paused.Done()
	began := time.Now()
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err := c.Wait()
	t.Logf("ended %v after Ctrl-C: %v", time.Since(began).Round(time.Millisecond), err)
	if code := c.ProcessState.ExitCode(); code != 130 { // as a shell tells of SIGINT: 128 + 2
		t.Errorf("exit code %d:\n%s", code, out.text.String())
	}
	wantNothingLeft(t, tmp)
}
