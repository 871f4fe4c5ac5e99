package local

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/starlingmesh/starling/rpc"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// FaultKind says what is done to a peer's frames.
type FaultKind uint8

// The faults.
const (
	Cut   FaultKind = iota + 1 // connections are closed and refused
	Delay                      // frames wait
	Stall                      // nothing moves, nothing is closed
)

// Fault is one misbehaviour towards a peer, for a bounded time.
type Fault struct {
	Peer  string // name, ID or address; "*" is all
	Kind  FaultKind
	Delay time.Duration // of a Delay
	For   time.Duration // from now; in lists, what is left
}

// Admin is what operators may do to the node. Methods may be called at once
// from several goroutines; an *rpc.Error keeps its reason on the way out.
type Admin interface {
	// Drain begins or ends draining and tells how many requests are open.
	Drain(ctx context.Context, undo bool) (open int, err error)
	// Leave drains for at most so long, has the node leave, and returns when the
	// others have been told; the process ends after it.
	Leave(ctx context.Context, drain time.Duration) error
	// SetLogLevel takes debug, info, warn or error and returns the level before.
	SetLogLevel(level string) (before string, err error)
	// SetFault puts a fault in force, replacing one of the same peer and kind.
	SetFault(f Fault) error
	// ClearFaults ends the peer's faults, or all if peer is empty.
	ClearFaults(peer string) (cleared int, err error)
	// Faults lists what is in force, and whether faults are allowed.
	Faults() (allowed bool, faults []Fault)
	// Evidence tells as JSON how the sources fare, and what is known of whom about
	// names.
	Evidence(about string) (string, error)
	// Dump tells the inner state for people; without secrets.
	Dump(ctx context.Context) (string, error)
}

const (
	leaveDrain    = 5 * time.Second
	leaveDrainMax = 10 * time.Minute
	faultTime     = time.Minute
	faultTimeMax  = time.Hour
	faultDelayMax = time.Minute
)

// adminAPI is AdminService, for both ways to speak.
type adminAPI struct {
	starlingv1.UnimplementedAdminServiceServer
	admin Admin
}

func (a *adminAPI) Drain(ctx context.Context, r *starlingv1.DrainRequest) (*starlingv1.DrainResponse, error) {
	open, err := a.admin.Drain(ctx, r.GetUndo())
	if err != nil {
		return nil, err
	}
	return &starlingv1.DrainResponse{Open: uint32(open)}, nil
}

func (a *adminAPI) Leave(ctx context.Context, r *starlingv1.LeaveRequest) (*starlingv1.LeaveResponse, error) {
	drain, err := orDefault("drain", r.GetDrain(), leaveDrain, leaveDrainMax)
	if err != nil {
		return nil, err
	}
	if err := a.admin.Leave(ctx, drain); err != nil {
		return nil, err
	}
	return &starlingv1.LeaveResponse{}, nil
}

func (a *adminAPI) SetLogLevel(_ context.Context, r *starlingv1.SetLogLevelRequest) (*starlingv1.SetLogLevelResponse, error) {
	before, err := a.admin.SetLogLevel(r.GetLevel())
	if err != nil {
		return nil, err
	}
	return &starlingv1.SetLogLevelResponse{Before: before}, nil
}

func (a *adminAPI) SetFault(_ context.Context, r *starlingv1.SetFaultRequest) (*starlingv1.SetFaultResponse, error) {
	f := r.GetFault()
	if f.GetPeer() == "" {
		return nil, rpc.Errorf(rpc.BadRequest, "fault.peer is empty: want a name, an ID, an address, or * for all")
	}
	out := Fault{Peer: f.GetPeer()}
	var err *rpc.Error
	if out.For, err = orDefault("fault.duration", f.GetDuration(), faultTime, faultTimeMax); err != nil {
		return nil, err
	}
	if out.Delay, err = span("fault.delay", f.GetDelay(), faultDelayMax); err != nil {
		return nil, err
	}
	switch f.GetKind() {
	case starlingv1.FaultKind_FAULT_KIND_CUT:
		out.Kind = Cut
	case starlingv1.FaultKind_FAULT_KIND_STALL:
		out.Kind = Stall
	case starlingv1.FaultKind_FAULT_KIND_DELAY:
		out.Kind = Delay
		if out.Delay == 0 {
			return nil, rpc.Errorf(rpc.BadRequest, "fault.delay is missing: a delay needs one, e.g. 0.2s")
		}
	default:
		return nil, rpc.Errorf(rpc.BadRequest, "fault.kind is %v: want FAULT_KIND_CUT, FAULT_KIND_DELAY or FAULT_KIND_STALL", f.GetKind())
	}
	if err := a.admin.SetFault(out); err != nil {
		return nil, err
	}
	return &starlingv1.SetFaultResponse{}, nil
}

func (a *adminAPI) ClearFaults(_ context.Context, r *starlingv1.ClearFaultsRequest) (*starlingv1.ClearFaultsResponse, error) {
	n, err := a.admin.ClearFaults(r.GetPeer())
	if err != nil {
		return nil, err
	}
	return &starlingv1.ClearFaultsResponse{Cleared: uint32(n)}, nil
}

func (a *adminAPI) ListFaults(context.Context, *starlingv1.ListFaultsRequest) (*starlingv1.ListFaultsResponse, error) {
	allowed, list := a.admin.Faults()
	out := &starlingv1.ListFaultsResponse{Allowed: allowed}
	for _, f := range list {
		pb := &starlingv1.Fault{Peer: f.Peer, Kind: starlingv1.FaultKind(f.Kind), Duration: durationpb.New(f.For)}
		if f.Delay > 0 {
			pb.Delay = durationpb.New(f.Delay)
		}
		out.Faults = append(out.Faults, pb)
	}
	return out, nil
}

func (a *adminAPI) Evidence(_ context.Context, r *starlingv1.EvidenceRequest) (*starlingv1.EvidenceResponse, error) {
	text, err := a.admin.Evidence(r.GetAbout())
	if err != nil {
		return nil, err
	}
	return &starlingv1.EvidenceResponse{Json: text}, nil
}

func (a *adminAPI) Dump(ctx context.Context, _ *starlingv1.DumpRequest) (*starlingv1.DumpResponse, error) {
	text, err := a.admin.Dump(ctx)
	if err != nil {
		return nil, err
	}
	return &starlingv1.DumpResponse{Text: text}, nil
}
