package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/starlingmesh/starling/rpc/client"
)

// An Abcast is how fast one sender's messages reach everybody.
type Abcast struct {
	Nodes      int               `json:"nodes"`
	Messages   int               `json:"messages"` // of each round
	AcceptedPS float64           `json:"accepted_per_second"`
	PerSecond  float64           `json:"per_second"`        // until all have all
	Delivered  float64           `json:"delivered"`         // share of messages times nodes, over all rounds
	Twice      int               `json:"twice"`             // deliveries of a message that was there already
	Dropped    map[string]uint64 `json:"dropped,omitempty"` // what the sidecars counted as dropped or refused meanwhile
	Node       Load              `json:"confirm_node"`
	Handler    Load              `json:"confirm_handler"`
}

// deliveryTimeout is how long we wait for the last message of a round.
const deliveryTimeout = 30 * time.Second

// abcast tells everybody without confirmation, as fast as the sidecar accepts it, and then with each confirmation.
func (c *cluster) abcast(ctx context.Context, o options) (*Abcast, error) {
	a := &Abcast{Nodes: len(c.sidecars), Messages: o.messages}
	before, err := c.dropped(ctx)
	if err != nil {
		return nil, err
	}
	var accepted, arrived []float64
	for round := range o.rounds {
		r, err := c.tellAll(ctx, uint64(round+1), o.messages)
		if err != nil {
			return nil, err
		}
		accepted, a.Twice, a.Delivered = append(accepted, r.accepted), a.Twice+r.twice, a.Delivered+r.delivered/float64(o.rounds)
		if r.delivered == 1 {
			arrived = append(arrived, r.arrived)
		}
	}
	a.AcceptedPS, a.PerSecond = median(accepted), median(arrived)
	if a.Dropped, err = c.dropped(ctx); err != nil {
		return nil, err
	}
	for what, n := range before {
		if a.Dropped[what] -= n; a.Dropped[what] == 0 {
			delete(a.Dropped, what)
		}
	}
	if a.Node, err = c.confirmed(ctx, o, client.ConfirmNode()); err != nil {
		return nil, err
	}
	a.Handler, err = c.confirmed(ctx, o, client.ConfirmHandler())
	return a, err
}

// confirmed tells everybody from one caller, who waits until everybody has it.
func (c *cluster) confirmed(ctx context.Context, o options, confirm client.CallOption) (Load, error) {
	loads, err := c.rounds(o, []int{1}, func() (bool, error) {
		answer, err := c.caller.Abcast(ctx, tellMethod, client.Bytes(message(0, 0, 1)), confirm, client.Timeout(callTimeout))
		if err != nil {
			return false, err
		}
		return c.complete(answer), nil
	})
	if err != nil {
		return Load{}, err
	}
	return loads[0], nil
}

// told is one round: rates per second, the share that arrived, and what arrived more than once.
type told struct {
	accepted, arrived, delivered float64
	twice                        int
}

// tellAll sends the messages of a run one after another and waits until all applications have them.
func (c *cluster) tellAll(ctx context.Context, run uint64, messages int) (told, error) {
	began := time.Now()
	for i := range messages {
		if _, err := c.caller.Abcast(ctx, tellMethod, client.Bytes(message(run, i, messages)), client.Timeout(callTimeout)); err != nil {
			return told{}, fmt.Errorf("message %d of %d: %w", i, messages, err)
		}
	}
	accepted := float64(messages) / time.Since(began).Seconds()
	last, late := began, time.After(deliveryTimeout)
	for have := 0; have < len(c.sidecars); {
		select {
		case d := <-c.done:
			if d.run == run {
				have++
				last = d.at
			}
		case <-late:
			have = len(c.sidecars)
		case <-ctx.Done():
			return told{}, ctx.Err()
		}
	}
	answer, err := c.caller.Multicall(ctx, countMethod, client.Payload{}, client.Timeout(callTimeout))
	if err != nil {
		return told{}, err
	}
	t := told{accepted: accepted, arrived: float64(messages) / last.Sub(began).Seconds()}
	all := 0
	for _, v := range answer.Verdicts {
		var have, twice int
		if _, err := fmt.Sscan(v.Payload.String(), &have, &twice); err == nil {
			all, t.twice = all+have, t.twice+twice
		}
	}
	t.delivered = float64(all) / float64(messages*len(c.sidecars))
	return t, nil
}

// dropped is what all sidecars together have dropped and refused since their start, by their own counters.
func (c *cluster) dropped(ctx context.Context) (map[string]uint64, error) {
	all := map[string]uint64{}
	for i := range c.sidecars {
		status, err := c.status(ctx, i)
		if err != nil {
			return nil, err
		}
		for what, n := range status.GetCounters() {
			if strings.HasPrefix(what, "dropped") || strings.Contains(what, "refused") {
				all[what] += n
			}
		}
	}
	return all, nil
}
