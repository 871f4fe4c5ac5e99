package wave

import (
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

func TestTheReceiptGoesFirstThenTheCallThenTheHandler(t *testing.T) {
	s := newSolo(t, 4)
	s.linked(1, 2, 3)
	s.from(1, s.call(1, 1))
	s.wants("Took>1 Call>2 Call>3 Dispatch")
}

func TestEveryCallGetsExactlyOneAnswerOnItsLink(t *testing.T) {
	s := newSolo(t, 6)
	s.linked(1, 2, 3)
	m := s.call(5, 1)
	s.from(1, m)
	s.said()
	s.linked(4)
	s.from(2, m)
	s.wants("") // it crosses ours
	s.from(2, m)
	s.wants("Seen>2")
	s.from(4, m)
	s.wants("Seen>4") // outside the frozen set
	s.from(1, m)
	s.wants("Seen>1")
	s.from(3, proto.Seen{ID: m.ID, Round: 1})
	s.result(m.ID, reply("x"))
	s.wants("Echo>1")
	s.from(2, m)
	s.wants("Seen>2") // finished
	s.pass(time.Minute)
	if len(s.w.calls) != 0 {
		t.Fatal("the call is not forgotten")
	}
	s.from(2, m)
	s.wants("Seen>2") // forgotten, and remembered
}

func TestAnEchoWaitsForEveryLinkAndTheHandler(t *testing.T) {
	for name, last := range map[string]func(*solo, proto.CallID){
		"the handler": func(s *solo, id proto.CallID) { s.result(id, reply("x")) },
		"a child":     func(s *solo, id proto.CallID) { s.from(3, echo(id, 1, true, 3)) },
		"a crossing":  func(s *solo, _ proto.CallID) { s.from(2, s.call(1, 1)) },
		"a break":     func(s *solo, _ proto.CallID) { s.down(4, 4) },
	} {
		s := newSolo(t, 5)
		s.linked(1, 2, 3, 4)
		m := s.call(1, 1)
		s.from(1, m)
		s.from(3, proto.Took{ID: m.ID, Round: 1})
		if name != "the handler" {
			s.result(m.ID, reply("x"))
		}
		if name != "a child" {
			s.from(3, echo(m.ID, 1, true, 3))
		}
		if name != "a crossing" {
			s.from(2, m)
		}
		if name != "a break" {
			s.down(4, 4)
		}
		s.pass(10 * time.Millisecond)
		for _, e := range look[proto.Echo](s) {
			if e.Final {
				t.Errorf("it echoed before %s", name)
			}
		}
		s.said()
		last(s, m.ID)
		s.wants("Echo>1")
	}
}

func TestALateReceiptDoesNotReopenALink(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1, 2)
	m := s.call(1, 1)
	s.from(1, m)
	s.from(2, echo(m.ID, 1, true, 2))
	s.from(2, proto.Took{ID: m.ID, Round: 1})
	s.said()
	s.result(m.ID, reply("x"))
	s.wants("Echo>1")
}

func TestAHopLeavesTimeForTheWayBackAndSubtractsTheFramesAge(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1, 2)
	m := s.call(1, 1)
	s.now = s.now.Add(20 * time.Millisecond) // it was under way for so long
	s.from(1, m)
	age := 20*time.Millisecond + 500*time.Microsecond // and half a round trip of doubt
	age += 20 * time.Microsecond                      // and what the clocks may have drifted apart since
	calls, runs := look[proto.Call](s), look[proto.Dispatch](s)
	if want := m.Remaining - age; runs[0].Budget != want {
		t.Errorf("the handler has %v, want %v", runs[0].Budget, want)
	}
	if want := m.Remaining - age - 2*time.Millisecond - 2*s.w.cfg.Flush; calls[0].Remaining != want || calls[0].Elapsed != age {
		t.Errorf("the child has %v after %v, want %v after %v", calls[0].Remaining, calls[0].Elapsed, want, age)
	}
}

func TestALateFirstCallIsRefusedForGoodAndNotRelayed(t *testing.T) {
	s := newSolo(t, 4)
	s.linked(1, 2, 3)
	m := s.call(1, 1, func(m *proto.Call) { m.Remaining = time.Microsecond })
	s.from(1, m)
	e := look[proto.Echo](s)
	s.wants("Took>1 Echo>1")
	if r := e[0].Results[0].Result; r.Outcome != proto.Rejected || r.Executed != proto.ExecutedNo {
		t.Errorf("it said %v, executed %v", r.Outcome, r.Executed)
	}
	s.from(2, proto.Ask{Call: m})
	a := look[proto.Answer](s)
	if a[0].Result == nil || a[0].Result.Result.Executed != proto.ExecutedNo {
		t.Error("the refusal is not repeated to a later copy")
	}
}

func TestACopyOfARunningCallIsNeverRefusedHoweverLate(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1, 2)
	m := s.call(1, 1)
	s.from(1, m)
	s.pass(m.Remaining + time.Second)
	s.said()
	s.from(2, proto.Ask{Call: m})
	if a := look[proto.Answer](s); len(a) != 1 || a[0].Result != nil {
		t.Fatalf("a late asker is answered %+v, want a receipt", a)
	}
	s.result(m.ID, reply("x"))
	if a := look[proto.Answer](s); len(a) != 2 || a[1].Result.Result.Executed != proto.ExecutedYes {
		t.Error("the asker was not told the result")
	}
}

func TestAnotherRoundIsAFirstReceiptThatRunsNothing(t *testing.T) {
	s := newSolo(t, 4)
	s.linked(1, 2, 3)
	star := func(m *proto.Call) { m.Round = 0; m.Payload = []byte("body") }
	s.from(1, s.call(1, 1, star))
	s.wants("Dispatch") // TOOK comes after a moment, unless the reply comes first
	s.pass(s.w.cfg.StarReceipt)
	s.wants("Took>1")
	m := s.call(1, 1, func(m *proto.Call) { m.Payload = []byte("body") })
	s.result(m.ID, reply("kept"))
	s.wants("Echo>1")
	s.from(2, m)
	if c := look[proto.Call](s); len(c) != 2 || string(c[0].Payload) != "body" || c[0].Round != 1 {
		t.Errorf("it passes on %+v", c)
	}
	s.wants("Took>2 Call>1 Call>3")
	s.from(1, s.call(1, 1, star))
	s.wants("Seen>1") // an older round
	s.from(1, m)
	s.from(3, m)
	e := look[proto.Echo](s)
	s.wants("Echo>2")
	if len(e[0].Results) != 1 || string(e[0].Results[0].Result.Payload) != "kept" {
		t.Errorf("the kept result is not echoed: %+v", e)
	}
}

func TestReceiptsOfAnOlderRoundGoNoFurther(t *testing.T) {
	s := newSolo(t, 4)
	s.linked(1, 2)
	m := s.call(3, 1)
	s.from(1, m)
	s.from(2, proto.Echo{ID: m.ID, Round: 0, Receipts: receipts([2]int{3, 2}), Results: echo(m.ID, 0, false, 3).Results})
	s.pass(s.w.cfg.Flush)
	for _, e := range look[proto.Echo](s) {
		if len(e.Receipts) != 1 || len(e.Results) != 1 {
			t.Errorf("it passes on %+v", e)
		}
	}
}

func TestAnExcludedNodeRelaysAndSaysNothingOfItself(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1, 2)
	m := s.call(1, 1, func(m *proto.Call) { m.Excluded = append(m.Excluded, who(0)) })
	s.from(1, m)
	s.wants("Took>1 Call>2")
	s.from(2, m)
	if e := look[proto.Echo](s); len(e[0].Results) != 0 || len(e[0].Receipts) != 1 {
		t.Errorf("it says %+v", e[0])
	}
	s.wants("Echo>1")
}

func TestACancelGoesToUnansweredAndChildLinksAlone(t *testing.T) {
	s := newSolo(t, 6)
	s.linked(1, 2, 3, 4, 5)
	m := s.call(1, 1)
	s.from(1, m)
	s.from(2, m)
	s.from(3, proto.Took{ID: m.ID, Round: 1})
	s.from(4, proto.Seen{ID: m.ID, Round: 1})
	s.said()
	s.from(1, proto.Cancel{ID: m.ID})
	s.wants("CancelDispatch Cancel>3 Cancel>5")
	s.from(5, m)
	s.from(5, s.call(1, 1, func(m *proto.Call) { m.Round = 2 }))
	s.wants("Seen>5")
	s.result(m.ID, reply("x"))
	s.wants("")
	if s.w.openCalls != 0 {
		t.Error("it is still open")
	}
}

func TestACancelledCallThatWasNeverSeenDoesNotRun(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1, 2)
	s.from(1, proto.Cancel{ID: s.call(1, 7).ID})
	s.from(2, s.call(1, 7))
	s.wants("Seen>2")
	s.from(2, s.call(1, 8))
	s.wants("Took>2 Call>1 Dispatch")
}

func TestBelowTheOldestOpenAndFarAheadNothingRuns(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1, 2)
	oldest := func(n uint64) func(*proto.Call) { return func(m *proto.Call) { m.Oldest = n } }
	s.from(1, s.call(1, 5, oldest(4)))
	s.wants("Took>1 Call>2 Dispatch")
	s.from(1, s.call(1, 3, oldest(3)))
	s.wants("Seen>1")
	s.from(1, s.call(1, 5+70000, oldest(5)))
	s.wants("Seen>1")
	s.from(1, s.call(1, 6, oldest(6))) // 5 is of no use to anybody any more
	s.wants("CancelDispatch Took>1 Call>2 Dispatch")
	if len(s.w.calls) != 1 {
		t.Error("what its caller has finished is not forgotten")
	}
}

func TestWhoMayNotRunSaysSoAndRelays(t *testing.T) {
	refused := func(why string, set func(*solo, *proto.Call)) {
		t.Helper()
		s := newSolo(t, 3)
		s.linked(1, 2)
		m := s.call(1, 1)
		set(s, &m)
		s.from(1, m)
		s.from(2, m)
		e := look[proto.Echo](s)
		if got := s.said(); got != "Took>1 Call>2 Echo>1" {
			t.Fatalf("%s: it did %s", why, got)
		}
		if r := e[0].Results[0].Result; r.Outcome != proto.Rejected || r.Executed != proto.ExecutedNo || r.Reason != why {
			t.Errorf("it said %v, %v: %s, want %s", r.Outcome, r.Executed, r.Reason, why)
		}
	}
	refused("not_selected", func(_ *solo, m *proto.Call) { m.Select.Group = "g" })
	refused("leaving", func(s *solo, _ *proto.Call) { s.w.Leave() })
	refused("draining", func(s *solo, _ *proto.Call) { s.roster.Members[0].Entry.Draining = true })
	refused("younger_than_the_call", func(_ *solo, m *proto.Call) { m.Elapsed = 2 * time.Hour })
}

func TestAtTheBudgetsEndAPartCloses(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1, 2)
	m := s.call(1, 1)
	s.from(1, m)
	s.from(2, proto.Took{ID: m.ID, Round: 1})
	s.pass(m.Remaining - time.Second)
	s.said()
	s.pass(time.Second + s.w.cfg.Flush)
	var pending []proto.Testimony
	for _, e := range look[proto.Echo](s) {
		for _, x := range e.Testimony {
			if x.Kind == proto.TestifyPending && e.Final {
				pending = append(pending, x)
			}
		}
	}
	if len(pending) != 2 || !pending[0].Received || len(look[proto.CancelDispatch](s)) != 1 {
		t.Errorf("it told %+v, want its child and itself", pending)
	}
}

func TestALinkThatDrainsTakesNothingNewUntilItIsBack(t *testing.T) {
	s := newSolo(t, 4)
	s.linked(1, 2, 3)
	s.w.NeighborDraining(2)
	s.from(1, s.call(1, 1))
	s.wants("Took>1 Call>3 Dispatch")
	s.linked(2)
	s.from(1, s.call(1, 2))
	s.wants("Took>1 Call>2 Call>3 Dispatch")
}

func TestTheTablesBoundIsARefusalForGood(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"one caller's": func(c *Config) { c.OpenMax = 1 },
		"all":          func(c *Config) { c.CallsMax = 1 },
		"bytes":        func(c *Config) { c.OpenBytes = 7 },
	} {
		s := newSolo(t, 3, change)
		s.linked(1, 2)
		body := func(m *proto.Call) { m.Payload = []byte("body") }
		first, second := s.call(1, 1, body), s.call(1, 2, body)
		s.from(1, first)
		s.said()
		s.from(1, second)
		e := look[proto.Echo](s)
		if got := s.said(); got != "Took>1 Echo>1" || e[0].Results[0].Result.Outcome != proto.Overloaded {
			t.Errorf("%s: it did %s", name, got)
		}
		s.from(2, second)
		s.wants("Seen>2")
		s.result(first.ID, reply("x"))
		s.from(2, first)
		s.said()
		s.from(1, s.call(1, 3, body))
		if got := s.said(); got != "Took>1 Call>2 Dispatch" {
			t.Errorf("%s: with room again it did %s", name, got)
		}
	}
}

func TestTheBoundOfOneCallerIsForItsWavesAndDirectCallsTogether(t *testing.T) {
	s := newSolo(t, 3, func(c *Config) { c.OpenMax = 2 })
	s.linked(1, 2)
	s.from(1, s.direct(1, 1))
	s.from(1, s.call(1, 1))
	s.said()
	s.from(1, s.direct(1, 2))
	if a := look[proto.Answer](s); len(a) != 1 || a[0].Result == nil || a[0].Result.Result.Outcome != proto.Overloaded {
		t.Errorf("a direct call beyond the bound got %v", a)
	}
	s.said()
	s.from(1, s.call(1, 2))
	s.wants("Took>1 Echo>1")
	s.from(2, s.call(2, 1)) // another's is not counted
	s.wants("Took>2 Call>1 Dispatch")
}
