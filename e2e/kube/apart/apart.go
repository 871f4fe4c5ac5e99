// Package apart runs a test binary once more, in namespaces of its own: whatever the inner process starts, mounts and connects is
// seen by nobody else, and gone with it. The outer one prepares what needs the network and waits; it tests nothing.
package apart

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

const key = "STARLING_APART"

// Inside tells whether this is the inner process.
func Inside() bool { return os.Getenv(key) != "" }

// Again runs this program with its arguments in new namespaces (CLONE_NEW… of clone(2)), and returns its exit code. The inner
// one dies with this one. Its TMPDIR is a folder that is removed afterwards.
//
// Who is not root may have them all the same, as root of a user namespace, if the machine allows that.
func Again(ctx context.Context, spaces uintptr) (code int, err error) {
	dir, err := os.MkdirTemp("", "apart-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.Env = append(os.Environ(), key+"=1", "TMPDIR="+dir)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: spaces, Pdeathsig: syscall.SIGKILL}
	if uid := os.Getuid(); uid != 0 {
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	runtime.LockOSThread() // the inner process dies with the thread that started it
	defer runtime.UnlockOSThread()
	var exit *exec.ExitError
	switch err := c.Run(); {
	case errors.As(err, &exit):
		return max(1, exit.ExitCode()), nil
	case err != nil:
		return 0, fmt.Errorf("run the tests in namespaces of their own: %w", err)
	default:
		return 0, nil
	}
}
