package flock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/starlingmesh/starling/cmd/starling/ask"
	"github.com/starlingmesh/starling/rpc/client"
)

const (
	demoBirds   = 5
	demoTimeout = 60 * time.Second // for everything; it takes a quarter of it
	demoBudget  = 2 * time.Second  // of a multicall: what hangs shows after it
)

// Demo is `starling demo`: the main job, with real processes, in less than half a minute. newKey makes a pre-shared key.
func Demo(newKey func() string) *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Five real sidecars; one is killed, one paused; who answers?",
		Long: `Starts five sidecars with an application each, asks everybody, kills one sidecar with SIGKILL and pauses one with
SIGSTOP, asks everybody again and shows what became of the call at each node; then brings both back. It leaves no process and
no file behind.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), demoTimeout)
			defer cancel()
			f, err := New(Options{Birds: demoBirds, Key: newKey()})
			if err != nil {
				return err
			}
			err = (&demo{Flock: f, w: c.OutOrStdout(), began: time.Now()}).run(ctx)
			return errors.Join(err, f.Close())
		},
	}
}

type demo struct {
	*Flock
	w     io.Writer
	began time.Time
}

// say is a line of the story with the time at which it happened.
func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.w, "\n%5.1f s  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

func (d *demo) run(ctx context.Context) error {
	birds := d.Birds()
	caller, killed, paused := birds[0], birds[3], birds[4]

	d.say("starting %d sidecars, each with an application on its unix socket", len(birds))
	if err := d.Start(ctx); err != nil {
		return err
	}
	if err := d.AwaitAll(ctx, len(birds)); err != nil {
		return err
	}
	d.say("all know all; %s asks everybody", caller.Name)
	if err := d.multicall(ctx, caller, nil); err != nil {
		return err
	}

	killed.Kill()
	paused.Pause()
	d.say("%s was killed (SIGKILL), %s is paused (SIGSTOP); %s asks again at once", killed.Name, paused.Name, caller.Name)
	if err := d.multicall(ctx, caller, []*Bird{killed, paused}); err != nil {
		return err
	}

	paused.Resume()
	d.say("%s goes on, %s is started again", paused.Name, killed.Name)
	if err := d.Restart(ctx, killed); err != nil {
		return err
	}
	if err := d.AwaitAll(ctx, len(birds)); err != nil {
		return err
	}
	d.say("all know all again; %s asks everybody", caller.Name)
	if err := d.multicall(ctx, caller, nil); err != nil {
		return err
	}
	d.say("done: every node had one verdict in every call")
	return nil
}

// multicall asks everybody, shows what came of it and checks that it is what it should be.
func (d *demo) multicall(ctx context.Context, caller *Bird, silent []*Bird) error {
	answer, err := caller.Client().Multicall(ctx, EchoMethod, client.Text("hello"), client.Timeout(demoBudget))
	if err != nil {
		return err
	}
	fmt.Fprintln(d.w)
	ask.PrintTable(d.w, answer)
	return judge(answer, d.Birds(), silent)
}

// silences are the honest verdicts about a node that was killed or paused a moment ago.
var silences = []client.Verdict{client.Down, client.Lost, client.TimedOut, client.Unreachable}

// judge wants exactly one verdict per bird: replied, or silence from those that are silent.
func judge(a *client.Answer, birds, silent []*Bird) error {
	var wrong []error
	for _, b := range birds {
		var got []client.Verdict
		for _, v := range a.Verdicts {
			if v.Name == b.Name {
				got = append(got, v.Verdict)
			}
		}
		want := []client.Verdict{client.Replied}
		if slices.Contains(silent, b) {
			want = silences
		}
		if len(got) != 1 || !slices.Contains(want, got[0]) {
			wrong = append(wrong, fmt.Errorf("%s: got %v, want one of %v", b.Name, got, want))
		}
	}
	if len(a.Verdicts) != len(birds) {
		wrong = append(wrong, fmt.Errorf("%d verdicts for %d birds", len(a.Verdicts), len(birds)))
	}
	return errors.Join(wrong...)
}
