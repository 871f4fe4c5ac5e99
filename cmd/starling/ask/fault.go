package ask

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/starlingmesh/starling/cmd/starling/term"
	"github.com/starlingmesh/starling/rpc/client"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// Fault is `starling fault`.
func Fault() *cobra.Command {
	c := &cobra.Command{
		Use:   "fault",
		Short: "Make links misbehave, for a bounded time",
		Long: `Cuts, delays or stalls this sidecar's links, for tests and game days. It needs faults.allowed in the sidecar's
configuration and the operators' socket. PEER is a name, a node ID, an address, or "*" for all.`,
		Example: "  starling fault cut cart-1 --for 30s\n  starling fault delay '*' 200ms\n  starling fault list\n  starling fault clear",
		Args:    cobra.NoArgs,
	}
	socket := c.PersistentFlags().String("socket", "", "the sidecar's socket (default: $STARLING_SOCKET, then the usual places)")
	admin := c.PersistentFlags().String("admin-socket", "", "the operators' socket (default: $STARLING_ADMIN_SOCKET, else admin.sock beside the other)")
	with := func(ctx context.Context, do func(starlingv1.AdminServiceClient) error) error {
		path, err := adminSocket(ctx, *admin, *socket)
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
	c.AddCommand(
		newFaultKind("cut", "PEER", "Close connections to a peer and refuse new ones", starlingv1.FaultKind_FAULT_KIND_CUT, with),
		newFaultKind("delay", "PEER DELAY", "Let frames wait", starlingv1.FaultKind_FAULT_KIND_DELAY, with),
		newFaultKind("stall", "PEER", "Let nothing through and close nothing", starlingv1.FaultKind_FAULT_KIND_STALL, with),
		newFaultList(with), newFaultClear(with),
	)
	return c
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

// withAdmin calls back with the operators' service.
type withAdmin = func(context.Context, func(starlingv1.AdminServiceClient) error) error

func newFaultKind(name, args, short string, kind starlingv1.FaultKind, with withAdmin) *cobra.Command {
	words := len(strings.Fields(args))
	c := &cobra.Command{Use: name + " " + args, Short: short, Args: cobra.ExactArgs(words), ValidArgsFunction: completeArgs(nodeNames)}
	length := c.Flags().Duration("for", time.Minute, "how long it lasts; at most 1h")
	c.RunE = func(c *cobra.Command, args []string) error {
		f := &starlingv1.Fault{Peer: args[0], Kind: kind, Duration: durationpb.New(*length)}
		if words > 1 {
			d, err := time.ParseDuration(args[1])
			if err != nil || d <= 0 {
				return term.Usagef("DELAY %q is no duration such as 200ms", args[1])
			}
			f.Delay = durationpb.New(d)
		}
		return with(c.Context(), func(admin starlingv1.AdminServiceClient) error {
			_, err := admin.SetFault(c.Context(), &starlingv1.SetFaultRequest{Fault: f})
			return err
		})
	}
	return c
}

func newFaultList(with withAdmin) *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "Faults in force, and how long yet", Args: cobra.NoArgs}
	output := term.OutputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return with(c.Context(), func(admin starlingv1.AdminServiceClient) error {
			r, err := admin.ListFaults(c.Context(), &starlingv1.ListFaultsRequest{})
			if err != nil {
				return err
			}
			return printFaults(c, *output, r)
		})
	}
	return c
}

func printFaults(c *cobra.Command, format string, r *starlingv1.ListFaultsResponse) error {
	type scriptFault struct {
		Peer    string  `json:"peer"`
		Kind    string  `json:"kind"`
		Delay   float64 `json:"delay_seconds,omitempty"`
		Seconds float64 `json:"left_seconds"`
	}
	list := []scriptFault{}
	t := term.NewTable("peer", "fault", "delay", "left")
	for _, f := range r.GetFaults() {
		kind := strings.ToLower(strings.TrimPrefix(f.GetKind().String(), "FAULT_KIND_"))
		left, delay := f.GetDuration().AsDuration(), f.GetDelay().AsDuration()
		list = append(list, scriptFault{f.GetPeer(), kind, delay.Seconds(), left.Seconds()})
		t.Row(f.GetPeer(), kind, shortTime(delay), shortTime(left))
	}
	if format == "json" {
		return term.WriteJSON(c.OutOrStdout(), "faults", map[string]any{"allowed": r.GetAllowed(), "faults": list})
	}
	t.Write(c.OutOrStdout())
	if !r.GetAllowed() {
		fmt.Fprintln(c.OutOrStdout(), "\nnone can be caused here: the configuration lacks faults.allowed: true")
	}
	return nil
}

func newFaultClear(with withAdmin) *cobra.Command {
	c := &cobra.Command{Use: "clear [PEER]", Short: "End faults early; without a peer all of them", Args: cobra.MaximumNArgs(1)}
	c.RunE = func(c *cobra.Command, args []string) error {
		return with(c.Context(), func(admin starlingv1.AdminServiceClient) error {
			r, err := admin.ClearFaults(c.Context(), &starlingv1.ClearFaultsRequest{Peer: strings.Join(args, "")})
			if err == nil {
				fmt.Fprintf(c.OutOrStdout(), "%d cleared\n", r.GetCleared())
			}
			return err
		})
	}
	return c
}
