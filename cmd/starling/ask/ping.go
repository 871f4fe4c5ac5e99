package ask

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/starlingmesh/starling/cmd/starling/term"
	"github.com/starlingmesh/starling/rpc/client"
)

// pingMethod is answered by every sidecar itself: no application takes part.
const pingMethod = "starling.ping"

// Ping is `starling ping`.
func Ping() *cobra.Command {
	c := &cobra.Command{
		Use:     "ping [NODE...]",
		Short:   "Ask sidecars whether they are there",
		Long:    "Asks the sidecars themselves, all or those named; no application takes part. Exit codes as multicall's.",
		Example: "  starling ping\n  starling ping cart-0 cart-1 --count 5",
	}
	socket := socketFlag(c)
	timeout := term.DurationFlag(c, "timeout", 2*time.Second, "of one round")
	count := c.Flags().Int("count", 1, "rounds")
	every := c.Flags().Duration("every", time.Second, "time between rounds")
	output := term.OutputFlag(c)
	c.RunE = func(c *cobra.Command, nodes []string) error {
		return withClient(c, *socket, func(ctx context.Context, sidecar *client.Client) error {
			opts := []client.CallOption{client.Timeout(*timeout)}
			if len(nodes) > 0 {
				opts = append(opts, client.To(nodes...))
			}
			ticks := time.NewTicker(max(*every, time.Millisecond))
			defer ticks.Stop()
			for round := 1; ; round++ {
				answer, err := sidecar.Multicall(ctx, pingMethod, client.Payload{}, opts...)
				if err != nil {
					return err
				}
				code := printAnswer(c.OutOrStdout(), *output, answer)
				if round >= *count {
					return code
				}
				fmt.Fprintln(c.OutOrStdout())
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-ticks.C:
				}
			}
		})
	}
	return c
}
