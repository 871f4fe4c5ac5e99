package ask

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/starlingmesh/starling/cmd/starling/term"
	"github.com/starlingmesh/starling/rpc/client"
)

// Await is `starling await`.
func Await() *cobra.Command {
	c := &cobra.Command{
		Use:   "await [COUNT]",
		Short: "Wait until so many members are there",
		Long: `Waits until this sidecar knows COUNT living members, itself included, of those that are selected; without COUNT as many as
its sources of addresses name. It waits for the sidecar, too. Exit code 1 if the time was over before.`,
		Example: "  starling await 5 --timeout 1m\n  starling await 3 --serving cache.get && ./start",
		Args:    cobra.MaximumNArgs(1),
	}
	socket := socketFlag(c)
	t := targetFlags(c)
	timeout := term.DurationFlag(c, "timeout", 30*time.Second, "how long to wait at most")
	stable := c.Flags().Duration("stable-for", 0, "their number must not have changed for so long")
	c.RunE = func(c *cobra.Command, args []string) error {
		count := 0
		if len(args) > 0 {
			var err error
			if count, err = strconv.Atoi(args[0]); err != nil || count < 1 {
				return term.Usagef("COUNT %q is no number from 1", args[0])
			}
		}
		ctx, cancel := context.WithTimeout(c.Context(), *timeout)
		defer cancel()
		sidecar, err := client.Dial(ctx, client.Options{Socket: *socket, Application: "starling await", Wait: true})
		if err != nil {
			return noAgent(err)
		}
		defer func() { _ = sidecar.Close() }() // it has told us all
		p, err := sidecar.AwaitPeers(ctx, count, append(t.options(), client.StableFor(*stable))...)
		if err != nil {
			return noAgent(err)
		}
		fmt.Fprintf(c.OutOrStdout(), "%d of %d are there\n", p.Alive, p.Wanted)
		if !p.Satisfied {
			return fmt.Errorf("not within %v: %d of %d members", *timeout, p.Alive, p.Wanted)
		}
		return nil
	}
	return c
}
