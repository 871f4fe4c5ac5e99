package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// probes are the HTTP endpoints for whoever runs the node. Liveness depends on this process alone, never on others.
type probes struct {
	node     *node
	listener net.Listener // nil: not wanted
	began    atomic.Bool  // run has begun, and with it everything else
	settled  atomic.Bool  // it has been ready once; churn among others does not take that back
}

// newProbes takes the port, if there is to be one.
func newProbes(ctx context.Context, n *node) (*probes, error) {
	p := &probes{node: n}
	if n.cfg.HTTP.Listen == "" {
		return p, nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", n.cfg.HTTP.Listen)
	if err != nil {
		return nil, fmt.Errorf("http.listen: %w", err)
	}
	p.listener = l
	return p, nil
}

func (p *probes) run(ctx context.Context) error {
	p.began.Store(true)
	if p.listener == nil {
		<-ctx.Done()
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", answer(p.live))
	mux.HandleFunc("GET /readyz", answer(p.ready))
	mux.HandleFunc("GET /startupz", answer(p.started))
	mux.Handle("GET /metrics", promhttp.HandlerFor(newRegistry(p.node), promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })() // probes need no farewell
	p.node.log.Info("probes and metrics", "addr", p.listener.Addr().String())
	if err := server.Serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve probes: %w", err)
	}
	return nil
}

// answer is 200 ok, or 503 and why.
func answer(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := check(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}

// live: the loop turns.
func (p *probes) live() error { return p.node.mesh.Healthy() }

// started: the sockets are open and everything runs.
func (p *probes) started() error {
	if !p.began.Load() {
		return errors.New("starting")
	}
	return p.live()
}

// ready: as many members as bootstrap expects, settled for a while; then until it drains.
func (p *probes) ready() error {
	if err := p.started(); err != nil {
		return err
	}
	s, want := p.node.calls.Status(), p.node.cfg.Bootstrap
	if s.Draining {
		return errors.New("draining")
	}
	if p.settled.Load() {
		return nil
	}
	if s.Alive < want.Expect || s.StableFor < want.StableFor {
		return fmt.Errorf("%d of %d members, unchanged for %v of %v", s.Alive, want.Expect, s.StableFor.Round(time.Millisecond), want.StableFor)
	}
	p.settled.Store(true)
	return nil
}
