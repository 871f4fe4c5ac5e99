package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/starlingmesh/starling/rpc"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
	"github.com/starlingmesh/starling/rpc/starling/v1/starlingv1connect"
)

// connectionsMax is how many connections one socket holds; further ones are
// closed at once. Each costs a few kilobytes while it says nothing.
const connectionsMax = 1024

// Server listens on one unix socket and speaks gRPC and HTTP/1.1.
type Server struct {
	split *splitter
	grpc  *grpc.Server
	http  *http.Server
	api   *api // nil on the admin socket
	log   *slog.Logger
}

// Listen takes the socket for the applications' API. Run serves it.
func Listen(ctx context.Context, sock Socket, svc *rpc.Service, log *slog.Logger) (*Server, error) {
	a := newAPI(svc, log)
	s, err := newServer(ctx, sock, svc.Limits().MessageMax, log, func(why string) { svc.Count("refused", why) })
	if err != nil {
		return nil, err
	}
	s.api = a
	members := &membership{svc: svc}
	starlingv1.RegisterRpcServiceServer(s.grpc, &grpcAPI{api: a})
	starlingv1.RegisterMembershipServiceServer(s.grpc, members)
	calls, people := starlingv1connect.NewRpcServiceHandler(&connectAPI{api: a}, options(svc.Limits().MessageMax)...)
	s.finish(svc.Limits().MessageMax, []route{
		{calls, a.direct(people)},
		handle(starlingv1connect.NewMembershipServiceHandler(connectMembership{members}, options(svc.Limits().MessageMax)...)),
	})
	return s, nil
}

// ListenAdmin takes the socket for operators. It is made for this user only.
func ListenAdmin(ctx context.Context, path string, admin Admin, log *slog.Logger) (*Server, error) {
	const messageMax = 1 << 20
	s, err := newServer(ctx, Socket{Path: path, Mode: 0o600}, messageMax, log, func(string) {})
	if err != nil {
		return nil, err
	}
	a := &adminAPI{admin: admin}
	starlingv1.RegisterAdminServiceServer(s.grpc, a)
	s.finish(messageMax, []route{handle(starlingv1connect.NewAdminServiceHandler(a, options(messageMax)...))})
	return s, nil
}

func newServer(ctx context.Context, sock Socket, messageMax int, log *slog.Logger, count func(string)) (*Server, error) {
	ln, err := listen(ctx, &sock)
	if err != nil {
		return nil, err
	}
	return &Server{
		log: log, grpc: newGRPC(messageMax),
		split: newSplitter(ln, &sock, connectionsMax, log, count),
	}, nil
}

func newGRPC(messageMax int) *grpc.Server {
	return grpc.NewServer(
		grpc.Creds(unixCreds{}),
		grpc.UnaryInterceptor(grpcUnary), grpc.StreamInterceptor(grpcStream),
		grpc.MaxRecvMsgSize(bodyMax(messageMax)),
		grpc.MaxConcurrentStreams(1024), grpc.ConnectionTimeout(sniffTime),
		grpc.InitialWindowSize(1<<20), grpc.InitialConnWindowSize(4<<20),
	)
}

// finish adds what all sockets have, and HTTP.
func (s *Server) finish(messageMax int, routes []route) {
	check := health.NewServer() // serving from the start to the end
	healthv1.RegisterHealthServer(s.grpc, check)
	reflection.Register(s.grpc)
	s.http = &http.Server{
		Handler:           httpHandler(messageMax, bodyTime, routes),
		ReadHeaderTimeout: sniffTime, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
}

// Addr is where it listens.
func (s *Server) Addr() string { return s.split.sock.Path }

// Run serves until ctx ends, then tells sessions goodbye, gives unary calls a
// moment, and leaves nothing behind: no connection, goroutine or file.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var failed [3]error
	end := func(i int, what string, err error) {
		if err != nil && ctx.Err() == nil {
			failed[i] = fmt.Errorf("serve %s on %s: %w", what, s.Addr(), err)
		}
		cancel()
	}
	wg.Go(func() { end(0, "connections", s.split.run(ctx)) })
	wg.Go(func() { end(1, "gRPC", s.grpc.Serve(s.split.grpc)) })
	wg.Go(func() { end(2, "HTTP", s.http.Serve(s.split.http)) })
	<-ctx.Done()
	s.stop()
	wg.Wait()
	return errors.Join(failed[:]...)
}

// stop ends what is open within a second.
func (s *Server) stop() {
	if s.api != nil {
		s.api.close()
	}
	_ = s.split.http.Close() // only stops Accept
	_ = s.split.grpc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	force := context.AfterFunc(ctx, s.grpc.Stop)
	s.grpc.GracefulStop()
	force()
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close() // what did not end in its second
	}
	if s.api != nil {
		s.api.wg.Wait()
	}
}

// unixCreds are no credentials: the kernel told who connected. They carry the
// connection to the handlers.
type unixCreds struct{}

func (unixCreds) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these credentials are a server's")
}

func (unixCreds) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	own, ok := c.(*conn)
	if !ok {
		return nil, nil, fmt.Errorf("a connection that was not accepted here: %T", c)
	}
	return c, authInfo{conn: own}, nil
}

func (unixCreds) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "unix"}
}

func (c unixCreds) Clone() credentials.TransportCredentials { return c }

// OverrideServerName does nothing.
func (unixCreds) OverrideServerName(string) error { return nil }
