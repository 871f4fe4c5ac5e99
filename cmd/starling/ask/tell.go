package ask

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/starlingmesh/starling/cmd/starling/term"
	"github.com/starlingmesh/starling/rpc/client"
)

// Cast is `starling cast`.
func Cast() *cobra.Command {
	c := &cobra.Command{
		Use:     "cast NODE METHOD [PAYLOAD]",
		Short:   "Tell one member, without waiting",
		Long:    "Tells one member. Accepted is not delivered: use call to know." + payloadHelp,
		Example: "  starling cast cart-0 cache.flush",
		Args:    cobra.RangeArgs(1, 3),
	}
	one := oneFlags(c, "tell")
	c.RunE = func(c *cobra.Command, args []string) error {
		to, err := one.read(c, args)
		if err != nil {
			return err
		}
		return withClient(c, *one.socket, func(ctx context.Context, sidecar *client.Client) error {
			return sidecar.Cast(ctx, to.node, to.method, to.payload, to.options...)
		})
	}
	return c
}

// Abcast is `starling abcast`.
func Abcast() *cobra.Command {
	c := &cobra.Command{
		Use:   "abcast METHOD [PAYLOAD]",
		Short: "Tell every member",
		Long: `Tells every member, or those selected. Without --confirm it returns as soon as this sidecar has accepted it; with
it, one verdict per member says how far it came.` + payloadHelp,
		Example: "  starling abcast cache.flush\n  starling abcast config.reload --confirm handler\n  starling abcast --topic prices '{\"sku\": 7}'",
		Args:    cobra.RangeArgs(0, 2),
	}
	a := askFlags(c)
	a.targets = targetFlags(c)
	topic := c.Flags().String("topic", "", "publish to a topic's subscribers, in place of METHOD")
	confirm := c.Flags().String("confirm", "none", "wait for none, node or handler")
	output := term.OutputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if *topic == "" {
			if len(args) == 0 {
				return term.Usagef("want METHOD [PAYLOAD], or --topic TOPIC [PAYLOAD]")
			}
		} else {
			args = append([]string{*topic}, args...)
		}
		p, err := a.payload(c.InOrStdin(), args[1:])
		if err != nil {
			return err
		}
		opts, err := confirmation(a.options(), *confirm)
		if err != nil {
			return err
		}
		return withClient(c, *a.socket, func(ctx context.Context, sidecar *client.Client) error {
			send := sidecar.Abcast
			if *topic != "" {
				send = sidecar.Publish
			}
			answer, err := send(ctx, args[0], p, opts...)
			if err != nil {
				return err
			}
			if *confirm == "none" {
				return accepted(c, *output, answer)
			}
			return printAnswer(c.OutOrStdout(), *output, answer)
		})
	}
	return c
}

func confirmation(opts []client.CallOption, confirm string) ([]client.CallOption, error) {
	switch confirm {
	case "none":
		return opts, nil
	case "node":
		return append(opts, client.ConfirmNode()), nil
	case "handler":
		return append(opts, client.ConfirmHandler()), nil
	default:
		return nil, term.Usagef("--confirm %s: there are none, node and handler", confirm)
	}
}

// accepted is all that can be said of an abcast that nobody confirms.
func accepted(c *cobra.Command, format string, a *client.Answer) error {
	if format == "json" {
		return term.WriteJSON(c.OutOrStdout(), "answer", answerForScripts(a))
	}
	fmt.Fprintf(c.OutOrStdout(), "accepted here, for %d members\n", a.Snapshot.Size)
	return nil
}
