package hyparview

import (
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

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
