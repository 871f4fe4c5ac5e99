package client_test

import (
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/starlingmesh/starling/rpc/client"
	"github.com/starlingmesh/starling/rpc/direct"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// A busySidecar has sent a request just before it reads that the method is served no more.
type busySidecar struct {
	replies chan *starlingv1.Reply
}

func (b *busySidecar) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	stream, err := direct.Accept(w, 1<<20)
	if err != nil {
		return
	}
	defer stream.Close()
	served := false
	for {
		m := &starlingv1.SessionRequest{}
		if stream.Recv(m) != nil {
			return
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
			_ = stream.Send(&starlingv1.SessionResponse{Frames: out})
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
	server := &http.Server{Handler: busy, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }() // until it is closed
	defer server.Close()
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
