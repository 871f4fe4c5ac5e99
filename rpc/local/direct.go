package local

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/starlingmesh/starling/rpc"
	"github.com/starlingmesh/starling/rpc/direct"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// directStream is a session's stream without gRPC.
type directStream struct {
	conn *direct.Conn
	ctx  context.Context
}

func (s directStream) Send(m *starlingv1.SessionResponse) error { return s.conn.Send(m) }

func (s directStream) Recv() (*starlingv1.SessionRequest, error) {
	m := &starlingv1.SessionRequest{}
	return m, s.conn.Recv(m)
}

func (s directStream) Context() context.Context { return s.ctx }

// direct takes the connections of those who ask for a session without gRPC, and
// leaves other requests to next.
func (a *api) direct(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !direct.Asked(r) {
			next.ServeHTTP(w, r)
			return
		}
		a.wg.Add(1) // while the HTTP server still counts the connection
		defer a.wg.Done()
		c, err := direct.Accept(w, bodyMax(a.svc.Limits().MessageMax))
		if err != nil {
			a.log.Debug("an application went before its session began", "err", err)
			return
		}
		a.serveDirect(directStream{c, context.WithoutCancel(r.Context())})
	})
}

// serveDirect serves a session; its goodbye says how it ended. Who says no hello
// is not waited for longer than for a first byte.
func (a *api) serveDirect(s directStream) {
	defer func() { _ = s.conn.Close() }()
	if err := allowed(connOf(s.ctx)); err != nil {
		_ = a.bye(s, rpc.NotAllowed, err.Error())
		return
	}
	_ = s.conn.SetReadDeadline(time.Now().Add(sniffTime))
	stop := context.AfterFunc(a.ctx, func() { _ = s.conn.SetReadDeadline(time.Now()) })
	first, err := s.Recv()
	if stop() {
		_ = s.conn.SetReadDeadline(time.Time{})
	}
	switch {
	case err == nil:
		err = a.begin(s, first)
	case errors.Is(err, direct.ErrBadMessage):
		err = a.bye(s, rpc.BadFrame, err.Error())
	}
	a.log.Debug("a session ended", "why", err)
}
