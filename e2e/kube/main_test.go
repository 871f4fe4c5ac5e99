package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/starlingmesh/starling/cmd/starling/flock/flocktest"
	"github.com/starlingmesh/starling/e2e/kube/apart"
	"github.com/starlingmesh/starling/e2e/kube/build"
	"github.com/starlingmesh/starling/e2e/kube/plane"
)

// control is the control plane that all tests share; each has a namespace of its own. No test runs beside another: some take
// a server away.
var control *plane.Plane

// TestMain runs the tests in a network namespace with nothing but loopback: whatever dials the addresses of the tests' pods
// finds nobody, or a sidecar of the test, and never somebody else's machine.
func TestMain(m *testing.M) {
	if !apart.Inside() {
		code, err := outside()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	}
	if err := inside(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	flocktest.Main(m) // the control plane ends with this process, its files with the outer one
}

// outside builds what needs the network, and has the tests run inside.
func outside() (code int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for _, program := range []string{"kubernetes", "coredns"} {
		if _, err := build.Program(ctx, program, os.Stderr); err != nil {
			return 0, err
		}
	}
	return apart.Again(ctx, syscall.CLONE_NEWNET)
}

// inside makes the addresses of pods local, and starts the control plane.
func inside() (err error) {
	if err := addressesAreLocal(); err != nil {
		return fmt.Errorf("set loopback up: %w", err)
	}
	control, err = plane.Start(context.Background(), plane.Options{}, os.Stderr)
	return err
}

// addressesAreLocal gives loopback 10.77.0.1/16 beside 127.0.0.1/8: all of the network is this machine then.
func addressesAreLocal() (err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	ask := func(device string, request uint, set func(*unix.Ifreq) error) error {
		r, err := unix.NewIfreq(device)
		if err == nil {
			err = set(r)
		}
		if err == nil {
			err = unix.IoctlIfreq(fd, request, r)
		}
		return err
	}
	up := func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP); return nil }
	address := func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{10, 77, 0, 1}) }
	mask := func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 0, 0}) }
	return errors.Join(
		ask("lo", unix.SIOCSIFFLAGS, up),
		ask("lo:1", unix.SIOCSIFADDR, address),
		ask("lo:1", unix.SIOCSIFNETMASK, mask),
	)
}
