package ask

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/starlingmesh/starling/cmd/starling/term"
	"github.com/starlingmesh/starling/rpc/client"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// withAdmin calls back with the operators' service.
type withAdmin = func(context.Context, func(starlingv1.AdminServiceClient) error) error

// operators gives a command, and those under it, the flags that say where the operators' socket is, and the way to it.
func operators(c *cobra.Command) withAdmin {
	socket := c.PersistentFlags().String("socket", "", "the sidecar's socket (default: $STARLING_SOCKET, then the usual places)")
	admin := c.PersistentFlags().String("admin-socket", "", "the operators' socket (default: $STARLING_ADMIN_SOCKET, else admin.sock beside the other)")
	return func(ctx context.Context, do func(starlingv1.AdminServiceClient) error) error {
		return askOperators(ctx, *admin, *socket, do)
	}
}

// askOperators finds the operators' socket and calls back with its service.
func askOperators(ctx context.Context, admin, socket string, do func(starlingv1.AdminServiceClient) error) error {
	path, err := adminSocket(ctx, admin, socket)
	if err != nil {
		return err
	}
	conn, err := client.Connect(path)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", path, err)
	}
	defer func() { _ = conn.Close() }() // nothing is buffered
	return noAgent(operatorsWord(path, do(starlingv1.NewAdminServiceClient(conn))))
}

// operatorsWord says what the operators' socket answered, without gRPC's dressing.
func operatorsWord(path string, err error) error {
	s, ok := status.FromError(err)
	switch {
	case err == nil || !ok:
		return err
	case s.Code() == codes.Unavailable && strings.Contains(s.Message(), "permission denied"):
		return term.Exit{Code: term.NoAgent, Err: fmt.Errorf("ask %s: permission denied: it is for the sidecar's own user and root", path)}
	case s.Code() == codes.Unavailable:
		return term.Exit{Code: term.NoAgent, Err: fmt.Errorf("ask %s: nobody answers there; is `starling agent` running?", path)}
	case s.Code() == codes.InvalidArgument:
		return term.Exit{Code: term.Usage, Err: errors.New(s.Message())}
	default:
		return errors.New(s.Message())
	}
}
