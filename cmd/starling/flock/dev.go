package flock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/starlingmesh/starling/cmd/starling/ask"
	"github.com/starlingmesh/starling/cmd/starling/term"
	"github.com/starlingmesh/starling/rpc/client"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

const devHelp = `ask [TEXT]          everybody, from bird 1        kill N    start N    pause N    resume N
ask-from N [TEXT]   everybody, from bird N        cut A B    slow A B 200ms    heal
members             as bird 1 knows them          help    quit`

// Dev is `starling dev`: a cluster to play with.
func Dev(newKey func() string) *cobra.Command {
	c := &cobra.Command{
		Use:   "dev",
		Short: "A cluster on this machine, to play with",
		Long: `Starts real sidecars with an application each and takes orders from standard input until it ends:

` + devHelp + `

Any other command works with --socket, or STARLING_SOCKET, set to what is printed.`,
		Example: "  starling dev --nodes 7",
		Args:    cobra.NoArgs,
	}
	nodes := c.Flags().Int("nodes", 5, "how many, 1 to 100")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *nodes < 1 || *nodes > 100 {
			return term.Usagef("--nodes %d: 1 to 100", *nodes)
		}
		f, err := New(Options{Birds: *nodes, Key: newKey(), Faults: true})
		if err != nil {
			return err
		}
		err = (&dev{Flock: f, w: c.OutOrStdout()}).run(c.Context(), c.InOrStdin())
		if c.Context().Err() != nil {
			err = nil // Ctrl-C is how it ends
		}
		return errors.Join(err, f.Close())
	}
	return c
}

type dev struct {
	*Flock
	w io.Writer
}

func (d *dev) run(ctx context.Context, orders io.Reader) error {
	began := time.Now()
	if err := d.Start(ctx); err != nil {
		return err
	}
	if err := d.AwaitAll(ctx, len(d.Birds())); err != nil {
		return err
	}
	fmt.Fprintf(d.w, "%d sidecars know each other after %.1f s\n\n", len(d.Birds()), time.Since(began).Seconds())
	for _, b := range d.Birds() {
		fmt.Fprintf(d.w, "%-8s STARLING_SOCKET=%s\n", b.Name, b.Socket())
	}
	fmt.Fprintf(d.w, "\n%s\n", devHelp)
	lines := make(chan string)
	go func() { // ends with standard input, or with the process
		defer close(lines)
		for in := bufio.NewScanner(orders); in.Scan(); {
			lines <- in.Text()
		}
	}()
	for {
		fmt.Fprint(d.w, "> ")
		select {
		case <-ctx.Done():
			return nil
		case line, more := <-lines:
			if !more || line == "quit" {
				return nil
			}
			if err := d.order(ctx, strings.Fields(line)); err != nil {
				fmt.Fprintf(d.w, "%v\n", err)
			}
		}
	}
}

// order carries one line out.
func (d *dev) order(ctx context.Context, words []string) error {
	if len(words) == 0 {
		return nil
	}
	verb, args := words[0], words[1:]
	switch verb {
	case "help":
		fmt.Fprintln(d.w, devHelp)
		return nil
	case "ask":
		return d.ask(ctx, d.Birds()[0], args)
	case "members":
		return ask.PrintMembers(ctx, d.w, d.Birds()[0].Client())
	case "heal":
		return d.heal(ctx)
	}
	b, err := d.bird(args, 0)
	if err != nil {
		return err
	}
	switch verb {
	case "ask-from":
		return d.ask(ctx, b, args[1:])
	case "kill":
		b.Kill()
	case "pause":
		b.Pause()
	case "resume":
		b.Resume()
	case "start":
		return d.Restart(ctx, b)
	case "cut", "slow":
		return d.fault(ctx, verb, b, args)
	default:
		return fmt.Errorf("no such order: %s; try help", verb)
	}
	return nil
}

// bird finds the bird that an argument names by number or name.
func (d *dev) bird(args []string, i int) (*Bird, error) {
	if len(args) <= i {
		return nil, errors.New("which bird? Give its number; try help")
	}
	for _, b := range d.Birds() {
		if b.Name == args[i] || b.Name == "bird-"+args[i] {
			return b, nil
		}
	}
	return nil, fmt.Errorf("there is no bird %s", args[i])
}

func (d *dev) ask(ctx context.Context, b *Bird, text []string) error {
	answer, err := b.Client().Multicall(ctx, EchoMethod, client.Text(strings.Join(text, " ")), client.Timeout(demoBudget))
	if err != nil {
		return err
	}
	ask.PrintTable(d.w, answer)
	return nil
}

// fault cuts or slows the links between two birds.
func (d *dev) fault(ctx context.Context, verb string, a *Bird, args []string) error {
	b, err := d.bird(args, 1)
	if err != nil {
		return err
	}
	f := &starlingv1.Fault{Peer: b.Name, Kind: starlingv1.FaultKind_FAULT_KIND_CUT, Duration: durationpb.New(time.Hour)}
	if verb == "slow" {
		if len(args) < 3 {
			return errors.New("by how much? E.g. slow 1 2 200ms")
		}
		delay, err := time.ParseDuration(args[2])
		if err != nil {
			return fmt.Errorf("by how much: %w", err)
		}
		f.Kind, f.Delay = starlingv1.FaultKind_FAULT_KIND_DELAY, durationpb.New(delay)
	}
	return a.admin(func(admin starlingv1.AdminServiceClient) error {
		_, err := admin.SetFault(ctx, &starlingv1.SetFaultRequest{Fault: f})
		return err
	})
}

func (d *dev) heal(ctx context.Context) error {
	var failed []error
	for _, b := range d.Birds() {
		if b.sidecar.gone.Err() != nil {
			continue // a dead one has no faults
		}
		failed = append(failed, b.admin(func(admin starlingv1.AdminServiceClient) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second) // a paused one does not answer
			defer cancel()
			_, err := admin.ClearFaults(ctx, &starlingv1.ClearFaultsRequest{})
			return err
		}))
	}
	return errors.Join(failed...)
}

// admin asks the operators' service of one bird.
func (b *Bird) admin(do func(starlingv1.AdminServiceClient) error) error {
	conn, err := client.Connect(b.AdminSocket())
	if err != nil {
		return fmt.Errorf("connect to %s: %w", b.AdminSocket(), err)
	}
	defer func() { _ = conn.Close() }() // nothing is buffered
	return do(starlingv1.NewAdminServiceClient(conn))
}
