package client

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/starlingmesh/starling/overlay/sock"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// Client is a connection to the sidecar. It is safe for concurrent use.
type Client struct {
	opts    Options
	socket  string
	log     *slog.Logger
	conn    *grpc.ClientConn
	members starlingv1.MembershipServiceClient
	stop    context.CancelFunc
	done    context.Context // ends with Close
	wg      sync.WaitGroup  // the session's loop and running handlers
	workers *workers

	mu       sync.Mutex // guards the rest; never held while calling out
	session  *session   // nil while disconnected
	changed  chan struct{}
	node     Node
	handlers map[string]Handler
	ending   map[string]bool // of the handlers, those that are told to the sidecar no more
	groups   map[string]bool
	subs     map[string][]*subscription // by topic
	lastID   uint64
}

// Dial connects to the sidecar. It returns when the session stands, or with an
// error that tells each socket that was tried. ctx bounds the dialling only;
// without a deadline it is given 5 s (not so with Options.Wait).
func Dial(ctx context.Context, opts Options) (*Client, error) {
	if _, ok := ctx.Deadline(); !ok && !opts.Wait {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultTimeout)
		defer cancel()
	}
	if opts.Application == "" {
		opts.Application = filepath.Base(os.Args[0])
	}
	if opts.Handlers <= 0 {
		opts.Handlers = 64
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	socket, err := findOrWait(ctx, opts)
	if err != nil {
		return nil, err
	}
	conn, err := Connect(socket)
	if err != nil {
		return nil, err
	}
	c := &Client{
		opts: opts, socket: socket, log: opts.Log, conn: conn,
		members:  starlingv1.NewMembershipServiceClient(conn),
		changed:  make(chan struct{}),
		handlers: map[string]Handler{}, ending: map[string]bool{}, groups: map[string]bool{}, subs: map[string][]*subscription{},
	}
	c.done, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	c.workers = newWorkers(&c.wg, c.done.Done())
	s, err := c.open(ctx)
	for err != nil && opts.Wait && isUnavailable(err) && pause(ctx) {
		s, err = c.open(ctx) // the sidecar went away again, or was too busy starting to answer in time
	}
	if err != nil {
		c.stop()
		_ = conn.Close() // the first error is the one that matters
		return nil, fmt.Errorf("open a session with the sidecar at %s: %w", socket, err)
	}
	c.wg.Go(func() { c.run(s) })
	return c, nil
}

// findOrWait tries again every 100 ms if Dial is to wait.
func findOrWait(ctx context.Context, opts Options) (string, error) {
	for {
		socket, err := FindSocket(ctx, opts.Socket)
		if err == nil || !opts.Wait {
			return socket, err
		}
		if !pause(ctx) {
			return "", err
		}
	}
}

// pause lets some time pass before the next attempt; false when ctx has ended.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(100 * time.Millisecond):
		return true
	}
}

// Connect is a plain gRPC connection to a unix socket, for those who want the
// generated stubs themselves, such as the admin service on its own socket. It
// dials when first used, and again when it breaks.
func Connect(socket string) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///localhost",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the socket's file mode is what guards it
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			c, err := dialUnix(ctx, socket)
			if err != nil {
				return nil, err
			}
			return sock.New(c), nil
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)), // the sidecar's bounds are nearer
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: defaultTimeout, // a sidecar accepts before it serves; a busy machine may lie between
		}),
		grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(4<<20))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", socket, err)
	}
	return conn, nil
}

// Node tells where this application is.
func (c *Client) Node() Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.node
}

// Socket is the path of the sidecar's socket.
func (c *Client) Socket() string { return c.socket }

// Close ends the session. Requests that handlers still have become
// handler_gone at their callers; Close cancels the handlers and waits for them.
func (c *Client) Close() error {
	c.stop()
	c.wg.Wait()
	if err := c.conn.Close(); err != nil {
		return fmt.Errorf("close the connection to %s: %w", c.socket, err)
	}
	return nil
}
