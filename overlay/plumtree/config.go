package plumtree

import (
	"fmt"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// Config holds the times and bounds of a Tree. Default gives values that suit
// a local network; each comment says what too little and too much do.
type Config struct {
	// AnnounceEvery is how long announcements (IHAVE) for a lazy link gather
	// before they go as one message. Too short: a frame per broadcast and
	// link. Too long: repair starts later. It must stay below GraftAfter.
	AnnounceEvery time.Duration
	// AnnounceAtOnce is up to how many members announcements do not gather:
	// in a small overlay there is little to save.
	AnnounceAtOnce int

	// GraftAfter is the least time that an announced broadcast may take to
	// come by itself before it is asked for (T1, "the timeout value … should
	// consider the diameter", Plumtree, 3.5). T1 is 3 round trips of the link
	// if that is longer; the next announcer is asked after T1/2. Too short:
	// bodies travel twice. Too long: every mend of the tree is a delay.
	GraftAfter time.Duration
	// GraftAfterMax bounds T1 on slow links, and so the wait for order.
	GraftAfterMax time.Duration
	// GraftBytes is how many bytes of grafted broadcasts one peer gets from us
	// a second, GraftBurst how many at once. What is beyond goes out when its
	// turn comes. Too little: a healed partition reports gaps. Too much: one
	// graft fills the link's queue.
	GraftBytes, GraftBurst int

	// SwapOne and SwapMany are by how many hops an announcement must beat the
	// way a broadcast came before the announcer becomes the parent instead:
	// with one sender in the stream, and with many, whose trees pull in
	// different directions (Plumtree, 3.8; values of its section 4). Too low:
	// the tree never rests. Too high: it stays as deep as chance made it.
	SwapOne, SwapMany int
	// ManyFor is for how long after two origins took turns a stream counts as
	// one of many senders.
	ManyFor time.Duration
	// RecentFor is how old a broadcast may be for a duplicate or an
	// announcement of it to tell anything about the tree.
	RecentFor time.Duration

	// CacheFor, CacheBytes and CacheCount bound what can be repeated to a peer
	// that missed it. Too little: a peer behind a broken link, or that is slower
	// than all origins together for longer than that lasts, loses broadcasts.
	// CacheBytes must hold at least one body of BodyMax.
	CacheFor   time.Duration
	CacheBytes int
	CacheCount int

	// WindowFor is how long after the last broadcast of an origin in a stream
	// its window is kept; then only its high mark remains. Longer than CacheFor,
	// or a copy may come after its window.
	WindowFor time.Duration
	// WindowsMax bounds the windows (about 150 bytes each, without what they hold back).
	WindowsMax int
	// MarksMax bounds the high marks of ended windows (32 bytes each).
	// Beyond it the oldest is forgotten, and a copy older than its window could
	// then be delivered again: keep it above the origins of a day.
	MarksMax int
	// JumpMax is how far ahead of what is known a sequence may be while the
	// window lives. Less than an honest origin fills at its PublishRate within
	// WindowFor: its broadcasts are refused after a partition. More: one false
	// message makes a longer gap; it costs no memory, for no more than a few
	// thousand of what it seems to leave out is asked for.
	JumpMax uint64

	// OrderCount and OrderBytes bound what one window holds back until what is
	// missing before it has come; a single body may be larger. OrderTotal
	// bounds all windows together, in bytes. At a bound the gap is told early:
	// too little for what an origin says while a hole is mended, and a burst
	// among busy nodes loses broadcasts that only were late.
	OrderCount, OrderBytes, OrderTotal int
	// LostAfter is how long a hole stays open while somebody may still fill it,
	// and one that holds nothing back in any case. Too short: what a starved
	// node passes on late is lost. Too long: a broadcast that is lost for good
	// holds up those behind it.
	LostAfter time.Duration
	// WantsMax bounds the missing broadcasts that are being waited for; one
	// link may cause a quarter of them.
	WantsMax int

	// LastAfter is when, after its last broadcast, a silent origin repeats the
	// number it has come to. At most 255 times.
	LastAfter []time.Duration
	// SettleFor is how long after its first link a node counts as a newcomer,
	// for which what neighbours have cached is history and not missing. Too
	// short: it fetches what was said before it came. Too long: it may miss
	// the first words of somebody who came after it.
	SettleFor time.Duration

	// BodyMax bounds a broadcast's body, in bytes.
	BodyMax int
	// PublishRate (a second), PublishBurst, PublishBytes (a second) and
	// PublishBytesBurst bound what this node's applications may broadcast; what
	// is beyond is refused. Less than the local API lets pass: it is refused
	// here instead, with words that name no setting. More: one application fills
	// every node's tables. The directory's stream is free of it.
	PublishRate, PublishBurst       int
	PublishBytes, PublishBytesBurst int
}

// Default is a Config that needs no change in a local network.
func Default() Config {
	return Config{
		AnnounceEvery:     5 * time.Millisecond,
		AnnounceAtOnce:    16,
		GraftAfter:        50 * time.Millisecond,
		GraftAfterMax:     3 * time.Second,
		GraftBytes:        4 << 20,
		GraftBurst:        8 << 20,
		SwapOne:           3,
		SwapMany:          7,
		ManyFor:           10 * time.Second,
		RecentFor:         time.Second,
		CacheFor:          30 * time.Second,
		CacheBytes:        16 << 20,
		CacheCount:        32_768,
		WindowFor:         60 * time.Second,
		WindowsMax:        65_536,
		MarksMax:          65_536,
		JumpMax:           2 << 20,
		OrderCount:        16_384,
		OrderBytes:        4 << 20,
		OrderTotal:        16 << 20,
		LostAfter:         5 * time.Second,
		WantsMax:          65_536,
		LastAfter:         []time.Duration{time.Second, 5 * time.Second},
		SettleFor:         time.Second,
		BodyMax:           proto.MaxPayload + 64<<10,
		PublishRate:       20_000,
		PublishBurst:      40_000,
		PublishBytes:      8 << 20,
		PublishBytesBurst: 16 << 20,
	}
}

// Validate says in words what is wrong with c.
func (c *Config) Validate() error {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"graft after", c.GraftAfter},
		{"recent for", c.RecentFor},
		{"cache for", c.CacheFor},
		{"lost after", c.LostAfter},
	} {
		if d.value <= 0 {
			return fmt.Errorf("broadcast: %s is %v; it must be above zero", d.name, d.value)
		}
	}
	for _, n := range []struct {
		name  string
		value int
	}{
		{"graft bytes", c.GraftBytes},
		{"graft burst", c.GraftBurst},
		{"swap one", c.SwapOne},
		{"swap many", c.SwapMany},
		{"cache count", c.CacheCount},
		{"windows max", c.WindowsMax},
		{"marks max", c.MarksMax},
		{"order count", c.OrderCount},
		{"order bytes", c.OrderBytes},
		{"body max", c.BodyMax},
		{"publish rate", c.PublishRate},
		{"publish burst", c.PublishBurst},
		{"publish bytes", c.PublishBytes},
	} {
		if n.value <= 0 {
			return fmt.Errorf("broadcast: %s is %d; it must be above zero", n.name, n.value)
		}
	}
	return c.validateTogether()
}

// validateTogether checks the values that only make sense beside another.
func (c *Config) validateTogether() error {
	switch {
	case c.AnnounceEvery < 0 || c.AnnounceEvery >= c.GraftAfter:
		return fmt.Errorf("broadcast: announce every is %v; choose 0 or more, and less than graft after (%v)", c.AnnounceEvery, c.GraftAfter)
	case c.GraftAfterMax < c.GraftAfter:
		return fmt.Errorf("broadcast: graft after max is %v; choose at least graft after (%v)", c.GraftAfterMax, c.GraftAfter)
	case c.SettleFor < 0 || c.ManyFor < 0:
		return fmt.Errorf("broadcast: settle for is %v and many for %v; neither may be below zero", c.SettleFor, c.ManyFor)
	case c.WindowFor <= c.CacheFor:
		return fmt.Errorf("broadcast: window for is %v; choose more than cache for (%v), or copies outlive their window", c.WindowFor, c.CacheFor)
	case c.BodyMax > proto.MaxFrame-frameSpare:
		return fmt.Errorf("broadcast: body max is %d bytes; a frame has room for %d", c.BodyMax, proto.MaxFrame-frameSpare)
	case c.CacheBytes < c.BodyMax+overhead || c.PublishBytesBurst < c.BodyMax+overhead || c.OrderTotal < c.BodyMax+overhead:
		return fmt.Errorf("broadcast: cache bytes, publish bytes burst and order total must each hold one body of %d bytes and %d more", c.BodyMax, overhead)
	case c.WantsMax < 4:
		return fmt.Errorf("broadcast: wants max is %d; choose at least 4", c.WantsMax)
	case float64(c.JumpMax) < float64(c.PublishRate)*c.WindowFor.Seconds()+float64(c.PublishBurst):
		return fmt.Errorf("broadcast: jump max is %d; an origin at its publish rate goes further within window for (%v)", c.JumpMax, c.WindowFor)
	case len(c.LastAfter) > 255:
		return fmt.Errorf("broadcast: last after has %d times; at most 255", len(c.LastAfter))
	}
	for i, d := range c.LastAfter {
		if d <= 0 || i > 0 && d <= c.LastAfter[i-1] {
			return fmt.Errorf("broadcast: last after is %v; choose rising times above zero", c.LastAfter)
		}
	}
	return nil
}

const (
	// overhead is what one broadcast counts beside its body, in bytes: its
	// places in our tables, and so also the price of an empty one.
	overhead = 128
	// frameSpare is kept free in a frame for what is not the body, in bytes.
	frameSpare = 64 << 10
)
