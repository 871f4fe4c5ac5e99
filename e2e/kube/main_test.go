package kube

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/starlingmesh/starling/e2e/kube/plane"
)

// control is the control plane that all tests share; each has a namespace of its own. No test runs beside another: some take
// a server away.
var control *plane.Plane

func TestMain(m *testing.M) {
	code, err := withPlane(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withPlane(run func() int) (code int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if control, err = plane.Start(ctx, os.Stderr); err != nil {
		return 0, err
	}
	stop() // from here on a signal ends us, and the kernel the servers
	code = run()
	return code, control.Close()
}
