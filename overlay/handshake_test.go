package overlay

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/keys"
	"github.com/starlingmesh/starling/overlay/link"
	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/wire"
)

func TestTwoNodesMakeALinkAndKnowEachOther(t *testing.T) {
	a, b := newNode(t, "a"), newNode(t, "b")
	ours, theirs := a.linkTo(b)
	if ours.Peer.ID != b.me.ID || ours.Peer.Name != "b" || !ours.Dialed || ours.Kind != proto.LinkOverlay {
		t.Errorf("a sees %+v", ours)
	}
	if theirs.Peer.ID != a.me.ID || theirs.Peer.Name != "a" || theirs.Dialed || theirs.Tag != 0 || theirs.Peer.Addrs[0] != a.Addr().String() {
		t.Errorf("b sees %+v", theirs)
	}
	a.wants(proto.Send{Link: ours.Link, Msg: proto.Prune{Stream: 7}}, proto.Hangup{Link: ours.Link, Why: "test", Flush: true})
	if got := await[proto.Received](b, nil); got.Link != theirs.Link || got.Msg != (proto.Prune{Stream: 7}) {
		t.Errorf("b received %+v", got)
	}
	if why := awaitDown(a, ours.Link); why != proto.DownHungUp {
		t.Errorf("at a it ended as %v", why)
	}
	if why := awaitDown(b, theirs.Link); why != proto.DownClosed {
		t.Errorf("at b it ended as %v", why)
	}
	if s := b.Stats(); s.FramesIn["prune"] != 1 || s.BytesIn == 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestAHangupAtOnceIsAReset(t *testing.T) {
	a, b := newNode(t, "a"), newNode(t, "b")
	ours, theirs := a.linkTo(b)
	a.wants(proto.Hangup{Link: ours.Link, Why: "silent"})
	if us, them := awaitDown(a, ours.Link), awaitDown(b, theirs.Link); us != proto.DownHungUp || them != proto.DownReset {
		t.Errorf("ended as %v and %v", us, them)
	}
}

// stranger answers or dials with parts of a node of its own.
func TestADialThatFailsSaysWhyAndTheOtherSideCountsIt(t *testing.T) {
	elsewhere, err := keys.FromKeys("elsewhere", testKey)
	if err != nil {
		t.Fatal(err)
	}
	otherKey, err := keys.FromKeys("test", keys.New())
	if err != nil {
		t.Fatal(err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0") // accepts by the kernel, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	b := newNode(t, "b")
	for name, test := range map[string]struct {
		change  func(*Config)
		addr    string
		expect  peer.ID
		why     proto.DialWhy
		refused string // counted by b
	}{
		"a wrong key":                    {change: func(c *Config) { c.Keys = otherKey }, why: proto.DialTLS, refused: "tls"},
		"a key of another cluster":       {change: func(c *Config) { c.Keys, c.Cluster = elsewhere, "elsewhere" }, why: proto.DialTLS, refused: "tls"},
		"another cluster ID":             {change: func(c *Config) { c.Cluster = "other" }, why: proto.DialCluster, refused: "cluster"},
		"another node than was meant":    {expect: peer.ID{1}, why: proto.DialOtherNode},
		"nobody there":                   {addr: closed.Addr().String(), why: proto.DialRefused},
		"somebody who says nothing":      {addr: mute.Addr().String(), why: proto.DialTimeout},
		"an address that makes no sense": {addr: "256.256.256.256:1", why: proto.DialNetwork},
	} {
		t.Run(name, func(t *testing.T) {
			a := newNode(t, "a", func(c *Config) {
				if test.change != nil {
					test.change(c)
				}
			})
			addr := test.addr
			if addr == "" {
				addr = b.Addr().String()
			}
			before := b.Stats().Refused[test.refused]
			_, failed := a.dials(proto.LinkOverlay, test.expect, addr)
			if failed.Why != test.why || failed.Addr != addr {
				t.Errorf("failed as %v at %q, want %v", failed.Why, failed.Addr, test.why)
			}
			if test.expect != (peer.ID{}) && failed.Peer != b.me.ID {
				t.Errorf("%v answered", failed.Peer)
			}
			if test.refused != "" {
				awaitRefused(b, test.refused, before+1)
			}
		})
	}
	for _, in := range b.heard() {
		if up, ok := in.(proto.LinkUp); ok && up.Peer.Name != "a" {
			t.Errorf("b heard of %+v", up)
		}
	}
}

// overdue is a context whose time is over: the first who waits for it has been
// told, the others, and the sockets, not yet.
type overdue struct {
	context.Context
	done chan struct{}
	told bool
}

func (o *overdue) Deadline() (time.Time, bool) { return time.Time{}, false }
func (o *overdue) Done() <-chan struct{}       { return o.done }
func (o *overdue) Err() error                  { return context.DeadlineExceeded }

func (o *overdue) AfterFunc(f func()) (stop func() bool) {
	if o.told {
		return func() bool { return true }
	}
	o.told = true
	go f()
	return func() bool { return false }
}

func TestAHandshakeThatStallsIsATimeoutWhoeverNoticesFirst(t *testing.T) {
	n := newNode(t, "n")
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	c, err := net.Dial("tcp", mute.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	below := n.below(c.(*net.TCPConn))
	_, err = n.greet(&overdue{Context: t.Context(), done: make(chan struct{})}, below, role{dialled: true})
	if r, ok := errors.AsType[*refusal](err); !ok || r.why != whyTimeout {
		t.Errorf("ended as %v", err)
	}
}

func TestANodeRecognisesItself(t *testing.T) {
	a := newNode(t, "a")
	if _, failed := a.dials(proto.LinkOverlay, peer.ID{}, a.Addr().String()); failed.Why != proto.DialSelf {
		t.Errorf("failed as %v", failed.Why)
	}
	awaitRefused(a, "self", 1)
}

func TestADialTriesAddressesInOrderAndOneSilentOneTakesHardEvidenceAway(t *testing.T) {
	a, b := newNode(t, "a"), newNode(t, "b")
	closed, _ := net.Listen("tcp", "127.0.0.1:0")
	_ = closed.Close()
	mute, _ := net.Listen("tcp", "127.0.0.1:0")
	defer mute.Close()
	up, failed := a.dials(proto.LinkProbe, b.me.ID, closed.Addr().String(), b.Addr().String())
	if up.Link == 0 || up.Addr != b.Addr().String() || up.Kind != proto.LinkProbe {
		t.Errorf("no link by the second address: %+v %+v", up, failed)
	}
	if _, failed := a.dials(proto.LinkProbe, b.me.ID, mute.Addr().String(), closed.Addr().String()); failed.Why != proto.DialTimeout {
		t.Errorf("failed as %v: one address was only silent", failed.Why)
	}
	if _, failed := a.dials(proto.LinkProbe, b.me.ID); failed.Why != proto.DialNoAddress {
		t.Errorf("without an address it failed as %v", failed.Why)
	}
}

// A pretender is a member that shows a Hello of its own making.
func pretend(t *testing.T, n *node, change func(h *proto.Hello, state *tls.ConnectionState, me *keys.Node)) (net.Conn, error) {
	t.Helper()
	below := raw(t, n)
	c := tls.Client(below, keys.TLS(n.keys, false))
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	me, err := keys.NewNode()
	if err != nil {
		t.Fatal(err)
	}
	state := c.ConnectionState()
	proof, err := me.Proof(&state, true)
	if err != nil {
		t.Fatal(err)
	}
	h := proto.Hello{
		VersionMin: wire.VersionMin, VersionMax: wire.VersionMax, Kind: proto.LinkOverlay, Cluster: "test",
		Self: proto.PeerInfo{ID: me.ID, Name: "pretender"}, Lane: 1, Key: me.Public, Proof: proof,
	}
	change(&h, &state, me)
	if err := link.WriteFrame(c, wire.AppendHello(nil, h)); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	frame, err := link.NewFrames(c).Next()
	if err != nil {
		return nil, err
	}
	_, err = wire.ParseHello(frame)
	return below, err
}

func honest(*proto.Hello, *tls.ConnectionState, *keys.Node) {}

func TestAMemberCannotClaimWhatItIsNot(t *testing.T) {
	n := newNode(t, "n")
	victim, err := keys.NewNode()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		refused string
		change  func(h *proto.Hello, state *tls.ConnectionState, me *keys.Node)
	}{
		"another's ID": {"proof", func(h *proto.Hello, _ *tls.ConnectionState, _ *keys.Node) { h.Self.ID = victim.ID }},
		"another's ID and key": {"proof", func(h *proto.Hello, _ *tls.ConnectionState, _ *keys.Node) {
			h.Self.ID, h.Key = victim.ID, victim.Public
		}},
		"a proof of the other side":       {"proof", func(h *proto.Hello, s *tls.ConnectionState, me *keys.Node) { h.Proof, _ = me.Proof(s, false) }},
		"no proof":                        {"proof", func(h *proto.Hello, _ *tls.ConnectionState, _ *keys.Node) { h.Proof, h.Key = nil, nil }},
		"a version of the future":         {"version", func(h *proto.Hello, _ *tls.ConnectionState, _ *keys.Node) { h.VersionMin, h.VersionMax = 900, 901 }},
		"a cluster that only looks alike": {"cluster", func(h *proto.Hello, _ *tls.ConnectionState, _ *keys.Node) { h.Cluster = "test " }},
		"no name":                         {"garbage", func(h *proto.Hello, _ *tls.ConnectionState, _ *keys.Node) { h.Self.Name = "" }},
		"a lane of no link":               {"lane", func(h *proto.Hello, _ *tls.ConnectionState, _ *keys.Node) { h.Kind = proto.LinkLane }},
	} {
		before := n.Stats().Refused[test.refused]
		_, err := pretend(t, n, test.change)
		var said *wire.Refusal
		if err == nil || !errors.As(err, &said) {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
		awaitRefused(n, test.refused, before+1)
	}
	if _, err := pretend(t, n, honest); err != nil {
		t.Errorf("an honest hello: %v", err)
	}
	if ups := await[proto.LinkUp](n, nil); ups.Peer.Name != "pretender" {
		t.Errorf("link %+v", ups)
	}
}

// The kernel of a killed process ends its connections in good order, by TCP's
// lights: without TLS's goodbye it is broken all the same.
func TestAPeerThatEndsWithoutAGoodbyeIsBroken(t *testing.T) {
	n := newNode(t, "n")
	c, err := pretend(t, n, honest)
	if err != nil {
		t.Fatal(err)
	}
	up := await[proto.LinkUp](n, nil)
	_ = c.Close()
	if why := awaitDown(n, up.Link); why != proto.DownReset {
		t.Errorf("ended as %v", why)
	}
}

// Whatever comes in over the port ends with a counted reason, and nobody else notices.
func TestHostileConnectionsAreRefusedAndCounted(t *testing.T) {
	a, b := newNode(t, "a"), newNode(t, "b", func(c *Config) { c.Limits.Handshake = 300 * time.Millisecond })
	ours, _ := a.linkTo(b)
	ended := func(c net.Conn) {
		t.Helper()
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.ReadAll(c); errors.Is(err, context.DeadlineExceeded) {
			t.Error("the connection was not closed")
		}
	}
	plain := raw(t, b)
	_, _ = io.WriteString(plain, "GET / HTTP/1.1\r\n\r\n")
	ended(plain)
	awaitRefused(b, "plaintext", 1)

	gone := raw(t, b)
	_ = gone.Close()
	awaitRefused(b, "closed", 1)

	silent := raw(t, b)
	ended(silent)
	awaitRefused(b, "silent", 1)

	slow := raw(t, b)
	_, _ = slow.Write([]byte{0x16, 3, 1, 0, 200, 1})
	ended(slow)
	awaitRefused(b, "timeout", 1)

	broken := raw(t, b)
	_, _ = broken.Write([]byte{0x16, 3, 1, 0, 5, 1, 1, 1, 1, 1})
	ended(broken)
	awaitRefused(b, "tls", 1)

	for name, frame := range map[string][]byte{
		"oversized": {0, 0x20, 0, 1}, // of 8 KiB, before the hello
		"no hello":  {0, 0, 1, 24},
	} {
		before := b.Stats().Refused["garbage"]
		c := tls.Client(raw(t, b), keys.TLS(b.keys, false))
		_, _ = c.Write(frame)
		ended(c)
		t.Log(name)
		awaitRefused(b, "garbage", before+1)
	}
	a.wants(proto.Send{Link: ours.Link, Msg: proto.Prune{Stream: 9}})
	await(b, func(r proto.Received) bool { return r.Msg == proto.Message(proto.Prune{Stream: 9}) })
	if n := len(b.table.all()); n != 1 {
		t.Errorf("%d links at b", n)
	}
}

func TestAMemberThatTalksNonsenseLosesItsLinkOnly(t *testing.T) {
	a, b := newNode(t, "a"), newNode(t, "b")
	ours, theirs := a.linkTo(b)
	c := newNode(t, "c")
	_, fromC := c.linkTo(b)
	l := a.table.get(ours.Link)
	l.Send(proto.Prune{}, []byte{7, 1, 2}) // a frame of no known type
	l.Flush()
	if why := awaitDown(b, theirs.Link); why != proto.DownGarbage {
		t.Errorf("ended as %v", why)
	}
	if b.Stats().Unread["unknown_type"] != 1 {
		t.Errorf("counted as %v", b.Stats().Unread)
	}
	if b.table.get(fromC.Link) == nil {
		t.Error("another's link is gone too")
	}
}

func TestTooManyLinksAreRefusedAndTold(t *testing.T) {
	b := newNode(t, "b", func(c *Config) { c.Limits.Links = 1 })
	a, c := newNode(t, "a"), newNode(t, "c")
	a.linkTo(b)
	if _, failed := c.dials(proto.LinkOverlay, b.me.ID, b.Addr().String()); failed.Why != proto.DialNetwork {
		t.Errorf("failed as %v", failed.Why)
	}
	awaitRefused(b, "links", 1)
}
