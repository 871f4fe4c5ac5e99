package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/starlingmesh/starling/cmd/starling/config"
	"github.com/starlingmesh/starling/cmd/starling/term"
	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/strategies/kubernetes"
)

func newDiscover() *cobra.Command {
	c := &cobra.Command{
		Use:   "discover [SOURCE]",
		Short: "Look once through a source of addresses",
		Long: `Runs one strategy until its first answer and shows what it found, and what it saw and did not take, and why. SOURCE is
the name of a source in the configuration (without one: all of them), or a source itself, written as in a configuration. No
sidecar is needed, and none is told.`,
		Example: `  starling discover -c starling.yaml
  starling discover '{kind: dns, names: [cart.shop.svc.cluster.local]}'`,
		Args: cobra.MaximumNArgs(1),
	}
	file := configFlag(c)
	timeout := c.Flags().Duration("timeout", 10*time.Second, "wait for the first answer")
	output := term.OutputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, blocks, err := chosenSources(*file, args)
		if err != nil {
			return err
		}
		me, err := selfOf(cfg, nil)
		if err != nil {
			return err
		}
		sources, err := newSources(blocks, me, newLogger(c.ErrOrStderr(), config.Log{Level: "warn", Format: "text"}).Logger)
		if err != nil {
			return term.Exit{Code: term.Usage, Err: err}
		}
		ctx, cancel := context.WithTimeout(c.Context(), *timeout)
		defer cancel()
		return lookThrough(ctx, c.OutOrStdout(), *output, sources)
	}
	return c
}

// chosenSources are those of the configuration, one of them, or one that is written on the command line.
func chosenSources(file string, args []string) (config.Config, []config.Source, error) {
	if len(args) == 1 && strings.Contains(args[0], ":") {
		c, err := config.Parse("SOURCE", []byte("discovery: {sources: ["+args[0]+"]}"))
		if err != nil {
			return c, nil, term.Exit{Code: term.Usage, Err: err}
		}
		return c, c.Discovery.Sources, nil
	}
	c, err := loadConfig(file)
	if err != nil {
		return c, nil, err
	}
	if len(args) == 0 {
		return c, c.Discovery.Sources, nil
	}
	var names []string
	for _, s := range c.Discovery.Sources {
		if s.Label() == args[0] {
			return c, []config.Source{s}, nil
		}
		names = append(names, s.Label())
	}
	return c, nil, term.Usagef("%s has no source %q; it has %s", file, args[0], strings.Join(names, ", "))
}

// lookThrough asks each source and prints. A source that cannot be asked is exit code 1, after all were tried.
func lookThrough(ctx context.Context, w io.Writer, format string, sources []discovery.Source) error {
	type look struct {
		Source string          `json:"source"`
		Found  discovery.Found `json:"found"`
		Error  string          `json:"error,omitempty"`
	}
	looks := []look{}
	failed := 0
	for _, s := range sources {
		found, err := discovery.Look(ctx, s.Strategy)
		l := look{Source: s.Name, Found: found}
		if err != nil {
			l.Error = err.Error()
			failed++
		}
		looks = append(looks, l)
		if format != "json" {
			printFound(w, s.Name, found, err)
			printRights(w, s, err)
		}
	}
	if format == "json" {
		if err := term.WriteJSON(w, "discovery", looks); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d sources could not be asked", failed, len(sources))
	}
	return nil
}

// printRights says what a source that was refused needs to be allowed to do.
func printRights(w io.Writer, s discovery.Source, err error) {
	if err == nil || discovery.ClassOf(err) != discovery.Auth || s.Describe == nil {
		return
	}
	for _, right := range s.Describe().Rights {
		fmt.Fprintln(w, "  it needs to "+right)
	}
}

func printFound(w io.Writer, source string, found discovery.Found, err error) {
	if err != nil {
		fmt.Fprintf(w, "%s: %v (%s)\n%s", source, err, discovery.ClassOf(err), kubernetes.MissingRole(err))
	}
	if found.Kind == "" {
		return
	}
	fmt.Fprintf(w, "%s: %d addresses, a %s picture\n", source, len(found.Candidates), found.Kind)
	t := term.NewTable("address", "host", "ready", "labels")
	for _, c := range found.Candidates {
		labels := make([]string, 0, len(c.Labels))
		for _, k := range slices.Sorted(maps.Keys(c.Labels)) {
			labels = append(labels, k+"="+c.Labels[k])
		}
		t.Row(strings.Join(c.Addrs, " "), c.Host, c.Ready, strings.Join(labels, " "))
	}
	for _, s := range found.Skipped {
		t.Row(s.What, term.Paint("not taken: "+s.Why, term.Yellow), "", "")
	}
	t.Write(w)
}
