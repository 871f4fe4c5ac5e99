package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newAgent() *cobra.Command {
	c := &cobra.Command{
		Use:   "agent",
		Short: "Run the sidecar",
		Long: `Runs the sidecar until SIGTERM or Ctrl-C, then tells the others that it leaves. A second signal ends it at once.
It needs a configuration: "starling config init" writes one.`,
		Example: "  starling agent -c starling.yaml",
		Args:    cobra.NoArgs,
	}
	file := configFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := loadConfig(*file)
		if err != nil {
			return err
		}
		useCores(cfg.Cores)
		useMemory()
		collectBySize()
		log := newLogger(c.ErrOrStderr(), cfg.Log)
		a, err := newNode(c.Context(), cfg, log)
		if err != nil {
			return err
		}
		return a.run(c.Context())
	}
	return c
}

// useCores bounds the cores used at once, unless the environment does or n is 0.
func useCores(n int) {
	if _, set := os.LookupEnv("GOMAXPROCS"); !set && n > 0 {
		runtime.GOMAXPROCS(n)
	}
}

// useMemory keeps Go's memory a tenth below GOMEMLIMIT, if that is in the environment. A container is given its own limit
// there, and in a container there is more than Go counts: the program itself, and commands that run in it, such as probes.
func useMemory() {
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		debug.SetMemoryLimit(limit - limit/10)
	}
}

// defaultConfigFile is where packages and images put it.
const defaultConfigFile = "/etc/starling/config.yaml"

func configFlag(c *cobra.Command) *string {
	return c.Flags().StringP("config", "c", defaultConfigFile, `the configuration; "-" is standard input`)
}
