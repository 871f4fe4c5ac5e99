package wave

import (
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// asked begins a call to the named nodes alone and returns the direct IDs by node.
func asked(s *solo, nodes ...int) map[int]proto.CallID {
	var in proto.StartCall
	for _, i := range nodes {
		in.Select.IDs = append(in.Select.IDs, who(i))
	}
	s.ask(in)
	return idsOf(nodes, look[proto.Ask](s))
}

func idsOf(nodes []int, asks []proto.Ask) map[int]proto.CallID {
	ids := map[int]proto.CallID{}
	for _, a := range asks {
		for _, i := range nodes {
			if a.Call.ID.Target == who(i) {
				ids[i] = a.Call.ID
			}
		}
	}
	return ids
}

func answer(id proto.CallID, i int) proto.Answer {
	return proto.Answer{ID: id, Node: who(i), Result: &proto.NodeResult{Node: who(i), Result: reply("x")}}
}

func TestATargetIsTriedOverItsLinkThenAPooledOneThenByHelpers(t *testing.T) {
	s := newSolo(t, 6)
	s.linked(1, 2, 3, 4, 5)
	id := asked(s, 1)[1]
	s.wants("Ask=>1")
	s.pass(s.w.cfg.AskPatience)
	fresh := false
	for _, o := range s.out {
		if to, ok := o.(proto.SendTo); ok {
			fresh = to.Fresh
		}
	}
	s.wants("Ask=>1")
	if !fresh {
		t.Error("the doubted link is tried again, not a pooled one")
	}
	s.failed(1, proto.Ask{Call: proto.Call{ID: id}})
	first := look[proto.Help](s)
	if len(first) != 1 || first[0].Target.ID != who(1) {
		t.Fatalf("helpers asked: %+v", first)
	}
	via := int(first[0].Ask.Via[2])
	s.said()
	s.failed(1, proto.Ask{Call: proto.Call{ID: id}})
	s.from(via%5+1, proto.Helpless{ID: id, Target: who(1)})
	s.wants("") // news of a way that was given up
	s.down(proto.LinkID(via), via)
	second := look[proto.Help](s)
	if len(second) != 1 || second[0].Ask.Via == first[0].Ask.Via {
		t.Fatal("a helper whose link broke is not replaced")
	}
	s.said()
	s.from(int(second[0].Ask.Via[2]), proto.Helpless{ID: id, Target: who(1)})
	if n := len(look[proto.Help](s)); n != 1 {
		t.Fatalf("%d helpers after one was helpless", n)
	}
	third := int(look[proto.Help](s)[0].Ask.Via[2])
	s.said()
	s.from(third, proto.Helpless{ID: id, Target: who(1)})
	s.wants("") // three are enough
	s.pass(s.w.cfg.AskRetry)
	s.wants("Ask=>1") // and once more
}

func TestATargetThatNothingReachedSurelyDidNotRun(t *testing.T) {
	s := newSolo(t, 3)
	ids := asked(s, 1, 2)
	s.wants("Ask=>1 Ask=>2")
	s.failed(1, proto.Ask{Call: proto.Call{ID: ids[1]}})
	s.pass(s.w.cfg.AskRetry)
	s.said()
	s.failed(1, proto.Ask{Call: proto.Call{ID: ids[1]}})
	v := look[proto.CallVerdict](s)
	if len(v) != 1 || v[0].Verdict != proto.Unreachable || v[0].Executed != proto.ExecutedNo || v[0].Stage != proto.StageNotSent || v[0].Attempts != 2 {
		t.Errorf("dialled in vain: %+v", v)
	}
	s.said()
	s.pass(time.Minute)
	v = look[proto.CallVerdict](s)
	if len(v) != 1 || v[0].Verdict != proto.Unreachable || v[0].Executed != proto.ExecutedMaybe {
		t.Errorf("sent and never heard of: %+v", v)
	}
}

func TestAFailedDialIsSharedForASecond(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(2)
	id := asked(s, 1)[1]
	s.failed(1, proto.Ask{Call: proto.Call{ID: id}})
	s.wants("Ask=>1 Help>2")
	asked(s, 1)
	s.wants("Help>2")
	s.pass(s.w.cfg.AskRetry)
	s.said()
	asked(s, 1)
	s.wants("Ask=>1")
}

func TestABoundOfOurOwnSaysNothingOfATarget(t *testing.T) {
	s := newSolo(t, 2)
	id := asked(s, 1)[1]
	s.do(func(out *proto.Out) {
		s.w.SendFailed(s.now, who(1), proto.Ask{Call: proto.Call{ID: id}}, proto.DialLocal, false, out)
	})
	s.said()
	asked(s, 1)
	s.wants("Ask=>1")
}

func TestAnAskWhoseLinkBreaksGoesOnFromTheFirstWay(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(2)
	id := asked(s, 1)[1]
	p := s.pooled(1)
	s.on(p, 1, proto.Answer{ID: id, Node: who(1)})
	s.pass(5 * time.Second)
	s.wants("Ask=>1") // it has the call: only its answer is missing
	s.down(p, 1)
	s.wants("Ask=>1")
	s.on(s.pooled(1), 1, answer(id, 1))
	s.wants("replied/yes CallDone")
	if s.w.asks != 0 || len(s.w.direct) != 0 {
		t.Errorf("%d asks, %d direct calls remain", s.w.asks, len(s.w.direct))
	}
}

func TestSoManyAreAskedAtOnceAndAReceiptMakesRoom(t *testing.T) {
	s := newSolo(t, 8, func(c *Config) { c.AsksMax = 2 })
	ids := asked(s, 1, 2, 3, 4, 5, 6)
	s.wants("Ask=>1 Ask=>2")
	s.on(s.pooled(1), 1, proto.Answer{ID: ids[1], Node: who(1)})
	ids[3] = look[proto.Ask](s)[0].Call.ID
	s.wants("Ask=>3") // however slow the handler of 1 is
	s.on(s.pooled(2), 2, answer(ids[2], 2))
	s.wants("replied/yes Ask=>4")
	s.failed(3, proto.Ask{Call: proto.Call{ID: ids[3]}})
	s.wants("Ask=>5") // while 3 pauses
	s.do(func(out *proto.Out) { s.w.Cancel(s.now, 1, out) })
	for _, c := range look[proto.Cancel](s) {
		if c.ID.Target == who(6) {
			t.Error("somebody who was never asked is cancelled")
		}
	}
	if s.w.asks != 0 {
		t.Errorf("%d asks remain", s.w.asks)
	}
	asked(s, 7)
	s.said()
	if s.w.asks != 1 {
		t.Errorf("%d asks", s.w.asks)
	}
}

func TestWhoWaitsForRoomToTheEndWasNotAttempted(t *testing.T) {
	s := newSolo(t, 4, func(c *Config) { c.AsksMax = 1 })
	s.ask(proto.StartCall{Budget: 100 * time.Millisecond, Select: proto.Selector{IDs: []peer.ID{who(1), who(2)}}})
	s.pass(time.Second)
	v := look[proto.CallVerdict](s)
	if len(v) != 2 || v[1].Verdict != proto.NotAttempted || v[1].Executed != proto.ExecutedNo || v[1].Attempts != 0 {
		t.Errorf("verdicts %+v", v)
	}
}

func TestLargeRepliesAreFetchedSoManyAtOnce(t *testing.T) {
	s := newSolo(t, 8, func(c *Config) { c.PullsMax = 2 })
	s.linked(1)
	id := started(s)
	s.from(1, took(id, 1))
	s.said()
	e := proto.Echo{ID: id, Round: 1}
	for i := 2; i < 7; i++ {
		e.Receipts = append(e.Receipts, proto.Receipt{Node: who(i), Parent: who(1), Round: 1})
		e.Results = append(e.Results, proto.NodeResult{Node: who(i), Result: proto.Result{Outcome: proto.Replied, Executed: proto.ExecutedYes, Size: 9000}})
	}
	s.from(1, e)
	s.wants("Ask=>2 Ask=>3")
	s.on(s.pooled(2), 2, answer(id, 2))
	s.wants("replied/yes Ask=>4")
	// 3 cannot be reached: that it ran is known, and the next has its turn.
	s.failed(3, proto.Ask{Call: proto.Call{ID: id}})
	s.said()
	s.pass(2 * s.w.cfg.AskPatience)
	s.pass(s.w.cfg.AskRetry)
	s.failed(3, proto.Ask{Call: proto.Call{ID: id}})
	s.from(1, proto.Helpless{ID: id, Target: who(3)})
	lost := false
	for _, v := range look[proto.CallVerdict](s) {
		lost = lost || v.Node == who(3) && v.Verdict == proto.ResultLost && v.Executed == proto.ExecutedYes
	}
	next := false
	for _, o := range s.out {
		if to, ok := o.(proto.SendTo); ok && to.Peer.ID == who(5) {
			next = true
		}
	}
	if !lost || !next {
		t.Errorf("the reply is lost: %v; the next is fetched: %v", lost, next)
	}
}

// Whose large reply waits for its turn is neither asked before that, when the wave ends, nor said to be in doubt when it goes.
func TestALargeReplyThatWaitsIsKnownToBeThere(t *testing.T) {
	s := newSolo(t, 5, func(c *Config) { c.PullsMax = 1 })
	s.linked(1)
	id := started(s)
	s.from(1, took(id, 1))
	s.said()
	e := proto.Echo{ID: id, Round: 1, Final: true, Spread: true, Results: echo(id, 1, true, 1).Results}
	for i := 2; i < 5; i++ {
		e.Results = append(e.Results, proto.NodeResult{Node: who(i), Result: proto.Result{Outcome: proto.Replied, Executed: proto.ExecutedYes, Size: 9000}})
	}
	s.from(1, e)
	s.wants("replied/yes Ask=>2")
	gone := &proto.Member{Entry: s.roster.Members[4].Entry, Status: proto.StatusDown, Since: s.now, Why: "certified"}
	s.do(func(out *proto.Out) {
		s.w.MemberChanged(s.now, proto.MemberChange{Kind: proto.ChangeDown, Member: gone}, out)
	})
	s.wants("result_lost/yes")
}

func TestAnAnswerByAskCountsOnceWhateverElseSaysIt(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1)
	id := started(s)
	s.from(1, proto.Echo{ID: id, Round: 1, Final: true, Spread: true, Results: echo(id, 1, true, 1).Results})
	s.wants("Call>1 replied/yes Ask=>2")
	s.on(s.pooled(2), 2, answer(id, 2))
	if v := look[proto.CallVerdict](s); v[0].Attempts != 2 { // by the wave, and straight
		t.Errorf("%d attempts", v[0].Attempts)
	}
	s.wants("replied/yes CallDone")
	s.on(s.pooled(2), 2, answer(id, 2))
	s.wants("")
}

func TestTheOwnRunOfADirectCallIsOneAttempt(t *testing.T) {
	for _, sel := range []proto.Selector{{IDs: []peer.ID{who(0)}}, {}} {
		s := newSolo(t, 2)
		s.linked(1)
		s.ask(proto.StartCall{Select: sel})
		s.result(look[proto.Dispatch](s)[0].ID, reply("x"))
		for _, v := range look[proto.CallVerdict](s) {
			if v.Node == who(0) && v.Attempts != 1 {
				t.Errorf("%d attempts", v.Attempts)
			}
		}
	}
}

func TestAHungHandlerOfTheOwnNodeTimesOut(t *testing.T) {
	s := newSolo(t, 1)
	s.ask(proto.StartCall{})
	s.pass(10*time.Second + s.w.cfg.Flush)
	v := look[proto.CallVerdict](s)
	if len(v) != 1 || v[0].Verdict != proto.TimedOut || v[0].Executed != proto.ExecutedMaybe {
		t.Errorf("it got %+v", v)
	}
	s.pass(time.Minute)
	if len(s.w.calls) != 0 || s.w.openCalls != 0 || s.w.questions.len() != 0 {
		t.Error("something of the call remains")
	}
}

func TestBeyondTheBoundACallIsRefusedAtOnce(t *testing.T) {
	s := newSolo(t, 2, func(c *Config) { c.OpenMax = 1 })
	s.ask(proto.StartCall{})
	s.said()
	s.ask(proto.StartCall{})
	s.wants("CallRefused")
}
