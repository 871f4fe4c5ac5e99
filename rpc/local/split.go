package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"os"

	"github.com/starlingmesh/starling/overlay/sock"
)

// sniffTime is how long a new connection may take to say what it speaks.
const sniffTime = 10 * time.Second

// acceptPauseMin is the first pause when nothing can be accepted; each is twice
// the one before, up to a second.
const acceptPauseMin = 5 * time.Millisecond

// conn is an accepted connection: who it is, and the bytes read to tell what it
// speaks.
type conn struct {
	net.Conn
	head []byte
	cred Cred
	deny string // why it may call nothing; empty: it may
	once sync.Once
	free func()
}

func (c *conn) Read(p []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

func (c *conn) Close() error {
	c.once.Do(c.free)
	return c.Conn.Close()
}

// splitter accepts connections and hands those that begin with HTTP/2's preface
// (RFC 9113, 3.4) to gRPC, the others to HTTP/1.1.
type splitter struct {
	ln    *socketFile
	sock  *Socket
	log   *slog.Logger
	grpc  *queue
	http  *queue
	slots chan struct{} // one for each open connection
	count func(why string)
	wg    sync.WaitGroup
}

func newSplitter(ln *socketFile, sock *Socket, connections int, log *slog.Logger, count func(string)) *splitter {
	return &splitter{
		ln: ln, sock: sock, log: log, grpc: newQueue(ln.Addr()), http: newQueue(ln.Addr()),
		slots: make(chan struct{}, connections), count: count,
	}
}

// run accepts until ctx ends.
func (s *splitter) run(ctx context.Context) error {
	defer s.wg.Wait()
	stop := context.AfterFunc(ctx, func() { _ = s.ln.Close() })
	defer stop()
	wait := acceptPauseMin
	for {
		c, err := s.ln.AcceptUnix()
		switch {
		case err == nil:
			wait = acceptPauseMin
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept on %s: %w", s.sock.Path, err)
		default: // out of descriptors, mostly: it passes, and spinning does not help
			s.count("accept_failed")
			if wait == acceptPauseMin { // once, not once a try
				s.log.Warn("cannot accept applications; trying again", "addr", s.sock.Path, "err", err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(wait):
			}
			wait = min(2*wait, time.Second)
			continue
		}
		select {
		case s.slots <- struct{}{}:
		default:
			s.count("too_many_connections")
			_ = c.Close()
			continue
		}
		s.wg.Go(func() { s.sniff(ctx, c) })
	}
}

// sniff reads as little as tells what is spoken. No HTTP/1.1 method begins with
// the preface's "PRI ".
func (s *splitter) sniff(ctx context.Context, raw *net.UnixConn) {
	c := &conn{Conn: sock.New(raw), free: func() { <-s.slots }}
	c.cred, _ = peerCred(raw)
	c.deny = s.denied(c.cred)
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	_ = raw.SetReadDeadline(time.Now().Add(sniffTime))
	head := make([]byte, 4)
	for n := 0; n < len(head); {
		m, err := raw.Read(head[n:])
		if n += m; err != nil {
			if n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
				s.count("silent_connection")
			}
			_ = c.Close()
			return
		}
	}
	_ = raw.SetReadDeadline(time.Time{})
	c.head = head
	to := s.http
	if string(head) == "PRI " {
		to = s.grpc
	}
	if !to.put(ctx, c) {
		_ = c.Close()
	}
}

// denied tells why this user may not call.
func (s *splitter) denied(c Cred) string {
	if len(s.sock.AllowedUIDs)+len(s.sock.AllowedGIDs) == 0 || c.Known && int(c.UID) == os.Getuid() {
		return ""
	}
	if !c.Known {
		return "this system does not tell who connects, and the socket has a list of who may"
	}
	if slices.Contains(s.sock.AllowedUIDs, c.UID) || slices.Contains(s.sock.AllowedGIDs, c.GID) {
		return ""
	}
	return fmt.Sprintf("uid %d, gid %d may not use %s: see api.allowed_uids and api.allowed_gids", c.UID, c.GID, s.sock.Path)
}

// queue is a listener that is fed with connections.
type queue struct {
	addr  net.Addr
	conns chan *conn
	done  chan struct{}
	once  sync.Once
}

func newQueue(addr net.Addr) *queue {
	return &queue{addr: addr, conns: make(chan *conn), done: make(chan struct{})}
}

func (q *queue) put(ctx context.Context, c *conn) bool {
	select {
	case q.conns <- c:
		return true
	case <-q.done:
	case <-ctx.Done():
	}
	return false
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

func (q *queue) Addr() net.Addr { return q.addr }
