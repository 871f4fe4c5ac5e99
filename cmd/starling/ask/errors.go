package ask

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/starlingmesh/starling/cmd/starling/term"
	"github.com/starlingmesh/starling/rpc"
)

// Errors is `starling errors`.
func Errors() *cobra.Command {
	c := &cobra.Command{
		Use:     "errors [REASON]",
		Short:   "What a reason in an error means and what to do",
		Example: "  starling errors PAYLOAD_TOO_LARGE\n  starling errors        # all of them",
		Args:    cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, r := range rpc.Reasons() {
				names = append(names, string(r.Reason))
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			t := term.NewTable("reason", "means")
			for _, r := range rpc.Reasons() {
				t.Row(string(r.Reason), r.Means)
			}
			t.Write(c.OutOrStdout())
			return nil
		}
		e, ok := rpc.Explain(rpc.Reason(strings.ToUpper(args[0])))
		if !ok {
			return term.Usagef("there is no reason %q; `starling errors` lists them", args[0])
		}
		fmt.Fprintf(c.OutOrStdout(), "%s\n\n%s\n%s\n", e.Reason, e.Means, e.Do)
		return nil
	}
	return c
}
