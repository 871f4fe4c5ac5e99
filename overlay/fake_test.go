package overlay

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/starlingmesh/starling/overlay/core"
	"github.com/starlingmesh/starling/overlay/keys"
	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeCore records what the loop gives it, and wants what a test tells it.
type fakeCore struct {
	mu     sync.Mutex
	heard  []proto.Input
	news   chan struct{} // closed and replaced when something is heard
	answer func(in proto.Input) []proto.Output
	at     time.Time
}

func newFakeCore() *fakeCore { return &fakeCore{news: make(chan struct{})} }

func (c *fakeCore) Step(_ time.Time, in proto.Input) []proto.Output {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = append(c.heard, in)
	close(c.news)
	c.news = make(chan struct{})
	if w, ok := in.(want); ok {
		return w.outs
	}
	if _, ok := in.(proto.Wake); ok {
		c.at = time.Time{}
	}
	if c.answer != nil {
		return c.answer(in)
	}
	return nil
}

func (c *fakeCore) Deadline() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (*fakeCore) Roster() *proto.Roster { return &proto.Roster{} }
func (*fakeCore) Stats() core.Stats     { return core.Stats{} }

// want is an input that makes the fake core want something. It borrows the
// method of an input that the tests do not use.
type want struct {
	proto.Contacts
	outs []proto.Output
}

// upper takes what is told to the layer above.
type upper struct {
	mu   sync.Mutex
	told []proto.Output
	do   func(out proto.Output)
}

func (u *upper) Handle(out proto.Output) {
	u.mu.Lock()
	u.told = append(u.told, out)
	u.mu.Unlock()
	if u.do != nil {
		u.do(out)
	}
}

// node is an overlay that runs, on a fake core.
type node struct {
	*Overlay
	t     *testing.T
	fake  *fakeCore
	upper *upper
	stop  func() error // ends Run and tells how it ended
	fatal bool         // an error of Run is expected
}

var testKey = keys.New()

func testConfig(t testing.TB, name string) Config {
	t.Helper()
	cfg := Default()
	cfg.Cluster, cfg.Name, cfg.Listen, cfg.Faults = "test", name, "127.0.0.1:0", true
	cfg.Limits.Handshake = 2 * time.Second
	var err error
	if cfg.Keys, err = keys.FromKeys(cfg.Cluster, testKey); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func newNode(t *testing.T, name string, change ...func(*Config)) *node {
	t.Helper()
	return newLoggedNode(t, name, slog.New(slog.DiscardHandler), change...)
}

func newLoggedNode(t *testing.T, name string, log *slog.Logger, change ...func(*Config)) *node {
	t.Helper()
	cfg := testConfig(t, name)
	for _, c := range change {
		c(&cfg)
	}
	o, err := New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Overlay: o, t: t, fake: newFakeCore(), upper: &upper{}}
	o.core = n.fake
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx, n.upper) }()
	n.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := n.stop(); err != nil && !n.fatal {
			t.Errorf("run ended: %v", err)
		}
	})
	return n
}

// wants makes the core want something.
func (n *node) wants(outs ...proto.Output) { n.inbox.post(want{outs: outs}) }

// await waits until an input came that ok agrees with, and returns it.
func await[T proto.Input](n *node, ok func(T) bool) T {
	n.t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		n.fake.mu.Lock()
		news := n.fake.news
		for _, in := range n.fake.heard {
			if in, is := in.(T); is && (ok == nil || ok(in)) {
				n.fake.mu.Unlock()
				return in
			}
		}
		n.fake.mu.Unlock()
		select {
		case <-news:
		case <-timeout:
			var none T
			n.t.Fatalf("%s: no %T came; heard %v", n.cfg.Name, none, n.heard())
		}
	}
}

func (n *node) heard() []proto.Input {
	n.fake.mu.Lock()
	defer n.fake.mu.Unlock()
	return slices.Clone(n.fake.heard)
}

// dial lets the node dial and returns what came of it.
func (n *node) dials(kind proto.LinkKind, expect peer.ID, addrs ...string) (up proto.LinkUp, failed proto.DialFailed) {
	n.t.Helper()
	tag := proto.DialTag(proto.OwnerViews, uint64(time.Now().UnixNano())&(1<<56-1))
	n.wants(proto.Dial{Tag: tag, Owner: proto.OwnerViews, Kind: kind, Addrs: addrs, Expect: expect, Timeout: time.Second})
	in := await(n, func(in proto.Input) bool {
		switch in := in.(type) {
		case proto.LinkUp:
			return in.Tag == tag
		case proto.DialFailed:
			return in.Tag == tag
		default:
			return false
		}
	})
	up, _ = in.(proto.LinkUp)
	failed, _ = in.(proto.DialFailed)
	return up, failed
}

// linkTo makes a link and returns it as both ends know it.
func (n *node) linkTo(other *node) (ours, theirs proto.LinkUp) {
	n.t.Helper()
	ours, failed := n.dials(proto.LinkOverlay, other.me.ID, other.Addr().String())
	if ours.Link == 0 {
		n.t.Fatalf("no link: %v", failed.Why)
	}
	l := n.table.get(ours.Link)
	theirs = await(other, func(up proto.LinkUp) bool { return up.Link == l.Theirs })
	return ours, theirs
}

func awaitDown(n *node, link proto.LinkID) proto.DownWhy {
	n.t.Helper()
	return await(n, func(d proto.LinkDown) bool { return d.Link == link }).Why
}

func awaitRefused(n *node, why string, count uint64) {
	n.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for n.Stats().Refused[why] < count {
		if time.Now().After(deadline) {
			n.t.Fatalf("refused %v, want %s %d times", n.Stats().Refused, why, count)
		}
		<-time.After(time.Millisecond)
	}
}

// raw opens a plain connection to a node.
func raw(t *testing.T, n *node) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", n.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// speaking is how many visitors have begun a handshake.
func (g *gate) speaking() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open - g.silent.Len()
}
