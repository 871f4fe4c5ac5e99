package kube

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// A wire is a TCP proxy on loopback before the API server. It sees no more than bytes: it counts them, holds them up, and
// breaks.
type wire struct {
	listener net.Listener
	to       string
	carried  atomic.Int64 // bytes from the server

	mu    sync.Mutex
	conns map[net.Conn]*gate // both ends of each
	wg    sync.WaitGroup
}

// A gate lets the bytes of one connection pass unless its mutex is held.
type gate struct{ sync.Mutex }

func newWire(t *testing.T) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: listener, to: control.Address(), conns: map[net.Conn]*gate{}}
	w.wg.Go(w.accept)
	t.Cleanup(w.close)
	return w
}

func (w *wire) url() string { return "https://" + w.listener.Addr().String() }

func (w *wire) close() {
	_ = w.listener.Close()
	w.cut()
	w.wg.Wait()
}

func (w *wire) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return // closed
		}
		far, err := net.Dial("tcp", w.to)
		if err != nil {
			_ = near.Close() // the API server is away: so is this
			continue
		}
		g := &gate{}
		w.mu.Lock()
		w.conns[near], w.conns[far] = g, g
		w.mu.Unlock()
		w.wg.Go(func() { w.carry(far, near, g, nil) })
		w.wg.Go(func() { w.carry(near, far, g, &w.carried) })
	}
}

func (w *wire) carry(to, from net.Conn, g *gate, count *atomic.Int64) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			g.Lock()
			_, writeErr := to.Write(buf[:n])
			g.Unlock()
			if count != nil {
				count.Add(int64(n))
			}
			if err == nil {
				err = writeErr
			}
		}
		if err != nil {
			break
		}
	}
	_ = to.Close()
	_ = from.Close()
	w.mu.Lock()
	delete(w.conns, to)
	delete(w.conns, from)
	w.mu.Unlock()
}

// stall holds up all bytes of the connections there are now. They stay open; new ones work.
func (w *wire) stall() (release func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	held := map[*gate]bool{}
	for _, g := range w.conns {
		if !held[g] {
			held[g] = true
			g.Lock()
		}
	}
	return sync.OnceFunc(func() {
		for g := range held {
			g.Unlock()
		}
	})
}

// cut breaks all connections there are now, and says how many.
func (w *wire) cut() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		_ = c.Close()
	}
	return len(w.conns) / 2
}
