package main

import (
	"github.com/spf13/cobra"

	"github.com/starlingmesh/starling/cmd/starling/ask"
	"github.com/starlingmesh/starling/cmd/starling/flock"
	"github.com/starlingmesh/starling/cmd/starling/inject"
)

// newRoot is the tree of commands. ran is set as soon as a command line was understood.
func newRoot(ran *bool) *cobra.Command {
	root := &cobra.Command{
		Use:   "starling",
		Short: "A sidecar that finds its cluster and asks everybody",
		Long: `Starling runs beside each process of your application. Sidecars find each other, hold links to a few
and know all; your application asks everybody at once and learns, node by node, what came of it.

Exit codes: 0 good, 1 error, 2 usage, 3 some nodes failed, 4 all failed, 5 no agent, 6 findings.`,
		Example: `  starling dev --nodes 5                 # a cluster on this machine, to play with
  starling agent -c starling.yaml        # the sidecar itself
  starling members                       # whom it knows
  starling multicall demo.echo hello     # ask everybody`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
		PersistentPreRun:  func(*cobra.Command, []string) { *ran = true },
	}
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run:"},
		&cobra.Group{ID: groupLook, Title: "Look:"},
		&cobra.Group{ID: groupAsk, Title: "Ask:"},
		&cobra.Group{ID: groupSetUp, Title: "Set up:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(groupRun, newAgent(), flock.Dev(newKey), newRun(), ask.Handle())
	root.AddCommand(flock.Demo(newKey), flock.App())
	add(groupLook, ask.Members(), ask.Status(), ask.Events(), ask.Check(version(), checkSources), ask.Ping(), ask.Await(), newDiscover())
	add(groupAsk, ask.Call(), ask.Multicall(), ask.Cast(), ask.Abcast())
	add(groupSetUp, newConfig(), newKeygen(), inject.Command(), ask.Errors(), ask.Drain(), ask.Fault(), newVersion())
	root.SetHelpCommandGroupID(groupSetUp)
	root.SetCompletionCommandGroupID(groupSetUp)
	return root
}

const (
	groupRun   = "run"
	groupLook  = "look"
	groupAsk   = "ask"
	groupSetUp = "setup"
)
