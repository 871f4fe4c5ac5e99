package hyparview

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

func TestAWalkThatEndsAtAFullNodeSplitsAnEdge(t *testing.T) {
	s, links := filled(t)
	d := one(t, outputs[proto.Dial](s.says(links[0], person(1), proto.ForwardJoin{Joiner: person(9), TTL: 0})))
	id, out := s.reaches(d, person(9))
	if one(t, sent[proto.Neighbor](out)).High || s.active.Len() != 5 {
		t.Fatal("a member was evicted before the joiner confirmed")
	}
	out = s.says(id, person(9), proto.Accept{Self: person(9)})
	if bye := one(t, sent[proto.Bye](out)); bye.Peers[0].ID != person(9).ID {
		t.Fatalf("the evicted is not sent to the joiner: %+v", bye)
	}
}

func TestWhoComesBackWhileItDrainsIsOneNeighborNotTwo(t *testing.T) {
	s := newSolo(t)
	old := s.joins(person(1))
	s.says(old, person(1), proto.Bye{Why: proto.ByeEvicted})
	id := s.comes(person(1))
	out := s.says(id, person(1), proto.Neighbor{Self: person(1)})
	if down := one(t, outputs[proto.NeighborDown](out)); down.Link != old {
		t.Fatalf("down is %+v", down)
	}
	if _, last := out[len(out)-1].(proto.NeighborUp); !last || one(t, outputs[proto.NeighborUp](out)).Link != id {
		t.Fatalf("then came %+v", out)
	}
	if out = s.ends(old, proto.DownClosed); len(outputs[proto.NeighborDown](out)) != 0 {
		t.Fatal("down twice")
	}
}

func TestTheEvictedMayNotEvictAtOnce(t *testing.T) {
	s, _ := filled(t)
	id := s.comes(person(9))
	gone := one(t, outputs[proto.NeighborDraining](s.says(id, person(9), proto.Neighbor{Self: person(9), High: true}))).Peer
	back := person(gone[0])
	id = s.comes(back)
	no := one(t, sent[proto.Refuse](s.says(id, back, proto.Neighbor{Self: back, High: true})))
	if no.Why != proto.RefuseCoolDown || len(no.Peers) == 0 {
		t.Fatalf("refused with %+v", no)
	}
}

func TestBridgesAreAboveTheMaximumAndNotEvicted(t *testing.T) {
	s, _ := filled(t)
	for n := byte(10); n < 12; n++ {
		id := s.comes(person(n))
		out := s.says(id, person(n), proto.Neighbor{Self: person(n), Bridge: true})
		if len(sent[proto.Accept](out)) != 1 || len(sent[proto.Shuffle](out)) != 1 || len(sent[proto.Bye](out)) != 0 {
			t.Fatalf("bridge %d: %+v", n, out)
		}
	}
	id := s.comes(person(12))
	if no := one(t, sent[proto.Refuse](s.says(id, person(12), proto.Neighbor{Self: person(12), Bridge: true}))); no.Why != proto.RefuseFull {
		t.Fatalf("a third bridge was refused because %v", no.Why)
	}
	for n := byte(20); n < 40; n++ { // evictions pass the bridges by
		id := s.comes(person(n))
		s.says(id, person(n), proto.Neighbor{Self: person(n), High: true})
	}
	if s.active.Len() != 7 || !s.active.Has(person(10).ID) || !s.active.Has(person(11).ID) {
		t.Fatal("a bridge was evicted")
	}
	out := s.wait(61 * time.Second)
	if s.active.Len() != 5 || !s.active.Has(person(10).ID) || !s.active.Has(person(11).ID) {
		t.Fatalf("after a minute %d members, or a bridge was trimmed", s.active.Len())
	}
	if bye := sent[proto.Bye](out); len(bye) != 2 || bye[0].Why != proto.ByeTrimmed {
		t.Fatalf("trimmed with %+v", bye)
	}
}

func TestABridgeIsAskedForAndSwappedFor(t *testing.T) {
	s, _ := filled(t)
	d := one(t, outputs[proto.Dial](s.do(func(out *proto.Out) { s.Bridge(s.now, person(9), out) })))
	id, out := s.reaches(d, person(9))
	if !one(t, sent[proto.Neighbor](out)).Bridge {
		t.Fatal("asked for no bridge")
	}
	s.says(id, person(9), proto.Accept{Self: person(9)})
	if s.active.Len() != 6 {
		t.Fatalf("%d members", s.active.Len())
	}
	d = one(t, outputs[proto.Dial](s.do(func(out *proto.Out) { s.Swap(s.now, person(8), out) })))
	id, out = s.reaches(d, person(8))
	if !one(t, sent[proto.Neighbor](out)).Bridge {
		t.Fatal("a swap asks for no bridge")
	}
	out = s.says(id, person(8), proto.Accept{Self: person(8)})
	if one(t, sent[proto.Bye](out)); s.active.Len() != 6 || !s.active.Has(person(8).ID) || !s.active.Has(person(9).ID) {
		t.Fatal("the swap did not exchange one member")
	}
}

func TestWhoLeavesSaysGoodbyeAndIsNotAsked(t *testing.T) {
	s, _ := filled(t)
	out := s.do(func(out *proto.Out) { s.Leave(s.now, out) })
	if byes := sent[proto.Bye](out); len(byes) != 5 || byes[0].Why != proto.ByeLeaving {
		t.Fatalf("said %+v", byes)
	}
	id := s.comes(person(9))
	if no := one(t, sent[proto.Refuse](s.says(id, person(9), proto.Join{Self: person(9)}))); no.Why != proto.RefuseLeaving {
		t.Fatalf("refused because %v", no.Why)
	}
	if out = s.wait(time.Second); len(outputs[proto.Hangup](out)) != 5 || len(outputs[proto.Dial](out)) != 0 {
		t.Fatalf("then %+v", out)
	}
	if !s.Deadline().IsZero() {
		t.Fatal("still wants to be woken")
	}

	s, links := filled(t)
	out = s.says(links[0], person(1), proto.Bye{Why: proto.ByeLeaving})
	s.knows(person(1))
	if one(t, outputs[proto.NeighborDraining](out)); s.passive.Has(person(1).ID) {
		t.Fatal("who left is remembered")
	}
}

func TestWhoIsDownIsForgottenButNoHealthyLinkIsDropped(t *testing.T) {
	s, _ := filled(t)
	s.knows(person(9))
	for _, id := range []byte{9, 1} {
		s.do(func(out *proto.Out) { s.Forget(s.now, person(id).ID, person(id).Incarnation, out) })
	}
	if s.passive.Has(person(9).ID) || !s.active.Has(person(1).ID) {
		t.Fatal("forgot the wrong one")
	}
	s.knows(person(9))
	if s.passive.Has(person(9).ID) {
		t.Fatal("hearsay brought it back")
	}
}

// The simulator's seed 46: a dead node that was in no view when it was certified
// came back by hearsay at once, for the word of its death named no incarnation.
func TestWhoIsDownIsNotBroughtBackByHearsayWhetherItWasKnownOrNot(t *testing.T) {
	s, _ := filled(t)
	s.do(func(out *proto.Out) { s.Forget(s.now, person(9).ID, person(9).Incarnation, out) })
	s.now = s.now.Add(2 * s.cfg.CoolDownMax)
	s.knows(person(9))
	if s.passive.Has(person(9).ID) {
		t.Fatal("hearsay brought the dead back")
	}
	back := person(9)
	back.Incarnation++
	s.knows(back)
	if !s.passive.Has(back.ID) {
		t.Fatal("who came back is not believed")
	}
}

// A process that died before anybody knew it as a member is certified down by nobody, and took minutes to be found among
// thirty entries that were older.
func TestWhomTheDirectoryDoesNotKnowAliveIsProbedFirst(t *testing.T) {
	s, links := filled(t)
	var members []proto.PeerInfo
	for n := byte(10); n < 35; n++ {
		members = append(members, person(n))
	}
	s.knows(members...)
	ghost := person(50)
	id := s.comes(ghost)
	s.says(id, ghost, proto.Neighbor{Self: ghost})
	s.ends(id, proto.DownClosed)
	if !s.passive.Has(ghost.ID) {
		t.Fatal("who was refused is not remembered")
	}
	s.now = s.now.Add(s.cfg.ShuffleEvery)
	dials := outputs[proto.Dial](s.do(func(out *proto.Out) { s.shuffle(s.now, out) }))
	if len(dials) != 1 || dials[0].Kind != proto.LinkProbe || dials[0].Expect != ghost.ID {
		t.Errorf("it dials %+v over %d links", dials, len(links))
	}
}

func TestOfOneNameTheHighestIncarnationIsKept(t *testing.T) {
	s := newSolo(t)
	s.joins(person(1))
	newer := person(2)
	newer.Name, newer.Incarnation = "p1", 2
	id := s.comes(newer)
	out := s.says(id, newer, proto.Neighbor{Self: newer})
	if down := one(t, outputs[proto.NeighborDown](out)); down.Why != "superseded" || !s.active.Has(newer.ID) || s.active.Len() != 1 {
		t.Fatalf("down is %+v", down)
	}
	older := person(3)
	older.Name = "p1"
	id = s.comes(older)
	if no := one(t, sent[proto.Refuse](s.says(id, older, proto.Neighbor{Self: older}))); no.Why != proto.RefuseSuperseded {
		t.Fatalf("refused because %v", no.Why)
	}
}

func TestContactsAreTriedWithPatienceAndOurselvesNotAtAll(t *testing.T) {
	s := newSolo(t)
	contacts := []proto.Contact{{Addrs: []string{"a:1"}}, {Addrs: []string{"us:1"}}}
	s.do(func(out *proto.Out) { s.Contacts(s.now, contacts, out) })
	tried := map[string]int{}
	var fail func(list []proto.Output)
	fail = func(list []proto.Output) {
		for _, d := range outputs[proto.Dial](list) {
			tried[d.Addrs[0]]++
			why := proto.DialRefused
			if d.Addrs[0] == "us:1" {
				why = proto.DialSelf
			}
			fail(s.do(func(out *proto.Out) { s.DialFailed(s.now, proto.DialFailed{Tag: d.Tag, Why: why}, out) }))
		}
	}
	wanted := 0
	for range 120 {
		out := s.wait(time.Second)
		wanted += len(outputs[proto.ContactsWanted](out))
		fail(out)
		if s.now.Second()%20 == 0 { // discovery repeats itself
			fail(s.do(func(out *proto.Out) { s.Contacts(s.now, contacts, out) }))
		}
	}
	if tried["us:1"] != 1 {
		t.Errorf("dialled ourselves %d times", tried["us:1"])
	}
	if n := tried["a:1"]; n < 10 || n > 17 { // 1, 2, 4, 8, then every 10 to 12.5 s
		t.Errorf("dialled the contact %d times in two minutes", n)
	}
	if wanted < 3 || wanted > 6 { // after 5, 10, 30, 70 s …
		t.Errorf("asked discovery %d times", wanted)
	}
}

func TestTheLonelyDoNotRunThroughAThousandContactsThatRefuse(t *testing.T) {
	s := newSolo(t)
	var contacts []proto.Contact
	for i := range 1000 {
		contacts = append(contacts, proto.Contact{Addrs: []string{fmt.Sprintf("c%d:1", i)}})
	}
	s.do(func(out *proto.Out) { s.Contacts(s.now, contacts, out) })
	dials, tried := 0, map[string]int{}
	var refuse func(list []proto.Output)
	refuse = func(list []proto.Output) {
		for _, d := range outputs[proto.Dial](list) {
			dials++
			tried[d.Addrs[0]]++
			refuse(s.do(func(out *proto.Out) { s.DialFailed(s.now, proto.DialFailed{Tag: d.Tag, Why: proto.DialRefused}, out) }))
		}
	}
	for range 1200 {
		refuse(s.wait(100 * time.Millisecond))
	}
	if want := contactBurst + 1200; dials < want*9/10 || dials > want+1 {
		t.Errorf("%d dials in two minutes, want %d", dials, want)
	}
	if len(tried) < dials*2/5 { // every other dial is for somebody new
		t.Errorf("%d dials for only %d contacts", dials, len(tried))
	}
	if tried["c0:1"] < 10 { // the first in discovery's order have their turns, too
		t.Errorf("the first was dialled %d times", tried["c0:1"])
	}
}

func TestThreeContactsAreJoinedNotOne(t *testing.T) {
	s := newSolo(t)
	var contacts []proto.Contact
	for n := byte(1); n <= 10; n++ {
		contacts = append(contacts, proto.Contact{Addrs: person(n).Addrs})
	}
	s.do(func(out *proto.Out) { s.Contacts(s.now, contacts, out) })
	dials := outputs[proto.Dial](s.wait(100 * time.Millisecond))
	if len(dials) != 3 {
		t.Fatalf("%d dials", len(dials))
	}
	for i, d := range dials {
		id, out := s.reaches(d, person(byte(i+1)))
		one(t, sent[proto.Join](out))
		s.says(id, person(byte(i+1)), proto.Accept{Self: person(byte(i + 1))})
	}
	if s.active.Len() != 3 {
		t.Fatalf("%d members", s.active.Len())
	}
	if out := s.wait(time.Minute); len(outputs[proto.Dial](out)) != 0 {
		t.Fatal("with three links it goes on dialling contacts")
	}
}

func TestAWaitingLinkThatAsksForNothingIsClosed(t *testing.T) {
	s := newSolo(t)
	for n := range 300 {
		p := person(1)
		p.ID[1], p.ID[2] = byte(n), byte(n>>8)
		s.comes(p)
	}
	waiting := len(slices.DeleteFunc(slices.Clone(s.links), func(l *link) bool { return l.state != stateIdle }))
	if waiting != s.cfg.LinksMax {
		t.Fatalf("%d links wait", waiting)
	}
	if n := len(outputs[proto.Hangup](s.wait(time.Second))); n != s.cfg.LinksMax {
		t.Fatalf("%d hung up", n)
	}
}

func TestConfigurationsThatCannotWorkAreRefused(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Config){
		"no view":             func(c *Config) { c.Active = 0 },
		"floor above maximum": func(c *Config) { c.Floor = c.Active + 1 },
		"no walk":             func(c *Config) { c.ARWL = 0 },
		"no timeout":          func(c *Config) { c.RequestTimeout = 0 },
		"cool-downs":          func(c *Config) { c.CoolDownMax = c.CoolDown / 2 },
		"oversize shuffle":    func(c *Config) { c.ShuffleActive = 20; c.ShufflePassive = 20 },
	} {
		c := Default()
		spoil(&c)
		if c.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// The directory may have heard since the greeting that the peer came back; its next word must not make it a candidate.
func TestWhoFailsFailsAsTheDirectoryKnowsItNow(t *testing.T) {
	s := newSolo(t)
	old := person(1)
	link := s.joins(old)
	back := old
	back.Incarnation++
	var out proto.Out
	s.Learn(s.now, entries([]proto.PeerInfo{back}), &out)
	s.ends(link, proto.DownReset)
	s.Learn(s.now, entries([]proto.PeerInfo{back}), &out)
	if slices.Contains(s.Passive(), old.ID) {
		t.Error("it is in the passive view again, though its link has just failed")
	}
}

// A peer came back, had no room for us, and only then we hear that its life
// before is certified down: that says nothing of the one it leads now.
func TestARefusalByTheNextLifeIsNoDeathOfIt(t *testing.T) {
	s := newSolo(t)
	back := person(1)
	back.Incarnation = 2
	id, _ := s.reaches(one(t, outputs[proto.Dial](s.knows(back))), back)
	s.says(id, back, proto.Refuse{Why: proto.RefuseFull})
	s.do(func(out *proto.Out) { s.Forget(s.now, back.ID, 1, out) })
	s.knows(back)
	if !s.passive.Has(back.ID) {
		t.Error("it is dead to us")
	}
}
