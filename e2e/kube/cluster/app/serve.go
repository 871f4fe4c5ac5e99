package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/starlingmesh/starling/e2e/kube/cluster/report"
	"github.com/starlingmesh/starling/rpc/client"
)

// The methods that it serves: one that is asked, one that is told, and one that takes as long as it is told.
const (
	work  = "shop.work"
	heard = "shop.heard"
	slow  = "shop.slow"
)

const (
	workTakes = 20 * time.Millisecond
	seenEvery = 500 * time.Millisecond

	// farewell bounds the end of the requests that have begun.
	farewell = 10 * time.Second
)

// An app is the application at its sidecar.
type app struct {
	sidecar *client.Client
	open    atomic.Int32 // requests that are being served
}

func dial(ctx context.Context) (*app, error) {
	c, err := client.Dial(ctx, client.Options{Application: "shop", Wait: true})
	return &app{sidecar: c}, err
}

func serve(ctx context.Context) error {
	a, err := dial(ctx)
	if err != nil {
		return err
	}
	return errors.Join(a.serve(ctx, func(context.Context) {}), a.sidecar.Close())
}

// serve answers until ctx ends, while the other does what it does. Then it finishes what it has begun.
func (a *app) serve(ctx context.Context, other func(context.Context)) error {
	methods := []string{work, heard, slow}
	for _, m := range methods {
		if err := a.sidecar.Handle(ctx, m, a.handle); err != nil {
			return err
		}
	}
	go a.look(ctx) // until ctx ends
	other(ctx)
	<-ctx.Done()

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	for _, m := range methods {
		if err := a.sidecar.Handle(ctx, m, nil); err != nil {
			return fmt.Errorf("serve %s no more: %w", m, err)
		}
	}
	ticks := time.NewTicker(workTakes)
	defer ticks.Stop()
	for idle := 0; idle < 3 && ctx.Err() == nil; <-ticks.C { // what came last may not have begun yet
		if idle++; a.open.Load() > 0 {
			idle = 0
		}
	}
	me := a.sidecar.Node()
	a.ask(ctx, "farewell", "farewell of "+me.ID) // a sidecar ends after its application
	return tell(ctx, report.SeenPath, report.Seen{Node: me.ID, Name: me.Name, Gone: true})
}

// handle says that it ran before anybody else can know.
func (a *app) handle(ctx context.Context, r *client.Request) (client.Payload, error) {
	a.open.Add(1)
	defer a.open.Add(-1)
	me := a.sidecar.Node()
	if err := tell(ctx, report.RanPath, report.Ran{Call: r.Payload.String(), Node: me.ID, Name: me.Name}); err != nil {
		return client.Payload{}, err
	}
	takes := workTakes
	if r.Method == slow {
		var err error
		if takes, err = time.ParseDuration(r.Payload.String()); err != nil {
			return client.Payload{}, err
		}
	}
	<-time.After(takes)
	return client.Text(me.Name), nil
}

// look reports how the cluster looks from here, again and again.
func (a *app) look(ctx context.Context) {
	ticks := time.NewTicker(seenEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		members, _, err := a.sidecar.Members(ctx)
		if err != nil {
			continue // the sidecar is about to end, or has just started again
		}
		me := a.sidecar.Node()
		s := report.Seen{Node: me.ID, Name: me.Name}
		for _, m := range members {
			if m.Status == "alive" {
				s.Alive = append(s.Alive, m.NodeID)
			}
			if m.Linked {
				s.Linked = append(s.Linked, m.NodeID)
			}
		}
		if err := tell(ctx, report.SeenPath, s); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

// tell reports to the tests; without anybody to report to there is nothing to do.
func tell(ctx context.Context, path string, what any) (err error) {
	url := os.Getenv("REPORT_URL")
	if url == "" {
		return nil
	}
	body, err := json.Marshal(what)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(url, "/")+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("report to the tests: %w", err)
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("report to the tests: %s", res.Status)
	}
	return nil
}
