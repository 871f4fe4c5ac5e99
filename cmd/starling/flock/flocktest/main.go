// Package flocktest gives tests a cluster of real processes, and words for what should happen to it. It waits for events,
// prints how long they took and says which never came; it never sleeps, and it reaches into no process.
package flocktest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// binary is the starling program, built by Main.
var binary string

// Main builds the program once for all tests of a package, runs them, and removes it. With -race it is built with -race.
func Main(m *testing.M) {
	code, err := build(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func build(then func() int) (code int, err error) {
	dir, err := os.MkdirTemp("", "flocktest-")
	if err != nil {
		return 0, fmt.Errorf("make a directory for the program: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // a test runs the program as another user
		return 0, fmt.Errorf("open the program's directory: %w", err)
	}
	binary = filepath.Join(dir, "starling")
	args := []string{"build", "-buildvcs=false", "-o", binary}
	if race {
		args = append(args, "-race")
	}
	where, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/starlingmesh/starling").Output() //nolint:noctx // go test has a timeout
	if err != nil {
		return 0, fmt.Errorf("look for the module: %w", err)
	}
	c := exec.Command("go", append(args, "./cmd/starling")...) //nolint:noctx // as above
	c.Dir = strings.TrimSpace(string(where))                   // where its go.mod is: another module may be testing
	out, err := c.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("build starling: %w\n%s", err, out)
	}
	return then(), nil
}

// Binary is the program's path; other users may run it.
func Binary() string { return binary }
