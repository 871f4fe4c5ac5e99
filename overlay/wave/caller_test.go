package wave

import (
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// started begins a call to everybody but ourselves and returns its ID.
func started(s *solo, change ...func(*proto.StartCall)) proto.CallID {
	in := proto.StartCall{Select: proto.Selector{NotSelf: true}}
	for _, f := range change {
		f(&in)
	}
	s.ask(in)
	id := look[proto.CallStarted](s)
	return id[len(id)-1].ID
}

func took(id proto.CallID, round uint8) proto.Took { return proto.Took{ID: id, Round: round} }

func reset(witness, node int) proto.Testimony {
	return proto.Testimony{Witness: who(witness), Node: who(node), Kind: proto.TestifyReset}
}

func receipts(pairs ...[2]int) (list []proto.Receipt) {
	for _, p := range pairs {
		list = append(list, proto.Receipt{Node: who(p[0]), Parent: who(p[1]), Round: 1})
	}
	return list
}

func TestAStarThatStaysSilentBecomesAWaveAndAsksNobodyYet(t *testing.T) {
	s := newSolo(t, 5)
	s.linked(1, 2, 3, 4)
	id := started(s)
	s.wants("Call>1 Call>2 Call>3 Call>4")
	s.from(1, took(id, 0)) // its handler is slow
	s.from(2, echo(id, 0, true, 2))
	s.said()
	s.pass(s.w.cfg.StarSilence)
	s.wants("") // a round trip more, and the more were asked, the longer
	s.pass(s.w.cfg.StarSilence)
	s.wants("Call>1 Call>2 Call>3 Call>4")
	if s.w.stats.StarsWidened != 1 {
		t.Errorf("widened %d times", s.w.stats.StarsWidened)
	}
	s.from(3, proto.Call{ID: id, Round: 0})
	s.wants("Seen>3")
	s.from(1, echo(id, 0, true, 1)) // in an older round verdicts still count
	s.wants("replied/yes")
}

func TestAStarWhoseLinkBreaksBecomesAWaveAtOnce(t *testing.T) {
	s := newSolo(t, 4)
	s.linked(1, 2, 3)
	id := started(s)
	s.said()
	s.from(1, took(id, 0))
	s.down(3, 3)
	s.wants("Call>1 Call>2")
	// The break belongs to the star: nothing of the wave waits for orphans.
	q := s.w.byRef[1]
	if len(q.cuts) != 0 || len(q.parents) != 0 {
		t.Errorf("receipts %v and breaks %v of the star are remembered", q.parents, q.cuts)
	}
}

func TestAnOrphanOfTheStarDoesNotHoldUpTheWave(t *testing.T) {
	s := newSolo(t, 4)
	s.linked(1, 2, 3)
	id := started(s)
	s.down(3, 3) // widened
	s.on(s.pooled(3), 3, proto.Adopt{Echo: proto.Echo{ID: id, Round: 0, Spread: true}})
	s.said()
	s.from(1, echo(id, 1, true, 1))
	s.from(2, proto.Echo{ID: id, Round: 1, Final: true, Spread: true})
	s.wants("replied/yes Ask=>3 Ask=>2")
}

func TestTheCallersOwnHandlerHoldsUpNobody(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1)
	id := started(s, func(in *proto.StartCall) { in.Select.NotSelf = false })
	s.wants("Call>1 Dispatch")
	last := echo(id, 1, true, 1)
	last.Receipts = receipts([2]int{2, 1}) // it had the call, and nothing more is owed
	s.from(1, last)
	s.wants("replied/yes Ask=>2")

	s = newSolo(t, 2)
	s.linked(1)
	id = started(s, func(in *proto.StartCall) { in.Select.NotSelf = false })
	s.said()
	s.from(1, echo(id, 0, true, 1))
	s.wants("replied/yes") // and no wave of nobody
	s.result(id, reply("x"))
	s.wants("replied/yes CallDone")
}

func TestALateAdoptIsAnsweredWithCancel(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1, 2)
	id := started(s)
	s.from(1, echo(id, 0, true, 1))
	s.from(2, echo(id, 0, true, 2))
	s.said()
	s.on(s.pooled(2), 2, proto.Adopt{Echo: proto.Echo{ID: id, Round: 1}})
	s.wants("Cancel>1002")
}

func TestACallThatIsCalledOffTellsAllWhoMayBeAtWork(t *testing.T) {
	s := newSolo(t, 8)
	s.linked(1, 2, 3)
	id := started(s)
	s.from(1, echo(id, 1, true, 1))
	s.from(2, took(id, 1))
	s.on(s.pooled(4), 4, proto.Adopt{Echo: proto.Echo{ID: id, Round: 1, Spread: true}})
	s.from(2, proto.Echo{ID: id, Round: 1, Spread: true})
	s.from(3, proto.Echo{ID: id, Round: 1, Spread: true})
	s.on(s.pooled(5), 5, proto.Answer{ID: id, Node: who(5)})
	s.on(s.pooled(6), 6, proto.Answer{ID: id, Node: who(6), Result: &proto.NodeResult{Node: who(6), Result: reply("x")}})
	s.said()
	s.do(func(out *proto.Out) { s.w.Cancel(s.now, 1, out) })
	s.wants("abandoned/maybe abandoned/maybe abandoned/maybe abandoned/maybe Cancel=>5 abandoned/maybe Cancel=>7 CallDone Cancel>2 Cancel>3 Cancel=>4")
	s.pass(time.Minute)
	s.wants("")
	if s.w.questions.len() != 0 || len(s.w.calls) != 0 {
		t.Error("the call is not forgotten")
	}
}

func TestEnoughRepliesEndACall(t *testing.T) {
	s := newSolo(t, 4)
	s.linked(1, 2, 3)
	id := started(s, func(in *proto.StartCall) { in.MinReplies = 2 })
	s.said()
	s.from(1, echo(id, 0, true, 1))
	bad := echo(id, 0, true, 2)
	bad.Results[0].Result.Outcome = proto.AppError
	s.from(2, bad)
	s.wants("replied/yes app_error/yes")
	s.from(3, echo(id, 0, true, 3))
	s.wants("replied/yes CallDone")
}

func TestASettledWaveDoesNotHoldBackItsSequence(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1, 2)
	id := started(s, func(in *proto.StartCall) { in.Budget = time.Hour })
	for i := 1; i < 3; i++ {
		e := echo(id, 0, false, i)
		s.from(i, e) // and never its last word: somebody who was not asked hangs there
	}
	s.said()
	s.pass(s.w.cfg.Linger)
	s.wants("Cancel>1 Cancel>2")
	if got := s.w.waveSeq.Oldest(); got != id.Seq+1 {
		t.Errorf("the oldest open is %d after call %d", got, id.Seq)
	}
}

func TestWhoWasNotAskedAndRanIsExtraOnce(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1, 2)
	id := started(s)
	s.said()
	e := echo(id, 0, false, 9)
	s.from(1, e)
	s.from(2, e)
	e.Results[0].Node, e.Results[0].Result.Executed = who(8), proto.ExecutedNo
	s.from(2, e)
	if v := look[proto.CallVerdict](s); len(v) != 1 || !v[0].Extra {
		t.Errorf("extra: %+v", v)
	}
}

func TestTheDownAreToldAndNeverDialled(t *testing.T) {
	const members = 100
	s := newSolo(t, members)
	s.linked(1)
	for i := 2; i < members; i++ {
		m := *s.roster.Members[i]
		m.Status, m.Since, m.Why = proto.StatusDown, s.now, "certified"
		s.roster.Members[i] = &m
	}
	id := started(s)
	no, maybe := 0, 0
	tally := func() {
		for _, v := range look[proto.CallVerdict](s) {
			switch {
			case v.Verdict == proto.Down && v.Executed == proto.ExecutedNo:
				if no++; v.Attempts != 0 {
					t.Errorf("%d attempts on one to whom nothing was sent", v.Attempts)
				}
			case v.Verdict == proto.Down:
				maybe++
			}
		}
	}
	tally()
	if c := look[proto.Call](s); len(c) != 1 || len(c[0].Excluded) != proto.MaxExcluded || no != proto.MaxExcluded {
		t.Fatalf("%d are down, %d excluded", no, len(c[0].Excluded))
	}
	s.said()
	s.from(1, echo(id, 1, true, 1))
	tally()
	if maybe != members-2-proto.MaxExcluded || len(look[proto.Ask](s)) != 0 || len(look[proto.CallDone](s)) != 1 {
		t.Errorf("%d more are down, %d asked", maybe, len(look[proto.Ask](s)))
	}
	s.ask(proto.StartCall{Select: proto.Selector{IDs: []peer.ID{who(5)}}})
	v := look[proto.CallVerdict](s)
	if last := v[len(v)-1]; last.Verdict != proto.Down || last.Executed != proto.ExecutedNo {
		t.Errorf("named and down: %v, %v", last.Verdict, last.Executed)
	}
}

func TestAllIsWhoLivesAndWhoDiedJustNow(t *testing.T) {
	s := newSolo(t, 7)
	change := func(i int, status proto.Status, ago time.Duration, superseded bool) {
		m := *s.roster.Members[i]
		m.Status, m.Since, m.Superseded = status, s.now.Add(-ago), superseded
		s.roster.Members[i] = &m
	}
	change(2, proto.StatusSuspect, time.Second, false)
	change(3, proto.StatusDown, 59*time.Second, false)
	change(4, proto.StatusDown, time.Minute, false)
	change(5, proto.StatusDown, time.Second, true) // a newer process bears its name
	change(6, proto.StatusLeft, time.Second, false)
	s.ask(proto.StartCall{})
	targets := look[proto.CallStarted](s)[0].Targets
	if len(targets) != 4 || targets[3].Entry.ID != who(3) {
		t.Errorf("%d targets, want 0 to 3", len(targets))
	}
	s.out = nil
	s.ask(proto.StartCall{Select: proto.Selector{IDs: []peer.ID{who(4), who(6)}}})
	s.wants("down/no left/no CallDone") // who is named is a target whatever became of it
}

func TestWhoGoesDownWhileAskedIsLostIfItHadTheCall(t *testing.T) {
	s := newSolo(t, 5)
	s.linked(1, 2, 3, 4)
	id := started(s)
	s.from(1, took(id, 0))
	s.from(3, took(id, 0))
	s.said()
	gone := func(i int, kind proto.ChangeKind, status proto.Status) {
		m := *s.roster.Members[i]
		m.Status, m.Why = status, "came back as a newer incarnation"
		s.do(func(out *proto.Out) { s.w.MemberChanged(s.now, proto.MemberChange{Kind: kind, Member: &m}, out) })
	}
	gone(4, proto.ChangeSuspect, proto.StatusSuspect)
	s.wants("")
	gone(1, proto.ChangeDown, proto.StatusDown)
	s.wants("lost/maybe")
	gone(2, proto.ChangeDown, proto.StatusDown)
	s.wants("down/maybe")
	gone(3, proto.ChangeLeft, proto.StatusLeft)
	s.wants("left/maybe")
	s.from(1, echo(id, 0, true, 1))
	s.wants("")
	if s.w.stats.Late != 1 {
		t.Error("a late answer is not counted")
	}
}

func TestNearTheEndTheSilentAreAskedForTheirStatus(t *testing.T) {
	s := newSolo(t, 4)
	s.linked(1, 2)
	id := started(s)
	s.from(1, took(id, 1))
	s.from(2, echo(id, 1, true, 2))
	s.from(1, proto.Echo{ID: id, Round: 1, Spread: true})
	s.on(s.pooled(3), 3, proto.Answer{ID: id, Node: who(3)}) // asked directly: it will be told
	s.pass(7999 * time.Millisecond)
	s.said()
	s.pass(time.Millisecond)
	s.wants("StatusAsk=>1")
	s.from(1, proto.StatusAnswer{ID: id, Node: who(1), Stage: proto.StageStarted})
	s.pass(2100 * time.Millisecond)
	v := look[proto.CallVerdict](s)
	if last := v[0]; last.Verdict != proto.TimedOut || last.Stage != proto.StageStarted || last.Executed != proto.ExecutedMaybe {
		t.Errorf("%v at %v, %v", last.Verdict, last.Stage, last.Executed)
	}
	s.pass(time.Second)
	if s.w.questions.len() != 0 {
		t.Error("the question stays")
	}
}

func TestATargetInAStarThatGaveNoWordIsAskedInTheEnd(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1, 2)
	id := started(s)
	s.from(1, proto.Seen{ID: id, Round: 0}) // it knows the call from elsewhere
	s.said()
	s.from(2, echo(id, 0, true, 2))
	s.wants("replied/yes Call>1 Call>2")
	s.from(1, proto.Seen{ID: id, Round: 1})
	s.from(2, proto.Echo{ID: id, Round: 1, Final: true})
	s.wants("Ask=>1")
}
