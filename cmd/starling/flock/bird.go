package flock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/starlingmesh/starling/rpc/client"
)

// A Bird is one sidecar, the application beside it, and a connection to its socket.
type Bird struct {
	Name string

	dir     string
	address string // where other sidecars reach it
	sidecar *process
	app     *process
	client  *client.Client
}

func (b *Bird) file(kind string) string { return filepath.Join(b.dir, b.Name+"."+kind) }

// Socket is the applications' socket.
func (b *Bird) Socket() string { return b.file("sock") }

// AdminSocket is the operators' socket.
func (b *Bird) AdminSocket() string { return b.file("admin") }

// Client is this program's own connection to the sidecar.
func (b *Bird) Client() *client.Client { return b.client }

// connect waits for the sidecar's socket and asks for the address that the kernel gave it.
func (b *Bird) connect(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	gone := context.AfterFunc(b.sidecar.gone, func() { cancel(errors.New("the sidecar ended")) })
	defer gone()
	if b.client == nil {
		c, err := client.Dial(ctx, client.Options{Socket: b.Socket(), Application: "flock", Wait: true})
		if err != nil {
			return fmt.Errorf("%s: %w%s", b.Name, errors.Join(err, context.Cause(ctx)), b.lastWords())
		}
		b.client = c
	}
	status, err := b.client.Status(ctx)
	for err != nil && context.Cause(ctx) == nil { // a client of the process before needs a moment to find this one
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
			status, err = b.client.Status(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w%s", b.Name, err, b.lastWords())
	}
	if addresses := status.GetSelf().GetAddresses(); len(addresses) > 0 {
		b.address = addresses[0]
	}
	return nil
}

// lastWords is the end of the sidecar's log, for an error.
func (b *Bird) lastWords() string {
	const most = 2000
	text, err := os.ReadFile(b.file("log"))
	if err != nil || len(text) == 0 {
		return ""
	}
	return "\n" + string(bytes.TrimSpace(text[max(0, len(text)-most):]))
}

// Kill ends the sidecar as kill -9 does.
func (b *Bird) Kill() { b.sidecar.signal(syscall.SIGKILL); <-b.sidecar.gone.Done() }

// Pause stops the sidecar as a debugger or a frozen container does, and returns when it stands still.
func (b *Bird) Pause() {
	b.sidecar.signal(syscall.SIGSTOP)
	b.sidecar.awaitStopped()
}

// Resume lets it go on.
func (b *Bird) Resume() { b.sidecar.signal(syscall.SIGCONT) }

// Stop ends the sidecar as an orchestrator does, with SIGTERM, and returns when it has said its farewell and ended.
func (b *Bird) Stop() { b.sidecar.signal(syscall.SIGTERM); <-b.sidecar.gone.Done() }

// KillApp ends the application beside the sidecar as kill -9 does.
func (b *Bird) KillApp() { b.app.signal(syscall.SIGKILL); <-b.app.gone.Done() }

// PID is the sidecar's process.
func (b *Bird) PID() int { return b.sidecar.pid }

// Address is where other sidecars reach it.
func (b *Bird) Address() string { return b.address }

// ConfigFile is what its sidecar was started with.
func (b *Bird) ConfigFile() string { return b.file("yaml") }

// LogFile is what its sidecar has said.
func (b *Bird) LogFile() string { return b.file("log") }

// stop ends everything of the bird.
func (b *Bird) stop() {
	for _, p := range []*process{b.app, b.sidecar} {
		if p != nil {
			p.signal(syscall.SIGKILL) // reaches stopped ones, too
			<-p.gone.Done()
		}
	}
	if b.client != nil {
		_ = b.client.Close() // its sidecar is gone
	}
}
