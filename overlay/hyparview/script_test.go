package hyparview

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// solo is one node, told everything by hand.
type solo struct {
	*Views
	t    *testing.T
	now  time.Time
	out  proto.Out
	link proto.LinkID
}

func newSolo(t *testing.T) *solo {
	now := time.Unix(1000, 0)
	self := person(100)
	s := &solo{t: t, now: now, Views: New(Default(), self, now, rand.New(rand.NewPCG(1, 2)))}
	s.shuffleAt = now.Add(time.Hour) // out of the way
	return s
}

// person is a peer whose ID orders by n; the solo node is 100.
func person(n byte) proto.PeerInfo {
	return proto.PeerInfo{ID: peer.ID{n}, Name: fmt.Sprint("p", n), Addrs: []string{fmt.Sprintf("p%d:1", n)}, Incarnation: 1}
}

// do runs one step and returns what came of it.
func (s *solo) do(f func(out *proto.Out)) []proto.Output {
	s.t.Helper()
	s.out.List = nil
	f(&s.out)
	s.Check()
	return s.out.List
}

func (s *solo) wait(d time.Duration) []proto.Output {
	s.t.Helper()
	var all []proto.Output
	until := s.now.Add(d)
	for at := s.Deadline(); !at.IsZero() && !at.After(until); at = s.Deadline() {
		s.now = at
		all = append(all, s.do(func(out *proto.Out) { s.Wake(s.now, out) })...)
	}
	s.now = until
	return all
}

// comes lets a peer's connection in.
func (s *solo) comes(p proto.PeerInfo) proto.LinkID {
	s.link++
	id := s.link
	s.do(func(out *proto.Out) { s.LinkUp(s.now, proto.LinkUp{Link: id, Peer: p, Kind: proto.LinkOverlay}, out) })
	return id
}

// reaches answers a dial with a connection.
func (s *solo) reaches(d proto.Dial, p proto.PeerInfo) (proto.LinkID, []proto.Output) {
	s.link++
	id := s.link
	return id, s.do(func(out *proto.Out) {
		s.LinkUp(s.now, proto.LinkUp{Link: id, Peer: p, Kind: d.Kind, Dialed: true, Tag: d.Tag}, out)
	})
}

func (s *solo) says(id proto.LinkID, p proto.PeerInfo, msg proto.Message) []proto.Output {
	s.t.Helper()
	return s.do(func(out *proto.Out) { s.Receive(s.now, id, p.ID, msg, out) })
}

func (s *solo) ends(id proto.LinkID, why proto.DownWhy) []proto.Output {
	return s.do(func(out *proto.Out) { s.LinkDown(s.now, proto.LinkDown{Link: id, Why: why}, out) })
}

// joins makes a peer a member by its own request.
func (s *solo) joins(p proto.PeerInfo) proto.LinkID {
	s.t.Helper()
	id := s.comes(p)
	s.says(id, p, proto.Neighbor{Self: p})
	if !s.active.Has(p.ID) {
		s.t.Fatalf("%s found no place", p.Name)
	}
	return id
}

// filled is a solo with members 1 to 5.
func filled(t *testing.T) (*solo, []proto.LinkID) {
	s := newSolo(t)
	var links []proto.LinkID
	for n := byte(1); n <= 5; n++ {
		links = append(links, s.joins(person(n)))
	}
	return s, links
}

func (s *solo) knows(people ...proto.PeerInfo) []proto.Output {
	return s.do(func(out *proto.Out) { s.Learn(s.now, people, out) })
}

func outputs[T proto.Output](list []proto.Output) []T {
	var found []T
	for _, o := range list {
		if x, ok := o.(T); ok {
			found = append(found, x)
		}
	}
	return found
}

func sent[T proto.Message](list []proto.Output) []T {
	var found []T
	for _, o := range outputs[proto.Send](list) {
		if x, ok := o.Msg.(T); ok {
			found = append(found, x)
		}
	}
	return found
}

func one[T any](t *testing.T, list []T) T {
	t.Helper()
	if len(list) != 1 {
		t.Fatalf("want exactly one %T, got %+v", *new(T), list)
	}
	return list[0]
}

func TestAPeerIsAMemberOnlyOnceItHasConfirmed(t *testing.T) {
	s := newSolo(t)
	d := one(t, outputs[proto.Dial](s.knows(person(1))))
	id, out := s.reaches(d, person(1))
	if req := one(t, sent[proto.Neighbor](out)); req.High || s.active.Len() != 0 {
		t.Fatal("the request went out with high priority, or counted as a yes")
	}
	out = s.says(id, person(1), proto.Accept{Self: person(1)})
	if up := one(t, outputs[proto.NeighborUp](out)); up.Link != id || up.Peer.ID != person(1).ID {
		t.Fatalf("up is %+v", up)
	}
}

func TestAcceptGoesOutBeforeTheNeighborIsUp(t *testing.T) {
	s := newSolo(t)
	id := s.comes(person(1))
	out := s.says(id, person(1), proto.Join{Self: person(1)})
	if _, ok := out[0].(proto.Send).Msg.(proto.Accept); !ok {
		t.Fatalf("first came %+v", out[0])
	}
	if _, ok := out[1].(proto.NeighborUp); !ok {
		t.Fatalf("then came %+v", out[1])
	}
}

func TestPriorityIsHighOnlyForTheLonelyThatOthersRefused(t *testing.T) {
	for members := range byte(4) {
		s := newSolo(t)
		for n := range members {
			s.joins(person(n + 1))
		}
		s.refusals = 2*s.cfg.Requests - 1
		dials := outputs[proto.Dial](s.knows(person(50), person(51)))
		for i, want := range []bool{false, members <= 1} {
			who := person(dials[i].Expect[0])
			id, out := s.reaches(dials[i], who)
			if got := one(t, sent[proto.Neighbor](out)).High; got != want {
				t.Errorf("with %d members and %d refusals high is %v", members, s.refusals, got)
			}
			s.says(id, who, proto.Refuse{Why: proto.RefuseFull})
		}
	}
}

func TestAFullNodeRedirectsAJoiner(t *testing.T) {
	s, _ := filled(t)
	id := s.comes(person(9))
	out := s.says(id, person(9), proto.Join{Self: person(9)})
	no := one(t, sent[proto.Refuse](out))
	if no.Why != proto.RefuseFull || len(no.Peers) != 5 {
		t.Fatalf("refused with %+v", no)
	}
	if h := one(t, outputs[proto.Hangup](out)); h.Link != id || !h.Flush {
		t.Fatalf("hung up with %+v", h)
	}
	if !s.passive.Has(person(9).ID) {
		t.Fatal("who was refused is forgotten")
	}
}

func TestAnEvictedMemberDrainsIsRememberedAndLeftAlone(t *testing.T) {
	s, _ := filled(t)
	id := s.comes(person(9))
	out := s.says(id, person(9), proto.Neighbor{Self: person(9), High: true})
	if len(sent[proto.Accept](out)) != 1 {
		t.Fatal("a request of high priority was not accepted")
	}
	bye := one(t, sent[proto.Bye](out))
	if bye.Why != proto.ByeEvicted || len(bye.Peers) < 4 || len(bye.Peers) > 8 || bye.Peers[0].ID != person(9).ID {
		t.Fatalf("bye is %+v", bye)
	}
	gone := one(t, outputs[proto.NeighborDraining](out))
	if len(outputs[proto.NeighborDown](out)) != 0 || !s.passive.Has(gone.Peer) || s.active.Has(gone.Peer) {
		t.Fatal("the evicted is not draining, or not remembered")
	}
	out = s.wait(time.Second)
	if h := one(t, outputs[proto.Hangup](out)); h.Link != gone.Link || !h.Flush {
		t.Fatalf("after the drain came %+v", h)
	}
	if down := one(t, outputs[proto.NeighborDown](out)); down.Why != "evicted" {
		t.Fatalf("down because %q", down.Why)
	}
	if out = s.ends(gone.Link, proto.DownHungUp); len(out) != 0 {
		t.Fatalf("its LinkDown did something: %+v", out)
	}
	// Room appears, and the evicted is the only one known: it is asked after the cool-down.
	s.ends(id, proto.DownReset)
	if out = s.wait(8 * time.Second); len(outputs[proto.Dial](out)) != 0 {
		t.Fatal("asked within the cool-down")
	}
	if out = s.wait(10 * time.Second); len(outputs[proto.Dial](out)) == 0 {
		t.Fatal("not asked after it")
	}
}

func TestAFailedMemberIsNotRemembered(t *testing.T) {
	s, links := filled(t)
	out := s.ends(links[2], proto.DownReset)
	if down := one(t, outputs[proto.NeighborDown](out)); down.Why != "failed" || down.Down != proto.DownReset {
		t.Fatalf("down is %+v", down)
	}
	s.knows(person(3)) // hearsay
	if s.passive.Has(person(3).ID) {
		t.Fatal("the failed member is in the passive view")
	}
	back := person(3)
	back.Incarnation = 2
	s.knows(back)
	if !s.passive.Has(person(3).ID) && !s.asking(person(3).ID) {
		t.Fatal("its next incarnation is not believed either")
	}
}

func TestRepairFollowsFailureAtOnceAndEvictionAtTheNextTick(t *testing.T) {
	s, links := filled(t)
	s.knows(person(20), person(21), person(22))
	out := s.says(links[0], person(1), proto.Bye{Why: proto.ByeEvicted})
	if len(outputs[proto.Dial](out)) != 0 {
		t.Fatal("an eviction was repaired at once")
	}
	out = s.wait(time.Second)
	d := one(t, outputs[proto.Dial](out))
	_, _ = s.reaches(d, proto.PeerInfo{ID: d.Expect, Addrs: d.Addrs})

	s, links = filled(t)
	s.knows(person(20), person(21), person(22))
	one(t, outputs[proto.Dial](s.ends(links[0], proto.DownReset)))
}

func TestOldLinksTellNothing(t *testing.T) {
	s := newSolo(t)
	old := s.joins(person(1))
	id := s.comes(person(1)) // it has lost the old link and asks again
	out := s.says(id, person(1), proto.Neighbor{Self: person(1)})
	if down := one(t, outputs[proto.NeighborDown](out)); down.Link != old || down.Why != "replaced" {
		t.Fatalf("down is %+v", down)
	}
	if up := one(t, outputs[proto.NeighborUp](out)); up.Link != id {
		t.Fatalf("up is %+v", up)
	}
	if out = s.says(old, person(1), proto.Bye{Why: proto.ByeEvicted}); len(outputs[proto.Ignored](out)) != 1 || !s.active.Has(person(1).ID) {
		t.Fatal("a word over the old link counted")
	}
	if out = s.ends(old, proto.DownReset); len(out) != 0 || !s.active.Has(person(1).ID) {
		t.Fatal("the end of the old link counted")
	}
}

func TestOfTwoDialsTheLowerIDsStays(t *testing.T) {
	for _, other := range []byte{50, 150} { // lower and higher than the solo's 100
		s := newSolo(t)
		d := one(t, outputs[proto.Dial](s.knows(person(other))))
		ours, _ := s.reaches(d, person(other))
		theirs := s.comes(person(other))
		out := s.says(theirs, person(other), proto.Neighbor{Self: person(other)})
		if other < 100 { // theirs stays
			if up := one(t, outputs[proto.NeighborUp](out)); up.Link != theirs {
				t.Fatalf("up is %+v", up)
			}
			if h := one(t, outputs[proto.Hangup](out)); h.Link != ours {
				t.Fatalf("hung up %+v", h)
			}
			continue
		}
		if no := one(t, sent[proto.Refuse](out)); no.Why != proto.RefuseAlready {
			t.Fatalf("refused because %v", no.Why)
		}
		out = s.says(ours, person(other), proto.Accept{Self: person(other)})
		if up := one(t, outputs[proto.NeighborUp](out)); up.Link != ours {
			t.Fatalf("up is %+v", up)
		}
		late := s.comes(person(other)) // a request that crossed ours and was slow
		if no := one(t, sent[proto.Refuse](s.says(late, person(other), proto.Neighbor{Self: person(other)}))); no.Why != proto.RefuseAlready {
			t.Fatalf("the late one was refused because %v", no.Why)
		}
		s.wait(2 * time.Second)
		again := s.comes(person(other)) // no crossing takes that long: it has lost our link
		if len(sent[proto.Accept](s.says(again, person(other), proto.Neighbor{Self: person(other)}))) != 1 {
			t.Fatal("who lost its link is refused for ever")
		}
	}
}

func TestAnUnansweredRequestIsTakenBack(t *testing.T) {
	s := newSolo(t)
	d := one(t, outputs[proto.Dial](s.knows(person(1))))
	id, _ := s.reaches(d, person(1))
	out := s.wait(500 * time.Millisecond)
	if one(t, sent[proto.Bye](out)); one(t, outputs[proto.Hangup](out)).Link != id {
		t.Fatal("not taken back")
	}
	out = s.says(id, person(1), proto.Accept{Self: person(1)})
	if s.active.Len() != 0 || len(outputs[proto.Ignored](out)) != 1 {
		t.Fatal("a late yes counted")
	}
}

func TestWhatNobodyAskedForIsIgnored(t *testing.T) {
	s, links := filled(t)
	idle := s.comes(person(9))
	for name, out := range map[string][]proto.Output{
		"accept":        s.says(links[0], person(1), proto.Accept{Self: person(1)}),
		"refuse":        s.says(links[0], person(1), proto.Refuse{Why: proto.RefuseFull}),
		"request":       s.says(links[0], person(1), proto.Neighbor{Self: person(1), High: true}),
		"shuffle reply": s.says(links[0], person(1), proto.ShuffleReply{Peers: []proto.PeerInfo{person(30)}}),
		"walk":          s.says(idle, person(9), proto.ForwardJoin{Joiner: person(31), TTL: 3}),
		"shuffle":       s.says(idle, person(9), proto.Shuffle{Origin: person(9), TTL: 3, Peers: []proto.PeerInfo{person(32)}}),
		"our own walk":  s.says(links[0], person(1), proto.ForwardJoin{Joiner: person(100), TTL: 3}),
		"forged":        s.says(idle, person(9), proto.Neighbor{Self: person(8), High: true}),
		"unknown link":  s.says(999, person(9), proto.Join{Self: person(9)}),
	} {
		if len(outputs[proto.Ignored](out)) != 1 {
			t.Errorf("%s: %+v", name, out)
		}
	}
	if s.active.Len() != 5 || s.passive.Len() != 0 {
		t.Fatalf("views are %d and %d", s.active.Len(), s.passive.Len())
	}
}

func TestWalksShrinkWhateverTheyClaim(t *testing.T) {
	s, links := filled(t)
	w := one(t, sent[proto.ForwardJoin](s.says(links[0], person(1), proto.ForwardJoin{Joiner: person(9), TTL: 255})))
	if w.TTL >= s.cfg.ARWL {
		t.Fatalf("TTL %d after 255", w.TTL)
	}
	sh := one(t, sent[proto.Shuffle](s.says(links[0], person(1), proto.Shuffle{Origin: person(9), TTL: 255})))
	if sh.TTL >= s.cfg.ARWL {
		t.Fatalf("TTL %d after 255", sh.TTL)
	}
}

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
	s, links := filled(t)
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

	s, links = filled(t)
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
		s.do(func(out *proto.Out) { s.Forget(s.now, person(id).ID, out) })
	}
	if s.passive.Has(person(9).ID) || !s.active.Has(person(1).ID) {
		t.Fatal("forgot the wrong one")
	}
	s.knows(person(9))
	if s.passive.Has(person(9).ID) {
		t.Fatal("hearsay brought it back")
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
