package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/starlingmesh/starling/cmd/starling/config"
	"github.com/starlingmesh/starling/cmd/starling/term"
)

func newConfig() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Write, check and explain a configuration",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(newConfigValidate(), newConfigExplain(), newConfigSchema(), newConfigInit())
	return c
}

func newConfigValidate() *cobra.Command {
	c := &cobra.Command{
		Use:     "validate FILE",
		Short:   "Say all that is wrong with a configuration",
		Long:    "Says all that is wrong, each with file, line and key; \"-\" reads standard input. Exit code 2 if anything is.",
		Example: "  starling config validate starling.yaml\n  starling config validate -c starling.yaml",
		Args:    cobra.MaximumNArgs(1),
	}
	flag := c.Flags().StringP("config", "c", "", "the configuration, as with other commands")
	c.RunE = func(c *cobra.Command, args []string) error {
		file := *flag
		if (file == "") == (len(args) == 0) {
			return term.Usagef("want one file: `starling config validate FILE`, or -c FILE")
		}
		if len(args) == 1 {
			file = args[0]
		}
		cfg, err := loadConfig(file)
		if err != nil {
			return err
		}
		if missing := cfg.MissingFiles(file); len(missing) > 0 {
			return term.Exit{Code: term.Usage, Err: missing}
		}
		fmt.Fprintf(c.OutOrStdout(), "%s: ok: cluster %s, %d sources\n", file, cfg.Cluster, len(cfg.Discovery.Sources))
		return nil
	}
	return c
}

// loadConfig gives what is wrong with the text of a configuration the exit code of a wrong command line.
func loadConfig(file string) (config.Config, error) {
	cfg, err := config.Load(file)
	if config.IsProblem(err) {
		return cfg, term.Exit{Code: term.Usage, Err: err}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return cfg, fmt.Errorf("%w; name yours by -c FILE, or write one: starling config init --cluster NAME > FILE", err)
	}
	if err != nil {
		return cfg, err
	}
	machines := coreConfig(cfg)
	if err := machines.Validate(); err != nil {
		return cfg, term.Exit{Code: term.Usage, Err: fmt.Errorf("%s: %w", file, err)}
	}
	return cfg, nil
}

func newConfigExplain() *cobra.Command {
	return &cobra.Command{
		Use:     "explain [KEY]",
		Short:   "Say what a key is for; without one, list them all",
		Example: "  starling config explain overlay.active\n  starling config explain discovery.sources.dns",
		Args:    cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var paths []string
			for _, k := range config.Keys() {
				paths = append(paths, k.Path)
			}
			return paths, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				listKeys(c.OutOrStdout(), config.Keys())
				return nil
			}
			k, err := config.Explain(args[0])
			if err != nil {
				return term.Exit{Code: term.Usage, Err: err}
			}
			explain(c.OutOrStdout(), k)
			return nil
		},
	}
}

func explain(w io.Writer, k config.Key) {
	fmt.Fprintf(w, "%s: %s\n\n%s\n", k.Path, k.Type, k.Doc)
	if allowed := k.Allowed(); allowed != "" {
		fmt.Fprintf(w, "\nAllowed: %s\n", allowed)
	}
	if k.Section {
		fmt.Fprintln(w)
		listKeys(w, config.Children(k))
		return
	}
	fmt.Fprintf(w, "Default: %s\n", k.Default)
	if eg := k.Example(); eg != "" {
		fmt.Fprintf(w, "Example: %s: %s\n", k.Name, eg)
	}
}

func listKeys(w io.Writer, keys []config.Key) {
	t := term.NewTable("key", "default", "allowed")
	for _, k := range keys {
		t.Row(k.Path, k.Default, k.Allowed())
	}
	t.Write(w)
}

func newConfigSchema() *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "The JSON schema, for editors and CI",
		Example: "  starling config schema > starling.schema.json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := c.OutOrStdout().Write(config.Schema())
			return err
		},
	}
}

func newConfigInit() *cobra.Command {
	c := &cobra.Command{
		Use:     "init",
		Short:   "A configuration to start from, with a fresh key",
		Example: "  starling config init --cluster shop > starling.yaml\n  starling config init --full   # every key, its default and what it is for",
		Args:    cobra.NoArgs,
	}
	cluster := c.Flags().String("cluster", "", "the cluster's name")
	full := c.Flags().Bool("full", false, "every key at its default, without a fresh key")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := config.CheckCluster(*cluster); err != nil {
			return term.Exit{Code: term.Usage, Err: fmt.Errorf("--cluster: %w", err)}
		}
		text := config.Minimal(*cluster, newKey())
		if *full {
			text = config.Example()
		}
		_, err := io.WriteString(c.OutOrStdout(), text)
		return err
	}
	return c
}
