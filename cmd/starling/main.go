// Command starling is the sidecar and everything one does with it. It reads flags and configuration, wires the other
// packages together and prints what they say; it decides nothing about the cluster.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/starlingmesh/starling/cmd/starling/term"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main without the process around it.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ran := false
	root := newRoot(&ran)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	var end term.Exit
	switch {
	case err == nil:
		return term.OK
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return term.Interrupted
	case errors.As(err, &end):
		if end.Err != nil {
			fmt.Fprintf(stderr, "starling: %v\n", end.Err)
		}
		return end.Code
	case !ran: // cobra's own word: an unknown command or flag, a missing argument
		fmt.Fprintf(stderr, "starling: %v\nUsage: %s\nTry `%s --help`.\n", err, cmd.UseLine(), cmd.CommandPath())
		return term.Usage
	default:
		fmt.Fprintf(stderr, "starling: %v\n", err)
		return term.Error
	}
}
