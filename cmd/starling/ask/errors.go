package ask

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/starlingmesh/starling/cmd/starling/term"
	"github.com/starlingmesh/starling/rpc"
)

// Errors is `starling errors`.
func Errors() *cobra.Command {
	c := &cobra.Command{
		Use:     "errors [WORD]",
		Short:   "What a reason or a verdict means and what to do",
		Long:    "Explains the reason of an error, such as PAYLOAD_TOO_LARGE, or a verdict about one node, such as handler_gone.",
		Example: "  starling errors PAYLOAD_TOO_LARGE\n  starling errors handler_gone\n  starling errors        # all of them",
		Args:    cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, r := range rpc.Reasons() {
				names = append(names, string(r.Reason))
			}
			for _, v := range rpc.ExplainedVerdicts() {
				names = append(names, v.Verdict)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			listErrors(c.OutOrStdout())
			return nil
		}
		word := strings.ToLower(args[0])
		for _, v := range rpc.ExplainedVerdicts() {
			if v.Verdict == word {
				fmt.Fprintf(c.OutOrStdout(), "%s\n\n%s\nExecuted: %s.\n%s\n", v.Verdict, v.Means, v.Executed, v.Do)
				return nil
			}
		}
		e, ok := rpc.Explain(rpc.Reason(strings.ToUpper(word)))
		if !ok {
			return term.Usagef("there is no reason or verdict %q; `starling errors` lists them", args[0])
		}
		fmt.Fprintf(c.OutOrStdout(), "%s\n\n%s\n%s\n", e.Reason, e.Means, e.Do)
		return nil
	}
	return c
}

func listErrors(w io.Writer) {
	t := term.NewTable("reason", "means")
	for _, r := range rpc.Reasons() {
		t.Row(string(r.Reason), r.Means)
	}
	t.Write(w)
	fmt.Fprintln(w)
	t = term.NewTable("verdict", "executed", "means")
	for _, v := range rpc.ExplainedVerdicts() {
		t.Row(v.Verdict, v.Executed, v.Means)
	}
	t.Write(w)
}
