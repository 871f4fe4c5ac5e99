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
)

// Exit codes, so that scripts can tell what happened without reading.
const (
	exitOK       = 0
	exitError    = 1
	exitUsage    = 2 // the command line or the configuration makes no sense
	exitPartial  = 3 // some nodes did not reply
	exitFailed   = 4 // no node replied
	exitNoAgent  = 5 // there is no sidecar to talk to
	exitFindings = 6 // check found something
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
	var end exit
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &end):
		if end.err != nil {
			fmt.Fprintf(stderr, "starling: %v\n", end.err)
		}
		return end.code
	case !ran: // cobra's own word: an unknown command or flag, a missing argument
		fmt.Fprintf(stderr, "starling: %v\nTry `%s --help`.\n", err, cmd.CommandPath())
		return exitUsage
	default:
		fmt.Fprintf(stderr, "starling: %v\n", err)
		return exitError
	}
}

// An exit ends the command with a code of its own; without an error it has said all it had to say.
type exit struct {
	code int
	err  error
}

func (e exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e exit) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return exit{exitUsage, fmt.Errorf(format, args...)}
}
