package overlay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

func TestInputsReachTheCoreInOrderAndOutputsTheLayerAbove(t *testing.T) {
	n := newNode(t, "n")
	dispatch := proto.Dispatch{ID: proto.CallID{Caller: peer.ID{1}, Seq: 1}}
	n.upper.do = func(out proto.Output) { // an answer from within Handle
		if d, ok := out.(proto.Dispatch); ok {
			n.Submit(proto.LocalResult{ID: d.ID})
		}
	}
	n.Submit(proto.CancelCall{Ref: 1})
	n.Submit(proto.CancelCall{Ref: 2})
	n.wants(dispatch, proto.CallDone{Ref: 3})
	n.Submit(proto.CancelCall{Ref: 3})
	await(n, func(r proto.LocalResult) bool { return r.ID == dispatch.ID })
	var refs []uint64
	for _, in := range n.heard() {
		if c, ok := in.(proto.CancelCall); ok {
			refs = append(refs, c.Ref)
		}
	}
	if fmt.Sprint(refs) != "[1 2 3]" || len(n.upper.told) != 2 {
		t.Errorf("the core heard %v, the layer above %v", refs, n.upper.told)
	}
	if err := n.Healthy(); err != nil {
		t.Error(err)
	}
}

func TestTheCoreIsWokenAtItsDeadline(t *testing.T) {
	n := newNode(t, "n")
	start := time.Now()
	n.fake.mu.Lock()
	n.fake.at = start.Add(50 * time.Millisecond)
	n.fake.mu.Unlock()
	n.Submit(proto.CancelCall{Ref: 1})
	await[proto.Wake](n, nil)
	if early := 50*time.Millisecond - time.Since(start); early > 0 {
		t.Errorf("woken %v too early", early)
	}
}

func TestFatalEndsTheNode(t *testing.T) {
	n := newNode(t, "n")
	n.fatal = true
	n.wants(proto.Fatal{Why: "name in use"})
	<-n.gone
	err := n.stop()
	if err == nil || !strings.Contains(err.Error(), "name in use") {
		t.Errorf("run ended as %v", err)
	}
}

func TestLeaveReturnsWhenTheCoreIsGone(t *testing.T) {
	n := newNode(t, "n")
	n.fake.mu.Lock()
	n.fake.answer = func(in proto.Input) []proto.Output {
		if _, ok := in.(proto.Leave); ok {
			return []proto.Output{proto.Gone{}}
		}
		return nil
	}
	n.fake.mu.Unlock()
	if err := n.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	other := newNode(t, "other")
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := other.Leave(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("leave of a core that does not answer: %v", err)
	}
}

// Whoever is in the middle of something when the node ends does not hold it up.
func TestANodeEndsAtOnceWhateverItsVisitorsDo(t *testing.T) {
	b := newNode(t, "b", func(c *Config) { c.Limits.Handshake = time.Hour })
	a := newNode(t, "a")
	ours, _ := a.linkTo(b)
	raw(t, b)
	talking := raw(t, b)
	_, _ = talking.Write([]byte{0x16, 3, 1, 0, 200})
	for b.gate.count() < 2 || b.gate.speaking() < 1 {
		<-time.After(time.Millisecond)
	}
	b.wants(proto.Dial{Tag: proto.DialTag(proto.OwnerViews, 1), Kind: proto.LinkOverlay, Addrs: []string{talking.LocalAddr().String()}, Timeout: time.Hour})
	start := time.Now()
	_ = b.stop()
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	if why := awaitDown(a, ours.Link); why != proto.DownClosed {
		t.Errorf("its peer saw %v", why)
	}
}

func TestBulkOpensALaneAndBothSidesUseIt(t *testing.T) {
	a, b := newNode(t, "a"), newNode(t, "b")
	ours, theirs := a.linkTo(b)
	id := proto.CallID{Caller: peer.ID{1}, Seq: 1}
	a.wants(proto.Send{Link: ours.Link, Msg: proto.CallBody{ID: id, Payload: make([]byte, 3<<20)}})
	got := await(b, func(r proto.Received) bool { return r.Link == theirs.Link })
	if m, ok := got.Msg.(proto.CallBody); !ok || len(m.Payload) != 3<<20 {
		t.Errorf("received %T", got.Msg)
	}
	b.wants(proto.Send{Link: theirs.Link, Msg: proto.CallBody{ID: id, Payload: make([]byte, 1<<20)}})
	await(a, func(r proto.Received) bool { return r.Link == ours.Link })
	if a, b := a.Stats().Links["lane"], b.Stats().Links["lane"]; a != 1 || b != 1 {
		t.Errorf("%d and %d lanes, want one for both ways", a, b)
	}
	for _, in := range b.heard() {
		if up, ok := in.(proto.LinkUp); ok && up.Kind == proto.LinkLane {
			t.Error("the core was told of a lane")
		}
	}
}

func TestWithoutAnAddressBulkSharesTheLink(t *testing.T) {
	b := newNode(t, "b")
	a := newNode(t, "a", func(c *Config) { c.Advertise = []string{"127.0.0.1:1"} }) // nobody listens there
	_, theirs := a.linkTo(b)
	id := proto.CallID{Caller: peer.ID{1}, Seq: 1}
	b.wants(proto.Send{Link: theirs.Link, Msg: proto.CallBody{ID: id, Payload: make([]byte, 1<<20)}})
	if m, ok := await[proto.Received](a, nil).Msg.(proto.CallBody); !ok || len(m.Payload) != 1<<20 {
		t.Error("the body did not come")
	}
}

func TestACutBreaksLinksAndRefusesNewOnes(t *testing.T) {
	a, b := newNode(t, "a"), newNode(t, "b")
	ours, theirs := a.linkTo(b)
	if err := a.Fault(Fault{Peer: "b", Kind: FaultCut, Way: FaultBoth, For: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if us, them := awaitDown(a, ours.Link), awaitDown(b, theirs.Link); us != proto.DownReset || them != proto.DownReset {
		t.Errorf("ended as %v and %v", us, them)
	}
	hard := func(w proto.DialWhy) bool { return w == proto.DialRefused || w == proto.DialOtherNode }
	if _, failed := a.dials(proto.LinkOverlay, b.me.ID, b.Addr().String()); failed.Why != proto.DialNetwork {
		t.Errorf("a's dial failed as %v", failed.Why)
	}
	if _, failed := b.dials(proto.LinkOverlay, a.me.ID, a.Addr().String()); failed.Why == 0 || hard(failed.Why) {
		t.Errorf("b's dial failed as %v: a cut proves nobody dead", failed.Why)
	}
	awaitRefused(a, "fault", 1)
	if n := a.ClearFaults(""); n != 1 {
		t.Errorf("%d faults ended", n)
	}
	a.linkTo(b)
}

func TestAFaultEndsByItselfAndMustBeAllowed(t *testing.T) {
	a := newNode(t, "a")
	if err := a.Fault(Fault{Peer: "*", Kind: FaultDelay, Way: FaultIn, Delay: time.Second, For: 20 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); len(a.Faults()) > 0; {
		if time.Now().After(deadline) {
			t.Fatal("the fault did not end")
		}
		<-time.After(time.Millisecond)
	}
	for _, bad := range []Fault{
		{}, {Peer: "x", Kind: "burn"}, {Peer: "x", Kind: FaultCut, Way: "up"}, {Peer: "x", Kind: FaultCut, Way: FaultIn},
		{Peer: "x", Kind: FaultDelay, Way: FaultIn, For: time.Second},
	} {
		if err := a.Fault(bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
	safe := newNode(t, "safe", func(c *Config) { c.Faults = false })
	if err := safe.Fault(Fault{Peer: "a", Kind: FaultCut, Way: FaultBoth, For: time.Second}); !errors.Is(err, ErrFaultsOff) {
		t.Errorf("a node that forbids faults says %v", err)
	}
}

// inUse is the memory of heap and stacks, in bytes: unlike what the system
// counts it does not depend on how the test was built.
func inUse() int {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapInuse + m.StackInuse)
}

// A flood of silent connections holds few places, and none of one who speaks.
func TestSilentConnectionsCostLittleAndKeepNobodyOut(t *testing.T) {
	const flood = 5000
	b := newNode(t, "b")
	a := newNode(t, "a")
	before := inUse()
	most := 0
	for i := range flood {
		c, err := net.Dial("tcp", b.Addr().String())
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer c.Close()
		if i%500 == 499 {
			if up, failed := a.dials(proto.LinkProbe, b.me.ID, b.Addr().String()); up.Link == 0 {
				t.Errorf("after %d silent ones an honest dial failed: %v", i+1, failed.Why)
			}
			most = max(most, b.Stats().Handshakes)
		}
	}
	if most > b.cfg.Limits.Handshakes {
		t.Errorf("%d handshakes at once", most)
	}
	if grown := inUse() - before; grown > 20<<20 {
		t.Errorf("memory grew by %d MB, this test's own half included", grown>>20)
	}
	awaitRefused(b, "silent", flood)
	for deadline := time.Now().Add(5 * time.Second); b.Stats().Handshakes > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d places are still taken", b.Stats().Handshakes)
		}
		<-time.After(time.Millisecond)
	}
}

func TestWhoSpeaksIsNotShownOutAndTheNextIsRefused(t *testing.T) {
	b := newNode(t, "b", func(c *Config) { c.Limits.Handshakes = 2 })
	for range 2 {
		c := raw(t, b)
		_, _ = c.Write([]byte{0x16, 3, 1, 0, 200})
	}
	for b.gate.speaking() < 2 {
		<-time.After(time.Millisecond)
	}
	if c, err := net.Dial("tcp", b.Addr().String()); err == nil { // or it has been reset already
		defer c.Close()
	}
	awaitRefused(b, "busy", 1)
	awaitRefused(b, "timeout", 2)
}

func TestAConfigSaysEverythingThatIsWrong(t *testing.T) {
	cfg := Default()
	cfg.Listen, cfg.Insecure, cfg.Limits.Links = "0.0.0.0:1", true, 0
	err := cfg.Validate()
	if err == nil {
		t.Fatal("an empty configuration is valid")
	}
	for _, want := range []string{"cluster ID", "node name", "not a loopback", "limit links"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not speak of %s", err, want)
		}
	}
}

func TestAnInsecureNodeTalksToItsLike(t *testing.T) {
	insecure := func(c *Config) { c.Insecure, c.Keys = true, nil }
	a, b := newNode(t, "a", insecure), newNode(t, "b", insecure)
	a.linkTo(b)
}
