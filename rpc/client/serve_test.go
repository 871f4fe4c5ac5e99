package client_test

import (
	"net"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"

	"github.com/starlingmesh/starling/rpc/client"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// A busySidecar has sent a request just before it reads that the method is served no more.
type busySidecar struct {
	starlingv1.UnimplementedRpcServiceServer

	replies chan *starlingv1.Reply
}

func (b *busySidecar) Session(stream grpc.BidiStreamingServer[starlingv1.SessionRequest, starlingv1.SessionResponse]) error {
	served := false
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		var out []*starlingv1.ServerFrame
		for _, f := range m.GetFrames() {
			switch {
			case f.GetHello() != nil:
				out = append(out, &starlingv1.ServerFrame{Frame: &starlingv1.ServerFrame_Welcome{Welcome: &starlingv1.Welcome{Name: "a"}}})
			case f.GetRegister() != nil:
				if served && len(f.GetRegister().GetMethods()) == 0 {
					out = append(out, &starlingv1.ServerFrame{Frame: &starlingv1.ServerFrame_Request{Request: &starlingv1.Request{Id: 1, Method: "m"}}})
				}
				served = true
				out = append(out, &starlingv1.ServerFrame{Frame: &starlingv1.ServerFrame_Registered{
					Registered: &starlingv1.Registered{Id: f.GetRegister().GetId()},
				}})
			case f.GetReply() != nil:
				b.replies <- f.GetReply()
			}
		}
		if len(out) > 0 {
			if err := stream.Send(&starlingv1.SessionResponse{Frames: out}); err != nil {
				return err
			}
		}
	}
}

func TestWhoStopsServingStillHandlesWhatWasSentBefore(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	busy := &busySidecar{replies: make(chan *starlingv1.Reply, 1)}
	server := grpc.NewServer()
	starlingv1.RegisterRpcServiceServer(server, busy)
	go func() { _ = server.Serve(l) }() // until it is stopped
	defer server.Stop()
	c, err := client.Dial(t.Context(), client.Options{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Handle(t.Context(), "m", echo); err != nil {
		t.Fatal(err)
	}
	if err := c.Handle(t.Context(), "m", nil); err != nil {
		t.Fatal(err)
	}
	if r := <-busy.replies; r.GetError() != nil {
		t.Errorf("the request was answered by %v, want it handled", r.GetError())
	}
}
