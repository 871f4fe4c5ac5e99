package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/starlingmesh/starling/e2e/kube/cluster/report"
	"github.com/starlingmesh/starling/rpc/client"
)

const (
	loadEvery   = 200 * time.Millisecond // of each kind
	callTakes   = 30 * time.Second       // at most: longer than a busy machine may stand still
	onceTimeout = 30 * time.Second
)

func load(ctx context.Context) error {
	a, err := dial(ctx)
	if err != nil {
		return err
	}
	return errors.Join(a.serve(ctx, a.load), a.sidecar.Close())
}

// load calls everybody until ctx ends, and waits for what is under way.
func (a *app) load(ctx context.Context) {
	var calls sync.WaitGroup
	defer calls.Wait()
	ticks := time.NewTicker(loadEvery)
	defer ticks.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		going := context.WithoutCancel(ctx)
		calls.Go(func() { a.ask(going, "multicall", fmt.Sprintf("m%d", n)) })
		calls.Go(func() { a.ask(going, "abcast", fmt.Sprintf("a%d", n)) })
	}
}

// ask makes one call, and reports what became of it.
func (a *app) ask(ctx context.Context, kind, name string) {
	asked := report.Asked{Call: name, Kind: kind, At: time.Now()}
	var answer *client.Answer
	var err error
	if kind == "abcast" {
		answer, err = a.sidecar.Abcast(ctx, heard, client.Text(name), client.ConfirmHandler(), client.Timeout(callTakes))
	} else {
		answer, err = a.sidecar.Multicall(ctx, work, client.Text(name), client.Timeout(callTakes))
	}
	if err != nil {
		asked.Err = err.Error()
	} else {
		asked.Verdicts, asked.Extra = verdicts(answer.Verdicts), verdicts(answer.Extra)
	}
	if err := tell(ctx, report.AskedPath, asked); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

func verdicts(list []client.NodeVerdict) (all []report.Verdict) {
	for _, v := range list {
		reason := v.Reason
		if v.Err != nil {
			reason = v.Err.Error()
		}
		all = append(all, report.Verdict{
			Node: v.NodeID, Name: v.Name, Verdict: string(v.Verdict), Executed: string(v.Executed), Stage: string(v.Stage), Reason: reason,
		})
	}
	return all
}

// once asks all who serve, and is content if all replied and there were some.
func once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, onceTimeout)
	defer cancel()
	a, err := dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = a.sidecar.Close() }() // all is said
	if _, err := a.sidecar.AwaitPeers(ctx, 1, client.Serving(work)); err != nil {
		return err
	}
	answer, err := a.sidecar.Multicall(ctx, work, client.Text("once"), client.Serving(work))
	if err != nil {
		return err
	}
	fmt.Printf("%d asked, %d replied\n", answer.Summary.Asked, answer.Summary.Replied)
	if answer.Summary.Asked == 0 || len(answer.Failed()) > 0 {
		return fmt.Errorf("these did not reply: %+v", answer.Failed())
	}
	return nil
}
