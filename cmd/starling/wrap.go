package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/starlingmesh/starling/cmd/starling/term"
	"github.com/starlingmesh/starling/rpc/client"
)

func newRun() *cobra.Command {
	c := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARG...]",
		Short: "Run the sidecar and a command beside it",
		Long: `Runs the sidecar and, once its socket is open, the command, which finds it by STARLING_SOCKET. When the command ends,
the sidecar leaves the cluster, and the exit code is the command's. Signals go to the command first.`,
		Example: "  starling run -c starling.yaml -- python3 app.py",
		Args:    cobra.MinimumNArgs(1),
	}
	file := configFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := loadConfig(*file)
		if err != nil {
			return err
		}
		useMemory()
		n, err := newNode(c.Context(), cfg, newLogger(c.ErrOrStderr(), cfg.Log))
		if err != nil {
			return err
		}
		p := exec.Command(args[0], args[1:]...) //nolint:noctx // it gets SIGTERM below, and its own time to end
		p.Stdin, p.Stdout, p.Stderr = c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr()
		p.Env = append(os.Environ(), client.EnvSocket+"="+n.apps.Addr())
		return beside(c.Context(), n, p)
	}
	return c
}

// beside runs the command beside the node. Whichever ends first ends the other, the node last: the command may still have
// something to say.
func beside(ctx context.Context, n *node, p *exec.Cmd) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	both, life := errgroup.WithContext(life)
	both.Go(func() error { return n.run(life) })
	if err := p.Start(); err != nil {
		end()
		return errors.Join(fmt.Errorf("start the command: %w", err), both.Wait())
	}
	hint := func() { _ = p.Process.Signal(syscall.SIGTERM) } // it may have ended
	defer context.AfterFunc(ctx, hint)()
	defer context.AfterFunc(life, hint)()
	failed := p.Wait()
	end()
	if err := both.Wait(); err != nil {
		return err
	}
	return commandsEnd(failed)
}

// commandsEnd makes the command's end ours; one that a signal ended has 128 and the signal's number, as shells count.
func commandsEnd(failed error) error {
	exited, ok := errors.AsType[*exec.ExitError](failed)
	if !ok {
		return failed
	}
	if by, ok := exited.Sys().(syscall.WaitStatus); ok && by.Signaled() {
		return term.Exit{Code: 128 + int(by.Signal()), Err: fmt.Errorf("the command was ended by a signal: %v", by.Signal())}
	}
	return term.Exit{Code: exited.ExitCode()}
}
