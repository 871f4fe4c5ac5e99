package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

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
	switch {
	case errors.As(err, &paths):
		return exit{exitNoAgent, paths}
	case errors.As(err, &refused) && refused.Code == codes.Unavailable:
		return exit{exitNoAgent, err}
	case errors.As(err, &refused) && refused.Code == codes.InvalidArgument:
		return exit{exitUsage, err}
	}
	return err
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
		return "", exit{exitNoAgent, fmt.Errorf("look for the operators' socket: %w; name it by --admin-socket or %s", err, envAdminSocket)}
	}
	return admin, nil
}
