package local

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/rpc"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

const (
	awaitTime    = 30 * time.Second
	awaitTimeMax = time.Hour
)

// membership is MembershipService.
type membership struct {
	starlingv1.UnimplementedMembershipServiceServer
	svc *rpc.Service
}

func (m *membership) ListMembers(_ context.Context, r *starlingv1.ListMembersRequest) (*starlingv1.ListMembersResponse, error) {
	sel := selector(r.GetSelect())
	list, snap, err := m.svc.Members(&sel, r.GetIncludeGone())
	if err != nil {
		return nil, err
	}
	return &starlingv1.ListMembersResponse{Members: members(list), Revision: snap.Version, Snapshot: snapshot(&snap)}, nil
}

func (m *membership) WatchMembers(_ *starlingv1.WatchMembersRequest, s grpc.ServerStreamingServer[starlingv1.WatchMembersResponse]) error {
	return m.watch(s.Context(), s.Send)
}

func (m *membership) watch(ctx context.Context, send func(*starlingv1.WatchMembersResponse) error) error {
	w, refused := m.svc.Watch()
	if refused != nil {
		return refused
	}
	defer w.Close()
	for {
		rev, all, changes, err := w.Next(ctx)
		if err != nil {
			return err
		}
		out := &starlingv1.WatchMembersResponse{Revision: rev}
		if changes == nil {
			out.Update = &starlingv1.WatchMembersResponse_Snapshot{Snapshot: &starlingv1.MemberSnapshot{Members: members(all)}}
		} else {
			list := make([]*starlingv1.MemberChange, len(changes))
			for i, c := range changes {
				list[i] = &starlingv1.MemberChange{Event: memberEvent(c.Kind), Member: member(&c.Member)}
			}
			out.Update = &starlingv1.WatchMembersResponse_Changes{Changes: &starlingv1.MemberChanges{Changes: list}}
		}
		if err := send(out); err != nil {
			return err
		}
	}
}

func memberEvent(k proto.ChangeKind) starlingv1.MemberEvent {
	switch k {
	case proto.ChangeUp:
		return starlingv1.MemberEvent_MEMBER_EVENT_UP
	case proto.ChangeSuspect:
		return starlingv1.MemberEvent_MEMBER_EVENT_SUSPECT
	case proto.ChangeDown:
		return starlingv1.MemberEvent_MEMBER_EVENT_DOWN
	case proto.ChangeLeft:
		return starlingv1.MemberEvent_MEMBER_EVENT_LEFT
	case proto.ChangeUpdated, proto.ChangeUnsuspect:
		return starlingv1.MemberEvent_MEMBER_EVENT_UPDATED
	default:
		panic("local: a change of an unknown kind")
	}
}

func (m *membership) AwaitPeers(ctx context.Context, r *starlingv1.AwaitPeersRequest) (*starlingv1.AwaitPeersResponse, error) {
	timeout, err := orDefault("timeout", r.GetTimeout(), awaitTime, awaitTimeMax)
	if err != nil {
		return nil, m.svc.Refuse(err.Reason, "%s", err.Text)
	}
	stable, err := span("stable_for", r.GetStableFor(), awaitTimeMax)
	if err != nil {
		return nil, m.svc.Refuse(err.Reason, "%s", err.Text)
	}
	sel := selector(r.GetSelect())
	p, awaitErr := m.svc.Await(ctx, int(r.GetCount()), &sel, stable, timeout)
	if awaitErr != nil {
		return nil, awaitErr
	}
	return &starlingv1.AwaitPeersResponse{
		Satisfied: p.Satisfied, Alive: uint32(p.Alive), Wanted: uint32(p.Wanted), Members: members(p.Members),
	}, nil
}

func (m *membership) GetStatus(context.Context, *starlingv1.GetStatusRequest) (*starlingv1.GetStatusResponse, error) {
	st := m.svc.Status()
	out := &starlingv1.GetStatusResponse{
		Self: member(&st.Self), Version: st.Version, Uptime: durationpb.New(st.Uptime), StableFor: durationpb.New(st.StableFor),
		Alive: uint32(st.Alive), Suspect: uint32(st.Suspect), Down: uint32(st.Down), Left: uint32(st.Left),
		Links: uint32(st.Links), Snapshot: snapshot(&st.Snapshot), Majority: st.Majority, Draining: st.Draining,
		Counters: map[string]uint64{},
	}
	for _, c := range m.svc.Counters() {
		out.Counters[c.Name+"."+c.Label] = c.Value
	}
	for _, a := range m.svc.Apps() {
		out.Applications = append(out.Applications, &starlingv1.Application{
			Name: a.Name, Uid: a.UID, Methods: a.Methods, Topics: a.Topics, Groups: a.Groups,
			Open: uint32(a.Open), Queued: uint32(a.Waiting), QueuedBytes: uint32(a.Bytes),
		})
	}
	return out, nil
}

func members(list []rpc.Member) []*starlingv1.Member {
	out := make([]*starlingv1.Member, len(list))
	for i := range list {
		out[i] = member(&list[i])
	}
	return out
}

func member(m *rpc.Member) *starlingv1.Member {
	e := m.Entry
	return &starlingv1.Member{
		NodeId: e.ID.String(), Name: e.Name, Status: starlingv1.MemberStatus(m.Status), Incarnation: e.Incarnation,
		Addresses: e.Addrs, Zone: e.Zone, Tags: fromTags(e.Tags), Groups: e.Groups, Handlers: e.Handlers,
		Self: m.Self, Linked: m.Linked,
	}
}

// connectMembership speaks HTTP/1.1.
type connectMembership struct{ *membership }

func (c connectMembership) WatchMembers(ctx context.Context, _ *starlingv1.WatchMembersRequest, s *connect.ServerStream[starlingv1.WatchMembersResponse]) error {
	return c.watch(ctx, s.Send)
}
