package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/starlingmesh/starling/overlay/keys"
)

func newKeygen() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen",
		Short: "A fresh pre-shared key",
		Long: `Prints 256 random bits for security.key. Whoever has the key is a member of the cluster.

To change keys without losing anybody, one step on all members after another: put the new key into security.accept_key;
let key and accept_key change places; take accept_key away.`,
		Example: "  umask 077; starling keygen > /etc/starling/key   # security: {key: file:/etc/starling/key}",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			fmt.Fprintln(c.OutOrStdout(), newKey())
			return nil
		},
	}
}

// newKey is a pre-shared key in the form that the configuration takes.
func newKey() string { return keys.New().Reveal() }
