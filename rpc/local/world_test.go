package local

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/starlingmesh/starling/rpc"
	"github.com/starlingmesh/starling/rpc/client"
	"github.com/starlingmesh/starling/rpc/rpctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is one sidecar's local side on a fake mesh of three.
type world struct {
	t      testing.TB
	mesh   *rpctest.Mesh
	svc    *rpc.Service
	socket string
	direct bool // raw sessions go without gRPC
	stop   func()
}

func newWorld(tb testing.TB, change ...func(*rpc.Config, *Socket)) *world {
	tb.Helper()
	return newWorldWith(tb, rpctest.Echo, change...)
}

func newWorldWith(tb testing.TB, others rpctest.Others, change ...func(*rpc.Config, *Socket)) *world {
	tb.Helper()
	w := &world{t: tb, mesh: rpctest.New(others, "a", "b", "c"), socket: filepath.Join(tb.TempDir(), "api.sock")}
	cfg, sock := rpc.Defaults(), Socket{Path: w.socket}
	for _, f := range change {
		f(&cfg, &sock)
	}
	log := slog.New(slog.DiscardHandler)
	svc, err := rpc.New(w.mesh, cfg, log)
	if err != nil {
		tb.Fatal(err)
	}
	w.svc = svc
	srv, err := Listen(tb.Context(), sock, svc, log)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	var wg sync.WaitGroup
	wg.Go(func() { w.mesh.Run(ctx, svc) })
	served := make(chan error, 1)
	wg.Go(func() { served <- srv.Run(ctx) })
	w.stop = sync.OnceFunc(func() {
		svc.Close()
		cancel()
		wg.Wait()
		if err := <-served; err != nil {
			tb.Errorf("server: %v", err)
		}
	})
	tb.Cleanup(w.stop)
	return w
}

// dial connects an application.
func (w *world) dial(name string) *client.Client {
	w.t.Helper()
	c, err := client.Dial(w.t.Context(), client.Options{Socket: w.socket, Application: name})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

// curl posts JSON as curl would, and reads the answer.
func (w *world) curl(method, body string) (int, map[string]any) {
	w.t.Helper()
	return w.curlAt(w.socket, "starling.v1.RpcService/"+method, body)
}

func (w *world) curlAt(socket, path, body string) (int, map[string]any) {
	w.t.Helper()
	h := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/"+path, bytes.NewBufferString(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := h.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(text, &out); err != nil {
		w.t.Fatalf("%s answered %d with %q: %v", path, resp.StatusCode, text, err)
	}
	return resp.StatusCode, out
}

// at digs into JSON: names and indexes.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				t.Fatalf("no element %d in %v", p, v)
			}
			v = l[p]
		}
	}
	return v
}
