package local

import (
	"context"
	"log/slog"
	"sync"

	"connectrpc.com/connect"
	"google.golang.org/grpc"

	"github.com/starlingmesh/starling/rpc"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// api is RpcService for both ways to speak. People (HTTP/1.1) get payloads as
// text or JSON where they are; programs always get bytes.
type api struct {
	svc    *rpc.Service
	log    *slog.Logger
	leases *leases
	wg     sync.WaitGroup  // sessions without gRPC, and what sessions started
	ctx    context.Context // ends with close
	end    context.CancelFunc
}

func newAPI(svc *rpc.Service, log *slog.Logger) *api {
	a := &api{svc: svc, log: log, leases: newLeases(svc)}
	a.ctx, a.end = context.WithCancel(context.Background())
	return a
}

func (a *api) close() {
	a.end()
	a.leases.close()
}

func (a *api) multicall(ctx context.Context, r *starlingv1.MulticallRequest, people bool) (*starlingv1.MulticallResponse, error) {
	ask, err := askMulticall(r, rpc.Multicall)
	if err != nil {
		return nil, a.refused(err)
	}
	answer, doErr := a.svc.Do(ctx, ask)
	if doErr != nil {
		return nil, doErr
	}
	return multicallResponse(answer, people), nil
}

func (a *api) stream(ctx context.Context, r *starlingv1.MulticallStreamRequest, people bool, send func(*starlingv1.MulticallStreamResponse) error) error {
	ask, err := askMulticall(r.GetCall(), rpc.Stream)
	if err != nil {
		return a.refused(err)
	}
	answer, doErr := a.svc.Each(ctx, ask, func(v *rpc.NodeVerdict) error {
		if v.Extra {
			return send(&starlingv1.MulticallStreamResponse{Event: &starlingv1.MulticallStreamResponse_Extra{Extra: verdict(v, people)}})
		}
		return send(&starlingv1.MulticallStreamResponse{Event: &starlingv1.MulticallStreamResponse_Verdict{Verdict: verdict(v, people)}})
	})
	if doErr != nil {
		return doErr
	}
	return send(&starlingv1.MulticallStreamResponse{Event: &starlingv1.MulticallStreamResponse_End{End: multicallEnd(answer)}})
}

func (a *api) call(ctx context.Context, r *starlingv1.CallRequest, people bool) (*starlingv1.CallResponse, error) {
	ask, err := askCall(r)
	if err != nil {
		return nil, a.refused(err)
	}
	answer, doErr := a.svc.Do(ctx, ask)
	if doErr != nil {
		return nil, doErr
	}
	return callResponse(answer, people), nil
}

func (a *api) cast(ctx context.Context, r *starlingv1.CastRequest) (*starlingv1.CastResponse, error) {
	ask, err := askCast(r)
	if err != nil {
		return nil, a.refused(err)
	}
	answer, doErr := a.svc.Do(ctx, ask)
	if doErr != nil {
		return nil, doErr
	}
	return &starlingv1.CastResponse{NodeId: answer.Node.String()}, nil
}

func (a *api) abcast(ctx context.Context, r *starlingv1.AbcastRequest, people bool) (*starlingv1.AbcastResponse, error) {
	ask, err := askAbcast(r)
	if err != nil {
		return nil, a.refused(err)
	}
	answer, doErr := a.svc.Do(ctx, ask)
	if doErr != nil {
		return nil, doErr
	}
	return abcastResponse(answer, people), nil
}

// refused counts a refusal of the conversion.
func (a *api) refused(e *rpc.Error) error { return a.svc.Refuse(e.Reason, "%s", e.Text) }

// grpcAPI speaks gRPC.
type grpcAPI struct {
	starlingv1.UnimplementedRpcServiceServer
	*api
}

func (g *grpcAPI) Multicall(ctx context.Context, r *starlingv1.MulticallRequest) (*starlingv1.MulticallResponse, error) {
	return g.multicall(ctx, r, false)
}

func (g *grpcAPI) MulticallStream(r *starlingv1.MulticallStreamRequest, s grpc.ServerStreamingServer[starlingv1.MulticallStreamResponse]) error {
	return g.stream(s.Context(), r, false, s.Send)
}

func (g *grpcAPI) Call(ctx context.Context, r *starlingv1.CallRequest) (*starlingv1.CallResponse, error) {
	return g.call(ctx, r, false)
}

func (g *grpcAPI) Cast(ctx context.Context, r *starlingv1.CastRequest) (*starlingv1.CastResponse, error) {
	return g.cast(ctx, r)
}

func (g *grpcAPI) Abcast(ctx context.Context, r *starlingv1.AbcastRequest) (*starlingv1.AbcastResponse, error) {
	return g.abcast(ctx, r, false)
}

func (g *grpcAPI) Session(s grpc.BidiStreamingServer[starlingv1.SessionRequest, starlingv1.SessionResponse]) error {
	return g.session(s)
}

func (g *grpcAPI) Poll(ctx context.Context, r *starlingv1.PollRequest) (*starlingv1.PollResponse, error) {
	return g.leases.poll(ctx, r, false)
}

func (g *grpcAPI) Respond(_ context.Context, r *starlingv1.RespondRequest) (*starlingv1.RespondResponse, error) {
	return g.leases.respond(r)
}

// connectAPI speaks HTTP/1.1.
type connectAPI struct{ *api }

func (c *connectAPI) Multicall(ctx context.Context, r *starlingv1.MulticallRequest) (*starlingv1.MulticallResponse, error) {
	return c.multicall(ctx, r, true)
}

func (c *connectAPI) MulticallStream(ctx context.Context, r *starlingv1.MulticallStreamRequest, s *connect.ServerStream[starlingv1.MulticallStreamResponse]) error {
	return c.stream(ctx, r, true, s.Send)
}

func (c *connectAPI) Call(ctx context.Context, r *starlingv1.CallRequest) (*starlingv1.CallResponse, error) {
	return c.call(ctx, r, true)
}

func (c *connectAPI) Cast(ctx context.Context, r *starlingv1.CastRequest) (*starlingv1.CastResponse, error) {
	return c.cast(ctx, r)
}

func (c *connectAPI) Abcast(ctx context.Context, r *starlingv1.AbcastRequest) (*starlingv1.AbcastResponse, error) {
	return c.abcast(ctx, r, true)
}

func (c *connectAPI) Session(context.Context, *connect.BidiStream[starlingv1.SessionRequest, starlingv1.SessionResponse]) error {
	return c.svc.Refuse(rpc.NeedsStream, "a Session needs gRPC; over HTTP/1.1 use Poll and Respond")
}

func (c *connectAPI) Poll(ctx context.Context, r *starlingv1.PollRequest) (*starlingv1.PollResponse, error) {
	return c.leases.poll(ctx, r, true)
}

func (c *connectAPI) Respond(_ context.Context, r *starlingv1.RespondRequest) (*starlingv1.RespondResponse, error) {
	return c.leases.respond(r)
}
