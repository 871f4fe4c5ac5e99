package client_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/rpc"
	"github.com/starlingmesh/starling/rpc/client"
	"github.com/starlingmesh/starling/rpc/local"
	"github.com/starlingmesh/starling/rpc/rpctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sidecar is the local side of node "a" in a mesh of three. It can end and
// start again on the same socket.
type sidecar struct {
	t      *testing.T
	mesh   *rpctest.Mesh
	socket string
	stop   func()
}

func newSidecar(t *testing.T, others rpctest.Others) *sidecar {
	t.Helper()
	s := &sidecar{t: t, mesh: rpctest.New(others, "a", "b", "c"), socket: filepath.Join(t.TempDir(), "api.sock")}
	s.start()
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *sidecar) start() {
	s.t.Helper()
	log := slog.New(slog.DiscardHandler)
	svc, err := rpc.New(s.mesh, rpc.Defaults(), log)
	if err != nil {
		s.t.Fatal(err)
	}
	srv, err := local.Listen(s.t.Context(), local.Socket{Path: s.socket}, svc, log)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.mesh.Run(ctx, svc) })
	wg.Go(func() {
		if err := srv.Run(ctx); err != nil {
			s.t.Error(err)
		}
	})
	s.stop = sync.OnceFunc(func() {
		svc.Close()
		cancel()
		wg.Wait()
	})
}

func (s *sidecar) dial() *client.Client {
	s.t.Helper()
	c, err := client.Dial(s.t.Context(), client.Options{Socket: s.socket})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

func echo(_ context.Context, r *client.Request) (client.Payload, error) { return r.Payload, nil }

func TestAMulticallAnswersForEveryNode(t *testing.T) {
	s := newSidecar(t, func(m *proto.Member, r *proto.Request) (proto.CallVerdict, bool) {
		if m.Entry.Name == "c" {
			return proto.CallVerdict{Verdict: proto.Lost, Executed: proto.ExecutedMaybe, Stage: proto.StageReceived, Reason: "it went down", Attempts: 2}, true
		}
		return rpctest.Echo(m, r)
	})
	c := s.dial()
	if err := c.Handle(t.Context(), "m", echo); err != nil {
		t.Fatal(err)
	}
	a, err := c.Multicall(t.Context(), "m", client.Text("hi"))
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Verdicts) != 3 || a.Verdicts[0].Payload.String() != "hi" || a.Snapshot.Size != 3 || a.Snapshot.Discovery != "unknown" {
		t.Errorf("got %+v", a)
	}
	bad := a.Failed()
	if len(bad) != 1 || bad[0].Name != "c" || bad[0].Verdict != client.Lost || bad[0].Executed != client.Maybe ||
		bad[0].Stage != client.Received || bad[0].Attempts != 2 || bad[0].Reason != "it went down" {
		t.Errorf("failed are %+v", bad)
	}
}

func TestStreamedVerdictsComeBeforeTheEnd(t *testing.T) {
	s := newSidecar(t, rpctest.Echo)
	c := s.dial()
	release := make(chan struct{})
	if err := c.Handle(t.Context(), "m", func(ctx context.Context, r *client.Request) (client.Payload, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return r.Payload, nil
	}); err != nil {
		t.Fatal(err)
	}
	var names []string
	for v, err := range c.MulticallStream(t.Context(), "m", client.Text("hi")) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, v.Name)
		if len(names) == 2 {
			close(release) // only now may the own handler answer
		}
	}
	if len(names) != 3 || names[2] != "a" {
		t.Errorf("verdicts of %v", names)
	}
}

func TestLeavingTheLoopCancelsTheHandlers(t *testing.T) {
	s := newSidecar(t, rpctest.Echo)
	c := s.dial()
	cancelled := make(chan error, 1)
	if err := c.Handle(t.Context(), "m", func(ctx context.Context, _ *client.Request) (client.Payload, error) {
		<-ctx.Done()
		cancelled <- context.Cause(ctx)
		return client.Payload{}, nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, err := range c.MulticallStream(t.Context(), "m", client.Text("hi"), client.Timeout(time.Minute)) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if why := <-cancelled; why == nil || errors.Is(why, context.DeadlineExceeded) {
		t.Errorf("the handler ended with %v", why)
	}
}

func TestHandlersErrorsAndPanicsArrive(t *testing.T) {
	s := newSidecar(t, rpctest.Echo)
	c := s.dial()
	for method, h := range map[string]client.Handler{
		"typed": func(context.Context, *client.Request) (client.Payload, error) {
			return client.Payload{}, &client.AppError{Code: "not_found", Message: "no k", Details: client.Text("k")}
		},
		"large": func(context.Context, *client.Request) (client.Payload, error) {
			return client.Bytes(make([]byte, 4<<20+1)), nil
		},
		"plain": func(context.Context, *client.Request) (client.Payload, error) {
			return client.Payload{}, errors.New("broken")
		},
		"panics": func(context.Context, *client.Request) (client.Payload, error) { panic("boom") },
		"quotes": func(context.Context, *client.Request) (client.Payload, error) {
			return client.Payload{}, errors.New("cannot read \xff")
		},
	} {
		if err := c.Handle(t.Context(), method, h); err != nil {
			t.Fatal(err)
		}
	}
	for method, want := range map[string]string{"typed": "not_found: no k", "plain": "error: broken", "panics": "panic: the handler panicked: boom", "quotes": "error: cannot read ?"} {
		v, err := c.Call(t.Context(), "a", method, client.Payload{})
		if err != nil {
			t.Fatal(err)
		}
		if v.Verdict != client.AppErrored || v.Executed != client.Yes || v.Err == nil || v.Err.Error() != want {
			t.Errorf("%s: %+v (%v)", method, v, v.Err)
		}
	}
	if v, err := c.Call(t.Context(), "a", "large", client.Payload{}); err != nil || v.Err == nil || v.Err.Code != "reply_too_large" {
		t.Errorf("a large reply: %+v, %v", v, err)
	}
	if v, err := c.Call(t.Context(), "a", "plain", client.Payload{ContentType: "\xfe"}, client.Metadata("k\xff", "v\xff")); err != nil || v.Err == nil {
		t.Errorf("a call whose strings are no UTF-8: %+v, %v", v, err)
	}
	if v, err := c.Call(t.Context(), "a", "typed", client.Payload{}); err != nil || v.Err.Details.String() != "k" {
		t.Errorf("details: %+v, %v", v, err)
	}
}

func TestAHandlerSlowerThanTheBudgetTimesOut(t *testing.T) {
	s := newSidecar(t, rpctest.Echo)
	c := s.dial()
	asleep := make(chan struct{})
	defer close(asleep)
	if err := c.Handle(t.Context(), "m", func(context.Context, *client.Request) (client.Payload, error) {
		<-asleep
		return client.Payload{}, nil
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	v, err := c.Call(ctx, "a", "m", client.Payload{})
	if err != nil {
		t.Fatal("the deadline took the verdict with it:", err)
	}
	if v.Verdict != client.TimedOut || v.Executed != client.Maybe || v.Stage != client.Started {
		t.Errorf("got %+v", v)
	}
}

// subscribed waits until somebody on node a hears topic t: only then does a confirm.
func subscribed(t *testing.T, c *client.Client) {
	t.Helper()
	for {
		a, err := c.Publish(t.Context(), "t", client.Text("first"), client.ConfirmHandler(), client.To("a"))
		if err != nil {
			t.Fatal(err)
		}
		if a.Verdicts[0].Verdict == client.Delivered {
			return
		}
	}
}

func TestSubscribersHearInOrder(t *testing.T) {
	s := newSidecar(t, rpctest.Echo)
	c := s.dial()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan client.Event, 100)
	var wg sync.WaitGroup
	wg.Go(func() {
		for e, err := range c.Subscribe(ctx, "t") {
			if err != nil {
				t.Error(err)
			}
			got <- e
		}
	})
	subscribed(t, c)
	for _, text := range []string{"1", "2", "3"} {
		if _, err := c.Publish(t.Context(), "t", client.Text(text), client.Metadata("k", text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"first", "1", "2", "3"} {
		if e := <-got; e.Payload.String() != want || e.Origin != "a" || e.Gap != 0 || want != "first" && e.Metadata["k"] != want {
			t.Errorf("got %+v, want %s", e, want)
		}
	}
	cancel()
	wg.Wait()
}

func TestTheClientComesBackAfterItsSidecar(t *testing.T) {
	s := newSidecar(t, rpctest.Echo)
	c := s.dial()
	if err := c.Handle(t.Context(), "m", echo); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	gaps := make(chan client.Event, 10)
	var wg sync.WaitGroup
	wg.Go(func() {
		for e, err := range c.Subscribe(ctx, "t") {
			if err == nil {
				gaps <- e
			}
		}
	})
	subscribed(t, c)
	if e := <-gaps; e.Payload.String() != "first" {
		t.Fatalf("got %+v", e)
	}
	if err := c.Handle(t.Context(), "stuck", func(ctx context.Context, _ *client.Request) (client.Payload, error) {
		s.stop()
		<-ctx.Done()
		return client.Payload{}, nil
	}); err != nil {
		t.Fatal(err)
	}
	_, err := c.Call(t.Context(), "a", "stuck", client.Payload{}, client.Timeout(time.Minute))
	if err == nil {
		t.Error("a call survived its sidecar")
	}
	s.stop() // waits for the one that runs
	s.start()
	for { // registered again, without a word from us
		v, err := c.Call(t.Context(), "a", "m", client.Text("hi"))
		if err == nil && v.Verdict == client.Replied {
			break
		}
		if err == nil && v.Verdict != client.NoHandler {
			t.Fatalf("got %+v", v)
		}
	}
	if e := <-gaps; e.Gap == 0 || !strings.Contains(e.Reason, "lost") {
		t.Errorf("the subscriber was told %+v", e)
	}
	cancel()
	wg.Wait()
}

func TestMembersAreListedWatchedAndAwaited(t *testing.T) {
	s := newSidecar(t, rpctest.Echo)
	c := s.dial()
	list, snap, err := c.Members(t.Context())
	if err != nil || len(list) != 3 || !list[0].Self || list[1].Name != "b" || snap.Size != 3 {
		t.Errorf("%+v, %+v, %v", list, snap, err)
	}
	step := 0
	for u, err := range c.Watch(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if step++; step == 1 {
			if len(u.Snapshot) != 3 {
				t.Errorf("snapshot %+v", u)
			}
			s.mesh.Change(proto.ChangeUp, rpctest.Member(4, "d"))
			continue
		}
		if len(u.Changes) != 1 || u.Changes[0].Event != "up" || u.Changes[0].Member.Name != "d" {
			t.Errorf("changes %+v", u)
		}
		break
	}
	if p, err := c.AwaitPeers(t.Context(), 4); err != nil || !p.Satisfied || p.Alive != 4 {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := c.AwaitPeers(t.Context(), 9, client.Timeout(10*time.Millisecond)); err != nil || p.Satisfied || p.Wanted != 9 {
		t.Errorf("%+v, %v", p, err)
	}
	st, err := c.Status(t.Context())
	if err != nil || st.GetSelf().GetName() != "a" || st.GetAlive() != 4 || !st.GetMajority() {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestDialWaitsForTheSidecarIfAsked(t *testing.T) {
	s := newSidecar(t, rpctest.Echo)
	s.stop()
	if _, err := client.Dial(t.Context(), client.Options{Socket: s.socket}); err == nil || !strings.Contains(err.Error(), s.socket) {
		t.Errorf("got %v", err)
	}
	dialled := make(chan error, 1)
	go func() {
		c, err := client.Dial(t.Context(), client.Options{Socket: s.socket, Wait: true})
		if err == nil {
			err = c.Close()
		}
		dialled <- err
	}()
	s.start()
	if err := <-dialled; err != nil {
		t.Error(err)
	}
}

func TestAClosedClientSaysSo(t *testing.T) {
	s := newSidecar(t, rpctest.Echo)
	c := s.dial()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Multicall(t.Context(), "m", client.Payload{}); !errors.Is(err, client.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestWhoFinishesBeforeClosingLosesNoAnswer(t *testing.T) {
	s := newSidecar(t, rpctest.Echo)
	caller := s.dial()
	for range 50 {
		app := s.dial()
		begun, end := make(chan struct{}), make(chan struct{})
		if err := app.Handle(t.Context(), "m", func(context.Context, *client.Request) (client.Payload, error) {
			close(begun)
			<-end
			return client.Text("done"), nil
		}); err != nil {
			t.Fatal(err)
		}
		called := make(chan client.Verdict, 1)
		go func() {
			v, _ := caller.Call(t.Context(), "a", "m", client.Payload{})
			called <- v.Verdict
		}()
		<-begun
		if err := app.Handle(t.Context(), "m", nil); err != nil {
			t.Fatal(err)
		}
		close(end)
		if err := errors.Join(app.Finish(t.Context()), app.Close()); err != nil {
			t.Fatal(err)
		}
		if v := <-called; v != client.Replied {
			t.Fatalf("the call ended as %v", v)
		}
	}
}
