package local

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/starlingmesh/starling/rpc"
	"github.com/starlingmesh/starling/rpc/client"
	"github.com/starlingmesh/starling/rpc/direct"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// raw is a session without an SDK.
type raw struct {
	t      testing.TB
	stream appStream
	queued []*starlingv1.ServerFrame
}

// appStream is an application's end of a session, with gRPC or without.
type appStream interface {
	Send(m *starlingv1.SessionRequest) error
	Recv() (*starlingv1.SessionResponse, error)
	CloseSend() error
}

// directApp is a session without gRPC. Its last word is a goodbye, where gRPC has a status.
type directApp struct {
	*direct.Conn
	said *starlingv1.Goodbye
}

func (d *directApp) Send(m *starlingv1.SessionRequest) error { return d.Conn.Send(m) }

func (d *directApp) Recv() (*starlingv1.SessionResponse, error) {
	m := &starlingv1.SessionResponse{}
	err := d.Conn.Recv(m)
	if frames := m.GetFrames(); len(frames) > 0 && frames[len(frames)-1].GetGoodbye() != nil {
		d.said = frames[len(frames)-1].GetGoodbye()
	}
	if err != nil && d.said != nil {
		err = status.Error(codes.Code(d.said.GetCode()), d.said.GetMessage())
	}
	return m, err
}

// CloseSend ends it: there is no half of it that could go on.
func (d *directApp) CloseSend() error { return d.Close() }

// bothWays runs a test of sessions with gRPC and without.
func bothWays(t *testing.T, test func(t *testing.T, w *world), change ...func(*rpc.Config, *Socket)) {
	t.Helper()
	for way, without := range map[string]bool{"gRPC": false, "direct": true} {
		t.Run(way, func(t *testing.T) {
			w := newWorld(t, change...)
			w.direct = without
			test(t, w)
		})
	}
}

func (w *world) conn() *grpc.ClientConn {
	w.t.Helper()
	conn, err := client.Connect(w.socket)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// open opens a session, as w.direct says.
func (w *world) open() appStream {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second) // rather than hang
	w.t.Cleanup(cancel)
	if !w.direct {
		s, err := starlingv1.NewRpcServiceClient(w.conn()).Session(ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		return s
	}
	return &directApp{Conn: w.ask(ctx)}
}

// ask opens a session without gRPC.
func (w *world) ask(ctx context.Context) *direct.Conn {
	w.t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", w.socket)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := direct.Ask(ctx, conn, 1<<20)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (w *world) raw(hello *starlingv1.Hello) *raw {
	w.t.Helper()
	r := &raw{t: w.t, stream: w.open()}
	r.send(&starlingv1.ClientFrame{Frame: &starlingv1.ClientFrame_Hello{Hello: hello}})
	if f := r.next(); f.GetWelcome().GetName() != "a" {
		w.t.Fatalf("first frame: %v", f)
	}
	return r
}

func (r *raw) send(frames ...*starlingv1.ClientFrame) {
	r.t.Helper()
	if err := r.stream.Send(&starlingv1.SessionRequest{Frames: frames}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *raw) next() *starlingv1.ServerFrame {
	r.t.Helper()
	for len(r.queued) == 0 {
		m, err := r.stream.Recv()
		if err != nil {
			r.t.Fatal(err)
		}
		r.queued = m.GetFrames()
	}
	f := r.queued[0]
	r.queued = r.queued[1:]
	return f
}

func (r *raw) serve(methods ...string) {
	r.t.Helper()
	r.send(&starlingv1.ClientFrame{Frame: &starlingv1.ClientFrame_Register{Register: &starlingv1.Register{Id: 1, Methods: methods}}})
	if f := r.next(); f.GetRegistered() == nil || f.GetRegistered().GetFailure() != nil {
		r.t.Fatalf("register: %v", f)
	}
}

func replyFrame(id uint64, text string) *starlingv1.ClientFrame {
	return &starlingv1.ClientFrame{Frame: &starlingv1.ClientFrame_Reply{Reply: &starlingv1.Reply{
		Id: id, Outcome: &starlingv1.Reply_Payload{Payload: &starlingv1.Payload{Body: &starlingv1.Payload_Text{Text: text}}},
	}}}
}
