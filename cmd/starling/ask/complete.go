package ask

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/starlingmesh/starling/rpc/client"
)

// completeIn is how long a shell waits for words to complete with: longer than the sidecar takes, shorter than a yawn.
const completeIn = time.Second

// completion is a function that cobra asks for words.
type completion = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// completeArgs completes the first words of a command, each from its own list; later words are not completed.
func completeArgs(lists ...func([]client.Member) []string) completion {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(lists) {
			return nil, cobra.ShellCompDirectiveDefault // @FILE
		}
		return lists[len(args)](membersNow(c)), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag completes a flag's value.
func completeFlag(c *cobra.Command, flag string, list func([]client.Member) []string) {
	err := c.RegisterFlagCompletionFunc(flag, func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return list(membersNow(c)), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // there is no such flag
	}
}

// membersNow asks the sidecar; without one there is nothing to complete with.
func membersNow(c *cobra.Command) []client.Member {
	ctx, cancel := context.WithTimeout(context.Background(), completeIn)
	defer cancel()
	socket, _ := c.Flags().GetString("socket") // a command without the flag has the usual places
	sidecar, err := client.Dial(ctx, client.Options{Socket: socket, Application: "starling completion"})
	if err != nil {
		return nil
	}
	defer func() { _ = sidecar.Close() }() // nothing was promised
	members, _, err := sidecar.Members(ctx)
	if err != nil {
		return nil
	}
	return members
}

// nodeNames are the members' names.
func nodeNames(members []client.Member) []string {
	names := make([]string, 0, len(members))
	for _, m := range members {
		names = append(names, m.Name)
	}
	return names
}

// methodNames are what members announce handlers for.
func methodNames(members []client.Member) []string {
	var names []string
	for _, m := range members {
		names = append(names, m.Handlers...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
