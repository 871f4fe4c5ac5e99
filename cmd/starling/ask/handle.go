package ask

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/starlingmesh/starling/cmd/starling/term"
	"github.com/starlingmesh/starling/rpc/client"
)

// Handle is `starling handle`.
func Handle() *cobra.Command {
	c := &cobra.Command{
		Use:   "handle METHOD [flags] -- COMMAND [ARG...]",
		Short: "Serve a method with a command",
		Long: `Runs the command for each call: its standard input is the payload, its standard output the answer. An exit code other
than 0 is an error to the caller, "exit_N", with the end of standard error as its message. The command is killed when the
caller's time is over. It finds STARLING_METHOD, STARLING_CALLER and STARLING_META_NAME for each pair of metadata.`,
		Example: "  starling handle demo.upper -- tr a-z A-Z\n  starling handle host.load -- cat /proc/loadavg",
		Args:    cobra.MinimumNArgs(2),
	}
	socket := socketFlag(c)
	kind := c.Flags().String("content-type", "text/plain; charset=utf-8", "of the answers")
	atOnce := c.Flags().Int("concurrency", 4, "calls that run at once")
	group := c.Flags().String("group", "", "join this group while serving")
	c.RunE = func(c *cobra.Command, args []string) error {
		ctx := c.Context()
		if *atOnce < 1 {
			return term.Usagef("--concurrency %d: want 1 or more", *atOnce)
		}
		sidecar, err := client.Dial(ctx, client.Options{Socket: *socket, Application: "starling handle " + args[0], Handlers: *atOnce})
		if err != nil {
			return noAgent(err)
		}
		if err := serveCommand(ctx, sidecar, args[0], *group, command{args[1:], *kind}); err != nil {
			return errors.Join(noAgent(err), sidecar.Close())
		}
		fmt.Fprintf(c.ErrOrStderr(), "serving %s on %s until Ctrl-C\n", args[0], sidecar.Node().Name)
		<-ctx.Done()
		return sidecar.Close()
	}
	return c
}

func serveCommand(ctx context.Context, sidecar *client.Client, method, group string, cmd command) error {
	if group != "" {
		if err := sidecar.JoinGroup(ctx, group); err != nil {
			return err
		}
	}
	return sidecar.Handle(ctx, method, cmd.answer)
}

// A command is a program that answers calls.
type command struct {
	argv []string
	kind string // content type of its answers
}

// stderrMax is how much of a failing command's last words the caller gets, in bytes.
const stderrMax = 1024

// answer runs the command once.
func (cmd command) answer(ctx context.Context, r *client.Request) (client.Payload, error) {
	p := exec.CommandContext(ctx, cmd.argv[0], cmd.argv[1:]...)
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what it starts dies with it
	p.Cancel = func() error { return syscall.Kill(-p.Process.Pid, syscall.SIGKILL) }
	p.WaitDelay = time.Second
	p.Stdin = bytes.NewReader(r.Payload.Data)
	p.Env = append(os.Environ(), "STARLING_METHOD="+r.Method, "STARLING_CALLER="+r.Caller)
	for k, v := range r.Metadata {
		p.Env = append(p.Env, "STARLING_META_"+variableName(k)+"="+v)
	}
	var stdout, stderr bytes.Buffer
	p.Stdout, p.Stderr = &stdout, &stderr
	err := p.Run()
	var failed *exec.ExitError
	switch {
	case err == nil:
		return client.Payload{Data: stdout.Bytes(), ContentType: cmd.kind}, nil
	case errors.As(err, &failed):
		last := bytes.TrimSpace(stderr.Bytes())
		return client.Payload{}, &client.AppError{
			Code: fmt.Sprintf("exit_%d", failed.ExitCode()), Message: string(last[max(0, len(last)-stderrMax):]),
		}
	default:
		return client.Payload{}, &client.AppError{Code: "not_started", Message: err.Error()}
	}
}

// variableName makes a metadata key fit to be part of an environment variable's name.
func variableName(key string) string {
	return strings.Map(func(r rune) rune {
		if (r >= 'A' && r <= 'Z') || (r >= '0' && r <= '9') {
			return r
		}
		return '_'
	}, strings.ToUpper(key))
}
