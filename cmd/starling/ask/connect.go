// Package ask holds the commands that talk to a running sidecar over its unix socket: who is there, ask them, tell them,
// serve them, disturb them. It starts no sidecar and knows none of the packages that one is made of.
package ask

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/starlingmesh/starling/cmd/starling/term"
	"github.com/starlingmesh/starling/rpc/client"
)

// dialTimeout is how long a command waits for a sidecar's greeting: it is on this machine, or it is not there.
const dialTimeout = 5 * time.Second

// envAdminSocket names the operators' socket, where it is not beside the applications'.
const envAdminSocket = "STARLING_ADMIN_SOCKET"

// socketFlag gives a command --socket.
func socketFlag(c *cobra.Command) *string {
	return c.Flags().String("socket", "", "the sidecar's socket (default: $STARLING_SOCKET, then the usual places)")
}

// dial connects to the sidecar of this machine.
func dial(ctx context.Context, socket, name string) (*client.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := client.Dial(ctx, client.Options{Socket: socket, Application: "starling " + name})
	return c, noAgent(err)
}

// noAgent gives "nobody there" its exit code.
func noAgent(err error) error {
	var paths *client.PathError
	var refused *client.Error
	code := status.Code(err)
	switch {
	case errors.As(err, &paths):
		return term.Exit{Code: term.NoAgent, Err: paths}
	case errors.As(err, &refused):
		code = refused.Code
	}
	switch code {
	case codes.Unavailable:
		return term.Exit{Code: term.NoAgent, Err: err}
	case codes.InvalidArgument:
		return term.Exit{Code: term.Usage, Err: err}
	default:
		return err
	}
}

// withClient is the frame of every command that talks to the sidecar.
func withClient(c *cobra.Command, socket string, do func(context.Context, *client.Client) error) error {
	sidecar, err := dial(c.Context(), socket, c.Name())
	if err != nil {
		return err
	}
	err = do(c.Context(), sidecar)
	if c.Context().Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // Ctrl-C is how watching ends
	}
	return errors.Join(noAgent(err), sidecar.Close())
}

// adminSocket is the operators' socket: the flag's, $STARLING_ADMIN_SOCKET, or beside the applications'.
func adminSocket(ctx context.Context, flag, socket string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	if env := os.Getenv(envAdminSocket); env != "" {
		return env, nil
	}
	found, err := client.FindSocket(ctx, socket)
	if err != nil {
		return "", noAgent(err)
	}
	admin := filepath.Join(filepath.Dir(found), "admin.sock")
	if _, err := os.Stat(admin); err != nil {
		return "", term.Exit{Code: term.NoAgent, Err: fmt.Errorf("look for the operators' socket: %w; name it by --admin-socket or %s", err, envAdminSocket)}
	}
	return admin, nil
}
