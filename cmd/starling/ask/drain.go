package ask

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/starlingmesh/starling/cmd/starling/term"
	"github.com/starlingmesh/starling/rpc/client"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// Drain is `starling drain`.
func Drain() *cobra.Command {
	c := &cobra.Command{
		Use:   "drain",
		Short: "Let this node take no more calls",
		Long: `Makes this sidecar refuse new calls to its applications ("rejected", executed no) and tells the others, as one does before
ending an application. Calls that have begun go on, and the applications may still call others. It returns at once, or, with
--wait, when no application is connected any more. The node stays a member: SIGTERM ends it.`,
		Example: "  starling drain\n  starling drain --wait 20s   # until the applications have gone, 20 s at most\n  starling drain --undo",
		Args:    cobra.NoArgs,
	}
	with := operators(c)
	undo := c.Flags().Bool("undo", false, "take calls again")
	wait := c.Flags().Duration("wait", 0, "how long to wait for the applications to disconnect")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *undo && *wait > 0 {
			return term.Usagef("--undo and --wait: choose one")
		}
		err := with(c.Context(), func(admin starlingv1.AdminServiceClient) error {
			r, err := admin.Drain(c.Context(), &starlingv1.DrainRequest{Undo: *undo})
			if err == nil {
				sayDrained(c.OutOrStdout(), *undo, int(r.GetOpen()))
			}
			return err
		})
		if err != nil || *wait <= 0 {
			return err
		}
		return withClient(c, c.Flag("socket").Value.String(), func(ctx context.Context, sidecar *client.Client) error {
			return awaitFarewells(ctx, c.OutOrStdout(), sidecar, *wait)
		})
	}
	return c
}

func sayDrained(w io.Writer, undo bool, open int) {
	if undo {
		fmt.Fprintln(w, "takes calls again")
		return
	}
	fmt.Fprintf(w, "takes no more calls; %d requests are open\n", open)
}

// farewellsEvery is how often the sidecar is asked who is still there.
const farewellsEvery = 100 * time.Millisecond

// awaitFarewells waits until this command is the only application. That the time is over is no error: the end comes anyway.
func awaitFarewells(ctx context.Context, w io.Writer, sidecar *client.Client, most time.Duration) error {
	ticks := time.NewTicker(farewellsEvery)
	defer ticks.Stop()
	for over := time.After(most); ; {
		s, err := sidecar.Status(ctx)
		if err != nil {
			return err
		}
		if len(s.GetApplications()) <= 1 {
			fmt.Fprintln(w, "no application is connected")
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			fmt.Fprintln(w, "applications are still connected; the time is over")
			return nil
		case <-ticks.C:
		}
	}
}
