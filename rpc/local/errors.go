package local

import (
	"context"
	"errors"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/starlingmesh/starling/rpc"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// domain of all ErrorInfo.
const domain = "starling"

func info(e *rpc.Error) *errdetails.ErrorInfo {
	return &errdetails.ErrorInfo{Reason: string(e.Reason), Domain: domain}
}

func failure(e *rpc.Error) *starlingv1.Failure {
	return &starlingv1.Failure{Code: int32(e.Code()), Reason: string(e.Reason), Message: e.Text}
}

// toStatus makes a gRPC status of an error of rpc.
func toStatus(err error) error {
	var e *rpc.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		st := status.New(codes.Code(e.Code()), e.Text)
		if detailed, err := st.WithDetails(info(e)); err == nil {
			st = detailed
		}
		return st.Err()
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return status.FromContextError(err).Err()
	default:
		return err
	}
}

// toConnect makes a connect error of an error of rpc.
func toConnect(err error) error {
	var e *rpc.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		ce := connect.NewError(connect.Code(e.Code()), errors.New(e.Text))
		if d, err := connect.NewErrorDetail(info(e)); err == nil {
			ce.AddDetail(d)
		}
		return ce
	default:
		return err
	}
}

// grpcUnary and grpcStream check who calls and translate errors.
func grpcUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := allowed(connOf(ctx)); err != nil {
		return nil, toStatus(err)
	}
	out, err := next(ctx, req)
	return out, toStatus(err)
}

func grpcStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := allowed(connOf(stream.Context())); err != nil {
		return toStatus(err)
	}
	return toStatus(next(srv, stream))
}

func allowed(c *conn) error {
	if c != nil && c.deny != "" {
		return rpc.Errorf(rpc.NotAllowed, "%s", c.deny)
	}
	return nil
}

// connectErrors does the same for connect.
type connectErrors struct{}

func (connectErrors) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		if err := allowed(connOf(ctx)); err != nil {
			return nil, toConnect(err)
		}
		out, err := next(ctx, r)
		return out, toConnect(err)
	}
}

func (connectErrors) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (connectErrors) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, c connect.StreamingHandlerConn) error {
		if err := allowed(connOf(ctx)); err != nil {
			return toConnect(err)
		}
		return toConnect(next(ctx, c))
	}
}

// connKey finds the connection in an HTTP request's context.
type connKey struct{}

// connOf is the connection that a request came over; nil if unknown.
func connOf(ctx context.Context) *conn {
	if c, ok := ctx.Value(connKey{}).(*conn); ok {
		return c
	}
	if p, ok := peer.FromContext(ctx); ok {
		if a, ok := p.AuthInfo.(authInfo); ok {
			return a.conn
		}
	}
	return nil
}

func credOf(ctx context.Context) Cred {
	if c := connOf(ctx); c != nil {
		return c.cred
	}
	return Cred{}
}

// authInfo carries the connection through gRPC.
type authInfo struct{ conn *conn }

// AuthType says how one knows who calls.
func (authInfo) AuthType() string { return "unix" }

var _ credentials.AuthInfo = authInfo{}
