package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/starlingmesh/starling/cmd/starling/term"
)

func newVersion() *cobra.Command {
	c := &cobra.Command{
		Use:   "version",
		Short: "Which Starling this is",
		Args:  cobra.NoArgs,
	}
	output := term.OutputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *output == "json" {
			return term.WriteJSON(c.OutOrStdout(), "version", map[string]string{"version": version(), "go": runtime.Version()})
		}
		fmt.Fprintf(c.OutOrStdout(), "starling %s (%s)\n", version(), runtime.Version())
		return nil
	}
	return c
}

// version is the module's, as the Go command stamped it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
