package plumtree

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// tight has every bound within reach of a short test.
func tight() Config {
	c := Default()
	c.BodyMax, c.CacheBytes, c.CacheCount = 1000, 4000, 16
	c.GraftBytes, c.GraftBurst = 1000, 2000
	c.WindowsMax, c.MarksMax, c.WantsMax = 4, 6, 16
	c.OrderCount, c.OrderBytes, c.OrderTotal = 4, 600, 1500
	c.PublishRate, c.PublishBurst, c.PublishBytes, c.PublishBytesBurst = 2, 4, 1000, 2000
	c.JumpMax = 2*60 + 4
	return c
}

// one drives a single Tree and keeps what it gave.
type one struct {
	t    failer
	tree *Tree
	now  time.Time
	out  []proto.Output
}

func newOne(t failer, cfg Config) *one {
	return &one{t: t, tree: New(named1("a"), cfg), now: birth}
}

func (o *one) step(do func(out *proto.Out)) []proto.Output {
	o.t.Helper()
	var out proto.Out
	do(&out)
	o.tree.Check()
	o.tree.checkAll()
	for _, x := range out.List {
		o.wantWithinLimits(x)
	}
	o.out = append(o.out, out.List...)
	return out.List
}

// P8: no message is larger than both ends agreed on.
func (o *one) wantWithinLimits(x proto.Output) {
	o.t.Helper()
	s, ok := x.(proto.Send)
	if !ok {
		return
	}
	var list []proto.Range
	switch m := s.Msg.(type) {
	case proto.IHave:
		list = m.Ranges
	case proto.Graft:
		list = m.Ranges
	case proto.GraftMiss:
		list = m.Ranges
	}
	if len(list) > proto.MaxRanges {
		o.t.Fatalf("P8: %d ranges in %T", len(list), s.Msg)
	}
}

func (o *one) up(link proto.LinkID, who string) {
	o.step(func(out *proto.Out) { o.tree.NeighborUp(o.now, link, named1(who), out) })
}

func (o *one) recv(link proto.LinkID, m proto.Message) []proto.Output {
	return o.step(func(out *proto.Out) { o.tree.Receive(o.now, link, peer.ID{9}, m, out) })
}

func (o *one) wait(d time.Duration) {
	o.t.Helper()
	end := o.now.Add(d)
	for {
		at := o.tree.Deadline()
		if at.IsZero() || at.After(end) {
			o.now = end
			return
		}
		o.now = later(o.now, at)
		o.step(func(out *proto.Out) { o.tree.Wake(o.now, out) })
		if next := o.tree.Deadline(); !next.IsZero() && !next.After(o.now) {
			o.t.Fatalf("woken at %v, it wants to be woken at %v", o.now.Sub(birth), next.Sub(birth))
		}
	}
}

func (o *one) say(stream uint8, size int) string {
	var refused string
	o.step(func(out *proto.Out) {
		_, refused = o.tree.Publish(o.now, stream, proto.CastBody{Payload: make([]byte, size)}, out)
	})
	return refused
}

func gossip(origin string, seq uint64, size int) proto.Gossip {
	return proto.Gossip{ID: proto.MsgID{Origin: named1(origin), Stream: topic, Seq: seq}, Round: 1, Body: proto.CastBody{Payload: make([]byte, size)}}
}

func why(list []proto.Output) string {
	for _, x := range list {
		if i, ok := x.(proto.Ignored); ok {
			return i.Why
		}
	}
	return ""
}

func count[T proto.Output](list []proto.Output) (n int) {
	for _, x := range list {
		if _, ok := x.(T); ok {
			n++
		}
	}
	return n
}

func sends[M proto.Message](list []proto.Output) (got []M) {
	for _, x := range list {
		if s, ok := x.(proto.Send); ok {
			if m, ok := s.Msg.(M); ok {
				got = append(got, m)
			}
		}
	}
	return got
}

func TestWhoBroadcastsTooMuchIsToldSo(t *testing.T) {
	o := newOne(t, tight())
	for range 4 {
		if refused := o.say(topic, 1); refused != "" {
			t.Fatalf("within the burst: %s", refused)
		}
	}
	if refused := o.say(topic, 1); refused != RefusedRate {
		t.Fatalf("above the rate: %q", refused)
	}
	if refused := o.say(proto.DirStream, 1); refused != "" {
		t.Fatalf("the directory is held up by applications: %s", refused)
	}
	o.wait(10 * time.Second)
	if a, b, c := o.say(topic, 900), o.say(topic, 800), o.say(topic, 800); a != "" || b != "" || c != RefusedBytes {
		t.Fatalf("above the bytes: %q, %q, %q", a, b, c)
	}
	if refused := o.say(topic, 1001); refused != RefusedSize {
		t.Fatalf("a body too large: %q", refused)
	}
	if n := count[proto.DeliverBody](o.out); n != 7 {
		t.Fatalf("%d delivered, want the 7 accepted", n)
	}
}

func TestABodyTooLargeIsNotTakenFromAPeer(t *testing.T) {
	o := newOne(t, tight())
	o.up(1, "b")
	if got := why(o.recv(1, gossip("x", 1, 1001))); got != WhyTooBig {
		t.Fatalf("ignored for %q", got)
	}
}

// The first range of a request was put down as owed, and the malformed one
// after it ended the work before a timer was set.
func TestAMessageWithOneMalformedRangeIsNotDoneByHalf(t *testing.T) {
	good, bad := proto.Range{Origin: named1("x"), From: 1, To: 1}, proto.Range{Origin: named1("x"), From: 3, To: 2}
	for name, m := range map[string]proto.Message{
		"announcement": proto.IHave{Stream: topic, Ranges: []proto.Range{{Origin: named1("y"), From: 1, To: 1}, bad}},
		"request":      proto.Graft{Stream: topic, Ranges: []proto.Range{good, bad}},
		"miss":         proto.GraftMiss{Stream: topic, Ranges: []proto.Range{good, bad}},
	} {
		o := newOne(t, tight())
		o.recv(2, gossip("x", 1, 1)) // from another, so that 1 may be owed it
		o.up(1, "b")
		if got := why(o.recv(1, m)); got != WhyMalformed {
			t.Errorf("%s: ignored for %q", name, got)
		}
		if n := o.tree.neighbor(1); len(n.owed) != 0 || o.tree.wants != 0 {
			t.Errorf("%s: %d owed and %d wanted after it", name, len(n.owed), o.tree.wants)
		}
	}
}

func TestTheCacheDropsTheOldestAtItsBounds(t *testing.T) {
	o := newOne(t, tight())
	o.up(1, "b")
	for seq := range uint64(20) {
		o.recv(1, gossip("x", seq+1, 1))
	}
	if n := len(o.tree.cache.queue); n != 16 || o.tree.cache.queue[0].id.Seq != 5 {
		t.Fatalf("%d kept, from %d; want 16, from 5", n, o.tree.cache.queue[0].id.Seq)
	}
	for seq := range uint64(5) {
		o.recv(1, gossip("x", seq+21, 1000))
	}
	if n := len(o.tree.cache.queue); n != 3 || o.tree.cache.bytes != 3*1128 {
		t.Fatalf("%d kept, %d bytes; want 3 that fit 4000", n, o.tree.cache.bytes)
	}
}

// Order costs at most OrderBytes a window, OrderTotal in all and OrderCount in
// number; then the gap is told early.
func TestWaitingForOrderIsBounded(t *testing.T) {
	settled := func() *one {
		o := newOne(t, tight())
		o.up(1, "b")
		o.wait(2 * time.Second)
		for _, origin := range []string{"u", "v", "w"} {
			o.recv(1, gossip(origin, 1, 1))
		}
		return o
	}
	o := settled()
	if list := o.recv(1, gossip("u", 3, 900)); count[proto.Gap](list) != 0 {
		t.Fatal("a single body may be above the bytes of a window")
	}
	if list := o.recv(1, gossip("u", 5, 1)); count[proto.Gap](list) != 1 || count[proto.DeliverBody](list) != 1 {
		t.Fatalf("above the bytes of a window: %v", list)
	}
	o = settled()
	for seq := uint64(3); seq < 7; seq++ {
		if list := o.recv(1, gossip("u", seq, 1)); count[proto.Gap](list) != 0 {
			t.Fatalf("number %d: %v", seq, list)
		}
	}
	if list := o.recv(1, gossip("u", 7, 1)); count[proto.Gap](list) != 1 || count[proto.DeliverBody](list) != 5 {
		t.Fatalf("above the number: %v", list)
	}
	o = settled()
	o.recv(1, gossip("u", 3, 900))
	if list := o.recv(1, gossip("v", 3, 900)); count[proto.Gap](list) != 1 || count[proto.DeliverBody](list) != 1 {
		t.Fatalf("above the total: %v", list)
	}
}

func TestAGraftGetsNoMoreThanItsBudget(t *testing.T) {
	o := newOne(t, tight())
	for range 4 {
		o.say(proto.DirStream, 800) // each counts 928 bytes, of which 2000 may go at once
	}
	o.up(1, "b")
	ask := proto.Graft{Ranges: []proto.Range{{Origin: named1("a"), From: 1, To: 5}}}
	list := o.recv(1, ask)
	missed := sends[proto.GraftMiss](list)
	if n := len(sends[proto.Gossip](list)); n != 3 || len(missed) != 1 || missed[0].Ranges[0] != (proto.Range{Origin: named1("a"), From: 5, To: 5}) {
		t.Fatalf("got %d, missed %v; want 3, and 5", n, missed)
	}
	o.out = nil
	o.wait(700 * time.Millisecond)
	if n := len(sends[proto.Gossip](o.out)); n != 0 {
		t.Fatalf("beyond its budget %d came", n)
	}
	o.wait(100 * time.Millisecond)
	if n := len(sends[proto.Gossip](o.out)); n != 1 {
		t.Fatalf("with its budget %d came, want the one that is owed", n)
	}
}

// What a range claims costs no more than a cache could hold.
func TestAWideRangeIsNotWalked(t *testing.T) {
	cfg := Default()
	o := newOne(t, cfg)
	o.up(1, "b")
	o.wait(2 * time.Second)
	wide := []proto.Range{{Origin: named1("x"), From: 1, To: 1 << 60}}
	if list := o.recv(1, proto.Graft{Stream: topic, Ranges: wide}); len(sends[proto.GraftMiss](list)) != 1 {
		t.Fatalf("graft: %v", list)
	}
	if got := why(o.recv(1, proto.IHave{Stream: topic, Ranges: wide})); got != WhyWantsFull {
		t.Fatalf("ihave: %q", got)
	}
	if o.tree.wants != cfg.WantsMax/4 {
		t.Fatalf("one link makes us wait for %d", o.tree.wants)
	}
	if got := why(o.recv(1, proto.IHave{Stream: topic, Ranges: slices.Repeat([]proto.Range{{Origin: named1("x"), From: 1, To: uint64(cfg.WantsMax / 4)}}, 5)})); got != WhyTooWide {
		t.Fatalf("ihave again: %q", got)
	}
}

func TestTooManyOriginsAtOnceAreRefusedUntilOneIsQuiet(t *testing.T) {
	o := newOne(t, tight())
	o.up(1, "b")
	o.wait(2 * time.Second)
	for _, origin := range []string{"u", "v", "w"} {
		o.recv(1, gossip(origin, 1, 1))
		o.wait(time.Millisecond)
	}
	o.recv(1, gossip("x", 1, 1))
	if got := why(o.recv(1, gossip("y", 1, 1))); got != "" {
		t.Fatalf("the quietest should have made room: %q", got)
	}
	if o.tree.windows[key{named1("u"), topic}] != nil || len(o.tree.windows) != 4 {
		t.Fatal("not the quietest made room")
	}
	if got := why(o.recv(1, proto.Gossip{ID: proto.MsgID{Origin: named1("u"), Stream: topic, Seq: 1}, Body: proto.BeaconBody{}})); got != WhyDuplicate {
		t.Fatalf("delivered again: %q", got)
	}
	for _, origin := range []string{"v", "w", "x", "y"} {
		o.recv(1, gossip(origin, 3, 1))
	}
	if got := why(o.recv(1, gossip("z", 1, 1))); got != WhyWindowsFull {
		t.Fatalf("no room, but %q", got)
	}
}

func TestRangesJoinNeighboursAndFitTheirMessages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ids []named
		want := map[proto.MsgID]bool{}
		n := rapid.SampledFrom([]int{5, 50, 4000}).Draw(t, "n")
		step := rapid.Uint64Range(1, 2).Draw(t, "step")
		for i := range n {
			id := proto.MsgID{Origin: nodeID(i % 2), Stream: uint8(i % 3), Seq: 1 + step*uint64(i/6)}
			ids = append(ids, named{id: id})
			want[id] = true
		}
		ids = append(ids, ids[0])
		joined := 0
		ranges(ids, func(stream uint8, list []proto.Range) {
			if len(list) == 0 || len(list) > proto.MaxRanges {
				t.Fatalf("%d ranges in one message", len(list))
			}
			for _, r := range list {
				joined++
				for s := r.From; s <= r.To; s++ {
					id := proto.MsgID{Origin: r.Origin, Stream: stream, Seq: s}
					if !want[id] {
						t.Fatalf("%v named twice, or never given", id)
					}
					delete(want, id)
				}
			}
		})
		if len(want) != 0 || step == 1 && joined > 6 {
			t.Fatalf("%d not named, in %d ranges", len(want), joined)
		}
	})
}

func TestAConfigThatCannotWorkIsRefusedInWords(t *testing.T) {
	good := Default()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(c *Config){
		"graft after":         func(c *Config) { c.GraftAfter = 0 },
		"announce every":      func(c *Config) { c.AnnounceEvery = c.GraftAfter },
		"graft after max":     func(c *Config) { c.GraftAfterMax = 1 },
		"settle for":          func(c *Config) { c.SettleFor = -1 },
		"window for":          func(c *Config) { c.WindowFor = c.CacheFor },
		"body max":            func(c *Config) { c.BodyMax = proto.MaxFrame },
		"cache bytes":         func(c *Config) { c.CacheBytes = c.BodyMax },
		"publish bytes burst": func(c *Config) { c.PublishBytesBurst = 1 },
		"order total":         func(c *Config) { c.OrderTotal = 1 },
		"wants max":           func(c *Config) { c.WantsMax = 3 },
		"jump max":            func(c *Config) { c.JumpMax = 1000 },
		"last after":          func(c *Config) { c.LastAfter = []time.Duration{2, 1} },
		"publish rate":        func(c *Config) { c.PublishRate = 0 },
	} {
		c := Default()
		spoil(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s spoiled: %v", name, err)
		}
	}
}
