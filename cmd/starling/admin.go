package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/rpc"
	"github.com/starlingmesh/starling/rpc/local"
)

// admin is what the operators' socket may do to a node.
type admin struct{ *node }

// Drain makes the node refuse new calls, or take them again.
func (a *admin) Drain(_ context.Context, undo bool) (int, error) {
	return a.calls.Drain(!undo), nil
}

// Leave lets the node leave and its process end.
func (a *admin) Leave(ctx context.Context, drain time.Duration) error {
	err := a.leave(ctx, drain)
	a.leaveOnce.Do(func() { close(a.leaving) })
	return err
}

// SetLogLevel changes what is logged until the next start.
func (a *admin) SetLogLevel(level string) (string, error) {
	before, err := a.log.setLevel(level)
	if err != nil {
		return "", rpc.Errorf(rpc.BadRequest, "%v", err)
	}
	a.log.Info("log level changed", "before", before, "now", level)
	return before, nil
}

var faultKinds = map[local.FaultKind]overlay.FaultKind{
	local.Cut: overlay.FaultCut, local.Delay: overlay.FaultDelay, local.Stall: overlay.FaultStall,
}

// SetFault makes the links to a peer misbehave for a while.
func (a *admin) SetFault(f local.Fault) error {
	if !a.cfg.Faults.Allowed {
		return rpc.Errorf(rpc.FaultsOff, "faults are not allowed here: set faults.allowed: true in this node's configuration")
	}
	kind, ok := faultKinds[f.Kind]
	if !ok {
		return rpc.Errorf(rpc.BadRequest, "kind: there are cut, delay and stall")
	}
	if f.Peer != "*" && !slices.ContainsFunc(a.mesh.Roster().Members, func(m *proto.Member) bool { return is(m, f.Peer) }) {
		return rpc.Errorf(rpc.NodeUnknown, "peer: no member is called %q, nor has it as its ID or address; see `starling members`", f.Peer)
	}
	if err := a.mesh.Fault(overlay.Fault{Peer: f.Peer, Kind: kind, Way: overlay.FaultBoth, Delay: f.Delay, For: f.For}); err != nil {
		return rpc.Errorf(rpc.BadRequest, "%v", err)
	}
	return nil
}

// ClearFaults ends faults early.
func (a *admin) ClearFaults(peer string) (int, error) {
	return a.mesh.ClearFaults(peer), nil
}

// Faults lists what is in force.
func (a *admin) Faults() (bool, []local.Fault) {
	var list []local.Fault
	for _, f := range a.mesh.Faults() {
		for ours, theirs := range faultKinds {
			if theirs == f.Kind {
				list = append(list, local.Fault{Peer: f.Peer, Kind: ours, Delay: f.Delay, For: f.For})
			}
		}
	}
	return a.cfg.Faults.Allowed, list
}

// Dump tells the inner state for bug reports. Secrets print as [redacted] by their type.
func (a *admin) Dump(context.Context) (string, error) {
	text, err := json.MarshalIndent(map[string]any{
		"version": version(), "config": a.cfg, "overlay": a.mesh.Stats(), "status": a.calls.Status(),
		"counters": a.calls.Counters(), "gauges": a.calls.Gauges(), "discovery": a.finder.Snapshot(),
	}, "", "  ")
	if err != nil {
		return "", fmt.Errorf("dump: %w", err)
	}
	return string(text), nil
}
