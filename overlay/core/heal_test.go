package core

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// fixed is a directory in which nothing changes.
type fixed struct{ roster *proto.Roster }

func (f fixed) Revision() uint64 { return f.roster.Revision }

func (f fixed) Members() iter.Seq[proto.Member] {
	return func(yield func(proto.Member) bool) {
		for _, m := range f.roster.Members {
			if !yield(*m) {
				return
			}
		}
	}
}

// choir is many heals that hear each other's beacons at once.
type choir struct {
	now     time.Time
	heals   []*heal
	beacons int
	roster  *proto.Roster
}

func newChoir(seed uint64, n int) *choir {
	c := &choir{now: time.Unix(1000, 0), roster: &proto.Roster{Revision: 1}}
	for i := range n {
		c.heals = append(c.heals, newHeal(peer.ID{byte(i + 1)}, rand.New(rand.NewPCG(seed, uint64(i))), c.now))
	}
	return c
}

// sing lets the time go by.
func (c *choir) sing(d time.Duration) {
	for until := c.now.Add(d); c.now.Before(until); c.now = c.now.Add(20 * time.Millisecond) {
		for _, h := range c.heals {
			if !proto.Due(c.now, h.Deadline()) {
				continue
			}
			if h.Wake(c.now, fixed{c.roster}, &proto.Out{}).Beacon {
				c.beacons++
				for _, other := range c.heals {
					other.Beacon(c.now, h.self)
				}
			}
		}
	}
}

func TestTheLowestNamesTheComponentWithoutAStorm(t *testing.T) {
	for seed := range uint64(20) {
		c := newChoir(seed, 100)
		c.sing(11 * time.Second)
		if c.beacons > 20 {
			t.Errorf("%d beacons at birth", c.beacons)
		}
		c.sing(60 * time.Second)
		before := c.beacons
		c.sing(50 * time.Second)
		if n := c.beacons - before; n < 9 || n > 11 {
			t.Errorf("%d beacons in 50 s", n)
		}
		c.heals = c.heals[1:] // the lowest dies
		c.sing(21 * time.Second)
		before = c.beacons
		c.sing(40 * time.Second)
		for _, h := range c.heals {
			if h.Component() != c.heals[0].self {
				t.Fatalf("seed %d: the component of %v is %v", seed, h.self.Short(), h.Component().Short())
			}
		}
		if n := c.beacons - before; n > 30 {
			t.Errorf("%d beacons in the 40 s after a takeover", n)
		}
	}
}

func TestAComponentIsForgottenWithItsBeacon(t *testing.T) {
	c := newChoir(1, 2)
	h := c.heals[1]
	if !h.Component().IsZero() {
		t.Fatal("known at birth")
	}
	h.Beacon(c.now, peer.ID{1})
	if h.Component() != (peer.ID{1}) {
		t.Fatal("not known once heard")
	}
	if at := h.Deadline(); at.After(c.now.Add(beaconFor)) {
		t.Fatalf("sleeps until %v", at)
	}
	h.Wake(c.now.Add(beaconFor), fixed{c.roster}, &proto.Out{})
	if h.Component() == (peer.ID{1}) {
		t.Fatal("still known after 15 s of silence")
	}
}

func member(n int, status proto.Status) *proto.Member {
	return &proto.Member{Status: status, Entry: &proto.Entry{
		ID: peer.ID{byte(n >> 8), byte(n), 1}, Name: fmt.Sprint("m", n), Addrs: []string{fmt.Sprintf("m%d:1", n)}, Birth: 5, Incarnation: 5,
	}}
}

// attempts runs a node's probes, none of which reaches anybody.
func attempts(h *heal, roster *proto.Roster, d time.Duration) map[string]int {
	got := map[string]int{}
	now := h.start
	for until := now.Add(d); now.Before(until); now = h.Deadline() {
		var out proto.Out
		h.Wake(now, fixed{roster}, &out)
		for _, o := range out.List {
			if dial, ok := o.(proto.Dial); ok {
				got[dial.Addrs[0]]++
				h.DialFailed(proto.DialFailed{Tag: dial.Tag, Why: proto.DialRefused})
			}
		}
	}
	return got
}

func TestTheLostAreSoughtAndNobodyElse(t *testing.T) {
	old, heir := member(4, proto.StatusDown), member(5, proto.StatusDown)
	heir.Entry.Name, heir.Entry.Birth = old.Entry.Name, 6
	reused := member(6, proto.StatusDown)
	reused.Entry.Addrs = []string{"m1:1"}
	roster := &proto.Roster{Revision: 1, Members: []*proto.Member{
		member(1, proto.StatusAlive), member(2, proto.StatusDown), member(3, proto.StatusLeft), old, heir, reused,
	}}
	h := newHeal(peer.ID{0, 1, 1}, rand.New(rand.NewPCG(1, 1)), time.Unix(1000, 0))
	h.Contacts([]proto.Contact{{Addrs: []string{"m1:1"}}, {Addrs: []string{"x:1"}}, {Addrs: []string{"m2:1"}}})
	got := attempts(h, roster, 10*time.Minute)
	for addr, want := range map[string][2]int{
		"x:1":  {50, 72}, // every 10 s on average
		"m2:1": {50, 72}, // down, and vouched for
		"m5:1": {14, 28}, // 10, 20, 30, 30 s …
		"m1:1": {0, 0},   // a living member is there
		"m3:1": {0, 0},   // left
		"m4:1": {0, 0},   // superseded
	} {
		if n := got[addr]; n < want[0] || n > want[1] {
			t.Errorf("%s was dialled %d times, want %v", addr, n, want)
		}
	}
}

func TestAClusterMakesAboutOneAttemptARound(t *testing.T) {
	var members []*proto.Member
	for i := range 50 {
		members = append(members, member(i, proto.StatusAlive))
	}
	roster := &proto.Roster{Revision: 1, Members: members}
	total := 0
	for i := range 50 {
		h := newHeal(members[i].Entry.ID, rand.New(rand.NewPCG(7, uint64(i))), time.Unix(1000, 0))
		h.Contacts([]proto.Contact{{Addrs: []string{"x:1"}}})
		total += attempts(h, roster, 1000*time.Second)["x:1"]
	}
	if total < 70 || total > 130 {
		t.Errorf("%d attempts in a hundred rounds", total)
	}
}

// reach lets a probe of h reach a node that names a component.
func reach(t *testing.T, h *heal, component peer.ID) (healWants, proto.Out) {
	t.Helper()
	h.Contacts([]proto.Contact{{Addrs: []string{"x:1"}}})
	var out proto.Out
	for now := h.start; len(out.List) == 0; now = h.Deadline() {
		h.Beacon(now, h.self)
		h.Wake(now, fixed{&proto.Roster{Revision: 1}}, &out)
		if now.Sub(h.start) > time.Minute {
			t.Fatal("nobody was probed")
		}
	}
	d := out.List[0].(proto.Dial)
	out.List = nil
	h.LinkUp(h.start, proto.LinkUp{Link: 9, Tag: d.Tag}, &out)
	if p := out.List[0].(proto.Send).Msg.(proto.Ping); p.Component != h.self || p.Size != uint32(h.size) {
		t.Fatalf("asked with %+v", p)
	}
	out.List = nil
	return h.Pong(9, proto.PeerInfo{ID: peer.ID{99}}, component, &out), out
}

func TestAnotherComponentIsWorthABridge(t *testing.T) {
	for component, want := range map[peer.ID]bool{{2}: true, {1}: false, {}: false} {
		h := newHeal(peer.ID{1}, rand.New(rand.NewPCG(1, 1)), time.Unix(1000, 0))
		wants, out := reach(t, h, component)
		if got := wants.Bridge.ID == (peer.ID{99}); got != want {
			t.Errorf("component %v: bridge %v", component.Short(), got)
		}
		if hang := out.List[0].(proto.Hangup); hang.Link != 9 || len(h.probes) != 0 {
			t.Errorf("the probe's link stays: %+v", out.List)
		}
	}
}

func TestALargeComponentOpensAFewBridges(t *testing.T) {
	bridges := 0
	for i := range uint64(1000) {
		h := newHeal(peer.ID{1}, rand.New(rand.NewPCG(i, 1)), time.Unix(1000, 0))
		h.size = 500
		h.Beacon(h.start, h.self)
		if !h.Pong(9, proto.PeerInfo{ID: peer.ID{99}}, peer.ID{2}, &proto.Out{}).Bridge.ID.IsZero() {
			bridges++
		}
	}
	if bridges < 6 || bridges > 28 { // 16 of 1,000
		t.Errorf("%d bridges of a thousand probes", bridges)
	}
}

func TestAProbeWithoutAPongIsHungUp(t *testing.T) {
	h := newHeal(peer.ID{1}, rand.New(rand.NewPCG(1, 1)), time.Unix(1000, 0))
	h.targets = []target{{key: "x:1", addrs: []string{"x:1"}}}
	var out proto.Out
	h.dial(&h.targets[0], &out)
	h.LinkUp(h.start, proto.LinkUp{Link: 3, Tag: out.List[0].(proto.Dial).Tag}, &out)
	out.List = nil
	h.giveUp(h.start.Add(probeTimeout), &out)
	if len(out.List) != 1 || out.List[0].(proto.Hangup).Link != 3 || len(h.probes) != 0 {
		t.Fatalf("did %+v", out.List)
	}
	h.LinkDown(3)
}

func TestALinkIsSwappedForWhoReturnedNotForANewcomer(t *testing.T) {
	for _, returned := range []bool{true, false} {
		now := time.Unix(1000, 0)
		h := newHeal(peer.ID{9}, rand.New(rand.NewPCG(1, 1)), now)
		other := member(1, proto.StatusAlive)
		other.Since = now
		if returned {
			other.Entry.Incarnation++
		}
		roster := &proto.Roster{Revision: 1, Members: []*proto.Member{other}}
		h.Beacon(now, peer.ID{5})
		h.Beacon(now, peer.ID{4}) // the component falls
		swaps := 0
		for end := now.Add(swapWithin + time.Second); now.Before(end); now = h.Deadline() {
			if id := h.Wake(now, fixed{roster}, &proto.Out{}).Swap.ID; id == other.Entry.ID {
				swaps++
			}
		}
		if returned != (swaps == 1) {
			t.Errorf("returned %v: %d swaps", returned, swaps)
		}
	}
}

func TestThousandsWhoNeverAnswerCostTheClusterTenAttemptsASecond(t *testing.T) {
	for _, size := range []int{1, 50} {
		var members []*proto.Member
		for i := range size {
			members = append(members, member(i, proto.StatusAlive))
		}
		roster := &proto.Roster{Revision: 1, Members: members}
		var dead []proto.Contact
		for i := range 3000 {
			dead = append(dead, proto.Contact{Addrs: []string{fmt.Sprintf("x%d:1", i)}})
		}
		total, tried := 0, map[string]bool{}
		for i := range size {
			h := newHeal(members[i].Entry.ID, rand.New(rand.NewPCG(7, uint64(i))), time.Unix(1000, 0))
			h.Contacts(dead)
			for addr, n := range attempts(h, roster, 1000*time.Second) {
				total += n
				tried[addr] = true
			}
		}
		if want := 10 * 1000; total < want/2 || total > want*5/4 {
			t.Errorf("%d nodes: %d attempts in 1,000 s, want about %d", size, total, want)
		}
		if len(tried) < len(dead)*9/10 { // three rounds and a third, each missed by chance once in e
			t.Errorf("%d nodes: %d of %d were tried", size, len(tried), len(dead))
		}
	}
}

// counted is a directory that says how often it was looked through.
type counted struct {
	fixed
	looks *int
}

func (c counted) Members() iter.Seq[proto.Member] {
	*c.looks++
	return c.fixed.Members()
}

func TestALargeClusterThatKeepsChangingIsLookedThroughAtAPaceThatItsSizeAllows(t *testing.T) {
	for _, size := range []int{1000, 5000} {
		roster := &proto.Roster{}
		for i := range size {
			e := &proto.Entry{ID: peer.ID{byte(i >> 8), byte(i), 1}, Name: fmt.Sprint(i)}
			roster.Members = append(roster.Members, &proto.Member{Entry: e, Status: proto.StatusAlive})
		}
		now := time.Unix(1000, 0)
		h := newHeal(peer.ID{9, 9, 9}, rand.New(rand.NewPCG(1, 1)), now)
		looks := 0
		wake := func() {
			now = now.Add(time.Second)
			roster.Revision++
			h.Wake(now, counted{fixed{roster}, &looks}, &proto.Out{})
		}
		wake()
		once := looks
		for range 20 {
			wake()
		}
		if got, want := (looks-once)/once, 20*1000/size; got != want {
			t.Errorf("%d members that change each second: looked at %d times in 20 s, want %d", size, got, want)
		}
		before := looks
		h.Contacts([]proto.Contact{{Addrs: []string{"10.0.0.1:1"}}})
		if wake(); looks == before {
			t.Errorf("%d members: new contacts had to wait", size)
		}
	}
}
