package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/starlingmesh/starling/cmd/starling/config"
	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/overlay"
	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/rpc"
	"github.com/starlingmesh/starling/rpc/local"
)

// A node is the whole sidecar, in the order of the data: sources find addresses, the overlay makes members of them, rpc
// asks the members, and the sockets let applications and operators speak.
type node struct {
	cfg config.Config
	log logger

	mesh      *overlay.Overlay
	relay     *relay
	finder    *discovery.Manager
	calls     *rpc.Service
	apps      *local.Server
	operators *local.Server
	probes    *probes

	leaving   chan struct{} // closed when an operator told the node to leave
	leaveOnce sync.Once
}

// newNode makes the parts and takes the ports and sockets. Nothing runs until run.
func newNode(ctx context.Context, cfg config.Config, log logger) (n *node, err error) {
	n = &node{cfg: cfg, log: log, leaving: make(chan struct{})}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	oc, err := overlayConfig(cfg, log.Logger)
	if err != nil {
		return n, err
	}
	oc.Dialed = n.dialed
	if n.mesh, err = overlay.New(oc, log.Logger); err != nil {
		return n, err
	}
	me, err := selfOf(cfg, n.mesh)
	if err != nil {
		return n, err
	}
	n.relay = newRelay(n.mesh)
	me.relay = n.relay
	sources, err := newSources(cfg.Discovery.Sources, me, log.Logger)
	if err != nil {
		return n, err
	}
	if n.finder, err = discovery.New(sources, discoveryConfig(cfg.Discovery, n.mesh), log.Logger); err != nil {
		return n, err
	}
	if n.calls, err = rpc.New(n.mesh, rpcConfig(cfg, expectation(sources, n.finder)), log.Logger); err != nil {
		return n, err
	}
	socket, err := socketConfig(cfg.API)
	if err != nil {
		return n, err
	}
	if n.apps, err = local.Listen(ctx, socket, n.calls, log.Logger); err != nil {
		return n, err
	}
	if n.operators, err = local.ListenAdmin(ctx, adminPath(cfg), &admin{n}, log.Logger); err != nil {
		return n, err
	}
	n.probes, err = newProbes(ctx, n)
	return n, err
}

// close gives back what newNode took, when it could not take everything. Servers that never run have only a socket.
func (n *node) close() {
	stopped, stop := context.WithCancel(context.Background())
	stop()
	for _, s := range []*local.Server{n.apps, n.operators} {
		if s != nil {
			_ = s.Run(stopped) // closes and removes the socket
		}
	}
	if n.mesh != nil {
		_ = n.mesh.Close() // the first error is the one that matters
	}
}

// run is the life of the node: until ctx ends, a part fails, or an operator lets it leave.
func (n *node) run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx)) // leaving takes a working node
	defer stop()
	parts, work := errgroup.WithContext(work)
	parts.Go(func() error { return n.finder.Run(work) })
	parts.Go(func() error { return n.mesh.Run(work, n) })
	parts.Go(func() error { return n.apps.Run(work) })
	parts.Go(func() error { return n.operators.Run(work) })
	parts.Go(func() error { return n.probes.run(work) })
	small := time.AfterFunc(startUp, func() {
		if err := dropStartUp(); err != nil {
			n.log.Debug("memory of the start was kept", "err", err)
		}
	})
	defer small.Stop()
	n.log.Info("ready for applications", "socket", n.apps.Addr())
	select {
	case <-ctx.Done():
		_ = n.leave(work, n.cfg.Overlay.Leave) // it has been logged
	case <-n.leaving:
	case <-work.Done():
	}
	n.calls.Close()
	stop()
	return parts.Wait()
}

// lastWord is the time to tell the others, once no call runs.
const lastWord = time.Second

// leave takes no more calls, finishes those that run, and tells the others.
func (n *node) leave(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within+lastWord)
	defer cancel()
	n.calls.Drain(true)
	if err := n.mesh.Leave(ctx); err != nil {
		n.log.Warn("left without having told everybody", "err", err)
		return fmt.Errorf("leave the cluster: %w", err)
	}
	return nil
}

// Handle takes what the overlay tells: rpc hears everything, discovery who lives and whether more contacts are wanted.
func (n *node) Handle(out proto.Output) {
	if d, ok := out.(proto.Deliver); ok && n.relay.deliver(&d) {
		return // the sidecars' own
	}
	n.calls.Handle(out)
	switch out := out.(type) {
	case proto.MembersChanged:
		for _, c := range out.Changes {
			n.tellFinder(c)
		}
	case proto.ContactsWanted:
		n.finder.Isolated(true)
	case proto.NeighborUp:
		n.finder.Isolated(false)
	default:
	}
}

// dialed tells discovery how a dial ended: that is how it knows this node itself, and whom to leave alone for a while.
func (n *node) dialed(addr string, who peer.ID, err error) {
	id := ""
	if err == nil {
		id = who.String()
	}
	n.finder.Dialed(addr, id, err)
}

func (n *node) tellFinder(c proto.MemberChange) {
	id := c.Member.Entry.ID.String()
	switch c.Kind {
	case proto.ChangeUp, proto.ChangeUpdated:
		n.finder.Up(id, c.Member.Entry.Addrs)
	case proto.ChangeDown:
		n.finder.Down(id)
	case proto.ChangeLeft:
		n.finder.Left(id)
	default: // suspicion is no news for discovery
	}
}
