package local

import (
	"context"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"pgregory.net/rapid"

	"github.com/starlingmesh/starling/rpc"
	"github.com/starlingmesh/starling/rpc/direct"
	"github.com/starlingmesh/starling/rpc/rpctest"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// town is the local API of one sidecar in a bubble, with applications that come, ask, serve, dawdle, babble and go. All is
// real but the socket, which is a pipe, and the overlay.
type town struct {
	rt      *rapid.T
	mesh    *rpctest.Mesh
	svc     *rpc.Service
	api     *api
	ln      *queue
	stop    func()
	witness *person // asks for a ping after every step
	people  []*person
	ever    []*person
	asked   map[string]*asked // by what they carry
	sent    uint64            // of the topic
}

const (
	townQueue  = 16 << 10 // bytes of requests, and of events, that may wait for one application
	townAnswer = 32 << 10 // and of answers
	townCalls  = 10       // that one application may have open
)

func newTown(t *testing.T, rt *rapid.T) *town {
	t.Helper()
	w := &town{rt: rt, mesh: rpctest.New(echoOrSilence, "a", "b", "c"), asked: map[string]*asked{}}
	cfg := rpc.Defaults()
	cfg.MessageMax, cfg.QueueBytes, cfg.EventBytes, cfg.AnswerBytes = townQueue, townQueue, townQueue, townAnswer
	cfg.AppCallsMax = townCalls
	log := slog.New(slog.DiscardHandler)
	svc, err := rpc.New(w.mesh, cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	w.svc, w.ln = svc, newQueue(&net.UnixAddr{Name: "pipe"})
	a, srv := newAPI(svc, log), newGRPC(cfg.MessageMax)
	starlingv1.RegisterRpcServiceServer(srv, &grpcAPI{api: a})
	w.api = a
	ctx, cancel := context.WithCancel(rt.Context())
	var wg sync.WaitGroup
	wg.Go(func() { w.mesh.Run(ctx, svc) })
	wg.Go(func() { _ = srv.Serve(w.ln) })
	w.stop = func() {
		for _, p := range w.ever { // also those of whom a failed check has left something
			p.dawdle(false)
			_ = p.conn.Close()
		}
		svc.Close()
		a.close()
		srv.Stop()
		a.wg.Wait()
		cancel()
		wg.Wait()
	}
	w.witness = w.connect()
	return w
}

// person is one application's connection, without an SDK.
type person struct {
	number int
	conn   io.Closer
	stream appStream
	credit int

	mu     sync.Mutex
	gate   chan struct{} // not nil: it does not read on until this is closed
	frames []*starlingv1.ServerFrame
	err    error // its stream has ended

	// what the test knows of it
	babbled bool            // its session is to be ended
	dawdled bool            // it did not read for some time: its session may be ended
	greedy  bool            // it asked for more at once than may wait: its session may be ended
	gone    bool            // it has ended it itself
	ever    map[string]bool // methods that it has served
	working map[uint64]*asked
	handed  uint64   // the latest of them
	done    []uint64 // requests that it has answered
	calls   map[uint64]*asked
	lastID  uint64
	since   uint64 // it subscribed after so many messages
	heard   uint64 // messages that came, and that it was told are missing
	lastMsg uint64
}

// connect begins a session; everything that can be known at once is.
func (w *town) connect() *person {
	n := len(w.ever)
	p := &person{number: n, ever: map[string]bool{}, working: map[uint64]*asked{}, calls: map[uint64]*asked{}, credit: 1 + n%3}
	w.ever = append(w.ever, p)
	if n%2 == 0 {
		w.connectGRPC(p)
	} else {
		w.connectDirect(p)
	}
	p.send(&starlingv1.ClientFrame{Frame: &starlingv1.ClientFrame_Hello{Hello: &starlingv1.Hello{Requests: uint32(p.credit), EventBytes: townQueue / 2}}})
	go p.read()
	synctest.Wait()
	if f := p.take(); len(f) != 1 || f[0].GetWelcome() == nil {
		w.rt.Fatalf("instead of a welcome: %v, %v", f, p.err)
	}
	return p
}

func (w *town) connectGRPC(p *person) {
	conn, err := grpc.NewClient("passthrough:///town", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			here, there := net.Pipe()
			w.ln.put(ctx, &conn{Conn: there, free: func() {}})
			return here, nil
		}))
	if err != nil {
		w.rt.Fatal(err)
	}
	p.conn = conn
	if p.stream, err = starlingv1.NewRpcServiceClient(conn).Session(context.Background()); err != nil {
		w.rt.Fatal(err)
	}
}

// connectDirect begins a session without gRPC, from behind its Upgrade.
func (w *town) connectDirect(p *person) {
	here, there := net.Pipe()
	own := &conn{Conn: there, free: func() {}}
	theirs := direct.New(own, 1<<20)
	w.api.wg.Go(func() {
		w.api.serveDirect(directStream{theirs, context.WithValue(context.Background(), connKey{}, own)})
	})
	p.conn, p.stream = here, &directApp{Conn: direct.New(here, 1<<20)}
}

func (p *person) read() {
	for {
		m, err := p.stream.Recv()
		p.mu.Lock()
		p.frames, p.err = append(p.frames, m.GetFrames()...), err
		gate := p.gate
		p.mu.Unlock()
		if err != nil {
			return
		}
		if gate != nil {
			<-gate
		}
	}
}

// send sends one message; a session that has ended takes none, and its reader learns why.
func (p *person) send(frames ...*starlingv1.ClientFrame) {
	_ = p.stream.Send(&starlingv1.SessionRequest{Frames: frames})
}

// take is what it has read, unless it dawdles.
func (p *person) take() []*starlingv1.ServerFrame {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gate != nil {
		return nil
	}
	frames := p.frames
	p.frames = nil
	return frames
}

func (p *person) dawdles() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gate != nil
}

// dawdle stops reading, or reads on.
func (p *person) dawdle(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.gate == nil:
		p.gate, p.dawdled = make(chan struct{}), true
	case !on && p.gate != nil:
		close(p.gate)
		p.gate = nil
	}
}

// hangUp ends the session: politely, or as a process that dies.
func (w *town) hangUp(p *person, politely bool) {
	p.gone = true
	if politely {
		_ = p.stream.CloseSend()
	} else {
		_ = p.conn.Close()
	}
	p.dawdle(false)
	w.people = slices.DeleteFunc(w.people, func(o *person) bool { return o == p })
	synctest.Wait()
	_ = p.conn.Close()
	for _, a := range p.calls {
		a.orphan = true
	}
	for _, a := range p.working {
		a.left = true
	}
}
