package main

import (
	"context"
	"fmt"
	"time"

	"github.com/starlingmesh/starling/rpc/client"
)

// callTimeout bounds each call. None comes near it unless something is wrong, and then it is better seen than cut off.
const callTimeout = 10 * time.Second

// warmUp is what comes before the rounds and is not counted.
const warmUp = 500 * time.Millisecond

// multicall asks everybody from one and from sixteen callers, all over one connection to the first sidecar.
func (c *cluster) multicall(ctx context.Context, o options) ([]Load, error) {
	return c.rounds(o, o.callers, func() (bool, error) {
		a, err := c.caller.Multicall(ctx, echoMethod, client.Bytes(make([]byte, messageSize)), client.Timeout(callTimeout))
		if err != nil {
			return false, err
		}
		return c.complete(a), nil
	})
}

// complete tells whether every node did what was asked.
func (c *cluster) complete(a *client.Answer) bool {
	return len(a.Verdicts) == len(c.sidecars) && len(a.Failed()) == 0
}

// rounds are calls by so many callers, round for round, and the processors' time that they took.
func (c *cluster) rounds(o options, callers []int, do func() (bool, error)) ([]Load, error) {
	var loads []Load
	for _, callers := range callers {
		if _, err := run(callers, warmUp, do); err != nil {
			return nil, err
		}
		var rounds []Load
		for range o.rounds {
			l, err := c.round(callers, o.during, do)
			if err != nil {
				return nil, err
			}
			rounds = append(rounds, l)
		}
		loads = append(loads, overRounds(rounds))
	}
	return loads, nil
}

func (c *cluster) round(callers int, during time.Duration, do func() (bool, error)) (Load, error) {
	var l Load
	agents, err := spent(c.agents(), func() (err error) {
		apps, err := spent(c.apps(), func() (err error) {
			l, err = run(callers, during, do)
			return err
		})
		l.AppCPU = microseconds(apps)
		return err
	})
	if err != nil {
		return Load{}, fmt.Errorf("round with %d callers: %w", callers, err)
	}
	each := float64(l.Calls * len(c.sidecars))
	l.CPU, l.AppCPU = microseconds(agents)/each, l.AppCPU/each
	return l, nil
}

// spent is the processors' time that processes use while something is done.
func spent(pids []int, do func() error) (time.Duration, error) {
	before, err := cpuTimes(pids)
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := cpuTimes(pids)
	return after - before, err
}
