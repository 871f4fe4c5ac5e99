package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The other things that this program can be: processes of the bench.
const (
	appRole  = "be-app"
	serfRole = "be-serf"
)

// options say what is measured and for how long.
type options struct {
	sizes      []int
	callers    []int
	rounds     int
	during     time.Duration // a round of Starling's
	serfDuring time.Duration // a round of serf's, which makes fewer calls in it
	idle       time.Duration
	messages   int
	serf       bool
	json       string
	report     bool
	binary     string
	keep       bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := dispatch(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == appRole {
		return serveApp(ctx, args[1], os.Stdout)
	}
	if len(args) == 2 && args[0] == serfRole {
		return serveSerf(ctx, args[1], os.Stdin, os.Stdout)
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	return bench(ctx, o)
}

func parse(args []string) (options, error) {
	o := options{callers: []int{1, 16}}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	sizes := f.String("n", "5,16,64", "numbers of nodes; idle and abcast are measured with the largest")
	f.IntVar(&o.rounds, "rounds", 5, "rounds of which the medians are shown")
	f.DurationVar(&o.during, "for", 2*time.Second, "length of a round")
	f.DurationVar(&o.serfDuring, "serf-for", 6*time.Second, "length of a round of serf's, whose calls take longer")
	f.DurationVar(&o.idle, "idle", time.Minute, "how long to watch an idle cluster; 0 skips it")
	f.IntVar(&o.messages, "messages", 2000, "messages of a round of abcast; 0 skips it")
	f.BoolVar(&o.serf, "serf", true, "measure serf, too")
	f.StringVar(&o.json, "json", "", "write the figures to this `file`, too")
	f.StringVar(&o.binary, "starling", "", "measure this `file` instead of building one: for before and after")
	f.BoolVar(&o.keep, "keep", false, "keep the folder with configurations and logs, and say where it is")
	f.BoolVar(&o.report, "report", false, "write docs/figures/bench.md, too")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	for word := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || n < 2 || n > 256 {
			return o, fmt.Errorf("-n %s: numbers from 2 to 256 with commas between", *sizes)
		}
		o.sizes = append(o.sizes, n)
	}
	if o.rounds < 1 || o.during <= 0 || o.serfDuring <= 0 || f.NArg() > 0 {
		return o, errors.New("at least one round, of a positive length, and no other words")
	}
	return o, nil
}

// bench measures everything, prints it, and writes what was asked for.
func bench(ctx context.Context, o options) error {
	root, err := productRoot(ctx)
	if err != nil {
		return err
	}
	n, err := newNest()
	if err != nil {
		return err
	}
	r, err := measure(ctx, o, n, root)
	if err := errors.Join(err, n.close(o.keep)); err != nil {
		return err
	}
	fmt.Println()
	if err := r.table(os.Stdout); err != nil {
		return err
	}
	if o.json != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return fmt.Errorf("write the figures: %w", err)
		}
		if err := os.WriteFile(o.json, append(text, '\n'), 0o600); err != nil { //nolint:gosec // the user named the file
			return fmt.Errorf("write the figures: %w", err)
		}
	}
	if o.report {
		return r.write(filepath.Join(root, "docs", "figures", "bench.md"))
	}
	return nil
}

// productRoot is where the product's own module lies.
func productRoot(ctx context.Context) (string, error) {
	dir, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/starlingmesh/starling").Output()
	if err != nil {
		return "", fmt.Errorf("find the product: run this in its folder bench: %w", err)
	}
	return strings.TrimSpace(string(dir)), nil
}

// measure goes through all sizes; clusters do not run beside each other.
func measure(ctx context.Context, o options, n *nest, root string) (*Results, error) {
	r := newResults(ctx, root)
	binary, err := o.build(ctx, n, root)
	if err != nil {
		return nil, err
	}
	largest := 0
	for _, size := range o.sizes {
		largest = max(largest, size)
	}
	for _, size := range o.sizes {
		m := Multicall{Nodes: size}
		if m.Starling, err = r.starling(ctx, o, n, binary, size, size == largest); err != nil {
			return nil, err
		}
		if o.serf {
			if m.Serf, err = besideSerf(ctx, o, n, size); err != nil {
				return nil, err
			}
		}
		r.Multicall = append(r.Multicall, m)
	}
	r.LoadAfter = loadAverage()
	return r, nil
}

// build makes the sidecar's binary, unless one is given.
func (o *options) build(ctx context.Context, n *nest, root string) (string, error) {
	if o.binary != "" {
		return filepath.Abs(o.binary)
	}
	say("building starling")
	binary := n.file("starling")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", binary, "./cmd/starling")
	build.Dir, build.Stderr = root, os.Stderr
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is shipped
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("build starling: %w", err)
	}
	return binary, nil
}

// starling measures a cluster of one size, and all that is measured once if this is the largest.
func (r *Results) starling(ctx context.Context, o options, n *nest, binary string, size int, largest bool) ([]Load, error) {
	say("%d sidecars", size)
	c, err := startCluster(ctx, n, binary, size)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	if largest && o.idle > 0 {
		say("%d sidecars: idle for %v", size, o.idle)
		if r.Idle, err = c.idle(ctx, o.idle); err != nil {
			return nil, fmt.Errorf("idle: %w", err)
		}
	}
	say("%d sidecars: multicall", size)
	loads, err := c.multicall(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("multicall to %d: %w", size, err)
	}
	if largest && o.messages > 0 {
		say("%d sidecars: abcast", size)
		if r.Abcast, err = c.abcast(ctx, o); err != nil {
			return nil, fmt.Errorf("abcast to %d: %w", size, err)
		}
	}
	if r.Idle != nil && largest {
		resident, err := c.resident("VmRSS")
		if err != nil {
			return nil, err
		}
		r.Idle.RSSAfter = median(resident)
	}
	return loads, nil
}

func besideSerf(ctx context.Context, o options, n *nest, size int) ([]Load, error) {
	say("%d nodes of serf: query", size)
	c, err := startSerf(ctx, n, size)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	return c.queries(ctx, o)
}

// say tells what is being done now.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
