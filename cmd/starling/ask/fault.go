package ask

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/starlingmesh/starling/cmd/starling/term"
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
	with := operators(c)
	c.AddCommand(
		newFaultKind("cut", "PEER", "Close connections to a peer and refuse new ones", starlingv1.FaultKind_FAULT_KIND_CUT, with),
		newFaultKind("delay", "PEER DELAY", "Let frames wait", starlingv1.FaultKind_FAULT_KIND_DELAY, with),
		newFaultKind("stall", "PEER", "Let nothing through and close nothing", starlingv1.FaultKind_FAULT_KIND_STALL, with),
		newFaultList(with), newFaultClear(with),
	)
	return c
}

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
