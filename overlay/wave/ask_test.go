package wave

import (
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

func TestWhoAsksIsAnsweredWhateverBecameOfTheCall(t *testing.T) {
	s := newSolo(t, 4)
	a, b := s.pooled(1), s.pooled(2)
	ask := s.direct(1, 1)
	s.on(a, 1, ask)
	s.wants("Answer>1001 Dispatch")
	s.on(a, 1, ask)
	s.on(b, 2, ask)
	s.wants("Answer>1001 Answer>1002")
	s.result(ask.Call.ID, reply("x"))
	s.wants("Answer>1001 Answer>1002")
	s.on(b, 2, ask)
	if r := look[proto.Answer](s)[0].Result; r == nil || string(r.Result.Payload) != "x" {
		t.Error("the kept result is not returned")
	}
	s.pass(time.Minute)
	s.said()
	s.on(b, 2, ask)
	if r := look[proto.Answer](s)[0].Result; r == nil || r.Result.Executed != proto.ExecutedMaybe {
		t.Errorf("of a forgotten call it says %+v, want that it may have run", r)
	}
}

func TestWhoAsksForACancelledCallIsAnswered(t *testing.T) {
	s := newSolo(t, 3)
	p := s.pooled(1)
	ask := s.direct(1, 1)
	s.on(p, 1, ask)
	s.on(p, 1, proto.Cancel{ID: ask.Call.ID})
	s.said()
	s.on(p, 1, ask)
	if a := look[proto.Answer](s); len(a) != 1 || a[0].Result == nil || a[0].Result.Result.Executed != proto.ExecutedMaybe {
		t.Errorf("it is answered %+v", a)
	}
}

func TestANodeReachedDirectlyJoinsTheWaveThatComesLater(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1, 2)
	m := s.call(1, 1)
	s.on(s.pooled(1), 1, proto.Ask{Call: m})
	s.wants("Answer>1001 Dispatch")
	s.result(m.ID, reply("x"))
	s.said()
	s.from(2, m)
	s.wants("Took>2 Call>1")
	s.from(1, m)
	if e := look[proto.Echo](s); len(e) != 1 || len(e[0].Results) != 1 {
		t.Errorf("it echoes %+v", e)
	}
	if s.w.openCalls != 0 || s.w.openBytes != 0 {
		t.Error("it counts as open for ever")
	}
}

func TestAStatusIsToldAndNothingRuns(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1)
	m := s.call(2, 1)
	stage := func(want proto.Stage) {
		t.Helper()
		s.said()
		s.from(1, proto.StatusAsk{ID: m.ID})
		if a := look[proto.StatusAnswer](s); len(a) != 1 || a[0].Stage != want || (a[0].Result != nil) != (want == proto.StageFinished) {
			t.Errorf("it says %+v, want %v", a, want)
		}
	}
	stage(0)
	s.from(1, m)
	stage(proto.StageStarted)
	s.result(m.ID, reply("x"))
	stage(proto.StageFinished)
}

func TestAHelperAsksAndSaysWhatCameOfIt(t *testing.T) {
	s := newSolo(t, 5)
	s.linked(1, 2)
	help := func(i int, seq uint64) proto.Help {
		m := s.call(i, seq)
		m.ID.Target = who(4)
		return proto.Help{Target: s.info(4), Ask: proto.Ask{Call: m, Via: who(0)}}
	}
	s.from(1, help(1, 1))
	s.wants("Ask=>4")
	id := help(1, 1).Ask.Call.ID
	pool := s.pooled(4)
	s.on(pool, 4, proto.Answer{ID: id, Node: who(4)})
	s.wants("Answer>1")
	r := reply("x")
	s.on(pool, 4, proto.Answer{ID: id, Node: who(4), Result: &proto.NodeResult{Node: who(4), Result: r}})
	s.wants("Answer>1")
	s.down(pool, 4)
	s.wants("") // it is over

	h := help(1, 2)
	s.from(1, h)
	s.failed(4, h.Ask)
	s.wants("Ask=>4 Helpless>1")
	s.from(1, help(1, 3))
	s.said()
	s.down(s.pooled(4), 4) // after the receipt, perhaps: it must not be waited for
	s.wants("Helpless>1")
	s.from(2, help(2, 1))
	s.down(2, 2)
	s.said()
	if len(s.w.helping) != 0 {
		t.Error("it helps somebody who is gone")
	}
	for seq := range uint64(helpMax + 1) {
		s.from(1, help(1, 10+seq))
	}
	if n := len(look[proto.Helpless](s)); n != 1 || len(s.w.helping) != helpMax {
		t.Errorf("beyond the bound %d are refused and %d are helped", n, len(s.w.helping))
	}
	s.pass(time.Minute)
	s.said()
	s.from(1, help(1, 5000))
	s.wants("Ask=>4") // the others are long over
}

func TestALargeBodyIsPulledFromWhoeverHasIt(t *testing.T) {
	s := newSolo(t, 6)
	s.linked(1, 2, 3, 4)
	m := s.call(5, 1, func(m *proto.Call) { m.Size = 5000 })
	s.from(1, m)
	s.wants("Took>1 Call>2 Call>3 Call>4 Pull>1")
	s.from(2, m)
	s.from(3, m)
	s.from(4, proto.Pull{ID: m.ID}) // a child of ours waits with us
	s.wants("")
	s.from(1, proto.CallBody{ID: m.ID, Gone: true})
	s.wants("Pull>2")
	s.down(2, 2)
	s.wants("Pull>3")
	s.from(3, proto.CallBody{ID: m.ID, Payload: []byte("short")})
	s.wants("Pull=>5") // at last the caller
	s.down(s.pooled(5), 5)
	s.wants("Pull=>5")
	s.from(3, proto.CallBody{ID: m.ID, Payload: make([]byte, 5000)})
	s.wants("CallBody>4 Dispatch")
	s.from(4, proto.Pull{ID: m.ID})
	s.wants("CallBody>4")
	s.result(m.ID, reply("x"))
	s.from(4, echo(m.ID, 1, true, 4))
	s.said()
	s.from(4, proto.Pull{ID: m.ID})
	if b := look[proto.CallBody](s); len(b) != 1 || !b[0].Gone || s.w.calls[m.ID].msg.Payload != nil {
		t.Error("a finished call still holds its request")
	}
}

func TestABodyThatNobodyHasIsAskedForAgainWhenSomebodyTurnsUp(t *testing.T) {
	s := newSolo(t, 4)
	s.linked(1, 2)
	m := s.call(3, 1, func(m *proto.Call) { m.Size = 5000 })
	s.from(1, m)
	s.said()
	s.down(1, 1)
	if got := s.said(); got != "Adopt=>3 Pull=>3" {
		t.Fatalf("an orphan without the body does %s", got)
	}
	s.failed(3, proto.Pull{ID: m.ID})
	s.wants("")
	s.from(2, m)
	s.wants("Pull>2")
	s.on(s.pooled(3), 3, proto.Ask{Call: s.call(3, 1, func(m *proto.Call) { m.Payload = make([]byte, 5000) })})
	s.wants("Answer>1003 Dispatch") // the ask brought it
}

func TestABodyThatDoesNotComeInTimeNeverRan(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1)
	m := s.call(1, 1, func(m *proto.Call) { m.Size = 5000 })
	s.from(1, m)
	s.pass(m.Remaining + s.w.cfg.Flush)
	for _, e := range look[proto.Echo](s) {
		if e.Final && (len(e.Results) != 1 || e.Results[0].Result.Executed != proto.ExecutedNo) {
			t.Errorf("it says %+v", e)
		}
	}
	s.said()
	s.from(1, proto.CallBody{ID: m.ID, Payload: make([]byte, 5000)})
	s.wants("")
}

func TestARelayThatDoesNotRunFetchesTheBodyForItsChildrenAlone(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1, 2)
	m := s.call(1, 1, func(m *proto.Call) { m.Size, m.Select.Group = 5000, "g" })
	s.from(1, m)
	s.wants("Took>1 Call>2")
	s.from(2, proto.Pull{ID: m.ID})
	s.wants("Pull>1")
	s.from(1, proto.CallBody{ID: m.ID, Payload: make([]byte, 5000)})
	s.wants("CallBody>2")
}

func TestALargeReplyGoesUpAsItsSize(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1, 2)
	m := s.call(1, 1)
	s.from(1, m)
	s.from(2, m)
	large := string(make([]byte, s.w.cfg.InlineReply+1))
	s.result(m.ID, reply(large))
	r := look[proto.Echo](s)[0].Results[0].Result
	if len(r.Payload) != 0 || int(r.Size) != len(large) {
		t.Errorf("%d bytes go up for a size of %d", len(r.Payload), r.Size)
	}
	s.said()
	s.on(s.pooled(1), 1, proto.Ask{Call: m})
	if a := look[proto.Answer](s); len(a[0].Result.Result.Payload) != len(large) {
		t.Error("asked directly it does not give the payload")
	}
}

func TestARelayCarriesSoManyBytesAndThenSizes(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1, 2)
	m := s.call(1, 1)
	s.from(1, m)
	s.from(2, m) // not yet: the handler holds the echo
	const each = 8000
	carried := 0
	for i := range 20 {
		s.from(1, proto.Echo{ID: m.ID, Round: 1, Results: []proto.NodeResult{{Node: who(10 + i), Result: reply(string(make([]byte, each)))}}})
		s.pass(5 * time.Millisecond)
	}
	for _, e := range look[proto.Echo](s) {
		for _, r := range e.Results {
			if carried += len(r.Result.Payload); r.Result.Size != each {
				t.Error("the size is lost")
			}
		}
	}
	if carried > s.w.cfg.RelayBytes || carried < s.w.cfg.RelayBytes-each {
		t.Errorf("it carried %d bytes, want nearly %d", carried, s.w.cfg.RelayBytes)
	}
}

func TestAKeptReplyThatHadToGoIsToldAsLost(t *testing.T) {
	s := newSolo(t, 3, func(c *Config) { c.KeptBytes = 10 })
	p := s.pooled(1)
	first, second := s.direct(1, 1), s.direct(1, 2)
	s.on(p, 1, first)
	s.on(p, 1, second)
	s.result(first.Call.ID, reply("sixsix"))
	s.result(second.Call.ID, reply("sixsix"))
	s.said()
	s.on(p, 1, first)
	s.on(p, 1, second)
	a := look[proto.Answer](s)
	if r := a[0].Result.Result; r.Outcome != proto.ResultLost || r.Executed != proto.ExecutedYes || r.Size != 0 {
		t.Errorf("of the evicted reply it says %+v", r)
	}
	if r := a[1].Result.Result; r.Outcome != proto.Replied || s.w.keptBytes != 6 {
		t.Errorf("the newer reply is %+v, %d bytes are kept", r, s.w.keptBytes)
	}
}

// A window that was dropped may have seen what now comes late: that never runs.
func TestWindowsAreBoundedAndWhatTheySawNeverRunsAgain(t *testing.T) {
	s := newSolo(t, 40, func(c *Config) { c.WindowsMax = 20 })
	s.linked(1)
	early := s.call(39, 1, func(m *proto.Call) { m.Elapsed = time.Second })
	for i := 2; i < 22; i++ {
		s.from(1, s.call(i, 1))
	}
	s.said()
	s.from(1, early)
	s.wants("Seen>1") // all windows are in use
	late := s.call(2, 1)
	s.pass(2 * windowIdle)
	s.said()
	s.from(1, s.call(30, 1))
	s.wants("Seen>1") // it might be a copy of a call that began before the others were dropped
	s.pass(time.Millisecond)
	s.w.Timing(s.now, 1, time.Millisecond, 0) // as the pings do all along
	late.Elapsed, late.Remaining, late.Stamp = s.now.Sub(time.Unix(5000, 0).Add(time.Hour)), time.Hour, s.w.clock(s.now)
	s.from(1, late)
	s.wants("Seen>1")
	s.from(1, s.call(31, 1))
	s.wants("Took>1 Dispatch")
	if len(s.w.windows) > 20 {
		t.Errorf("%d windows", len(s.w.windows))
	}
}

// A caller whose window was dropped gets a new one with its next call. That one has not seen what ran before.
func TestAWindowThatCameBackRunsNothingFromBefore(t *testing.T) {
	s := newSolo(t, 6, func(c *Config) { c.WindowsMax, c.CallsMax = 2, 2 })
	s.linked(1)
	ran := s.call(2, 1, func(m *proto.Call) { m.Remaining = time.Hour })
	began := s.now
	s.from(1, ran)
	s.result(ran.ID, reply("x"))
	s.from(1, s.call(3, 1)) // no room in the table: the entry of the first goes
	s.from(1, s.call(3, 2))
	s.pass(2 * windowIdle)
	s.w.Timing(s.now, 1, time.Millisecond, 0) // as the pings do all along
	s.from(1, s.call(4, 1))                   // no room for windows: all that are idle go
	s.pass(time.Second)
	s.from(1, s.call(2, 2))
	s.said()
	ran.Elapsed, ran.Stamp = s.now.Sub(began), s.w.clock(s.now)
	ran.Remaining -= ran.Elapsed
	s.from(1, ran)
	s.wants("Seen>1")
}

func TestAWindowOfACallThatStillRunsIsKept(t *testing.T) {
	s := newSolo(t, 10, func(c *Config) { c.WindowsMax = 2 })
	s.linked(1)
	s.from(1, s.call(2, 1, func(m *proto.Call) { m.Remaining = time.Hour }))
	s.from(1, s.call(3, 1))
	s.pass(2 * windowIdle)
	s.from(1, s.call(4, 1))
	if len(s.w.windows) != 1 || s.w.windows[windowKey{caller: who(2)}] == nil {
		t.Errorf("of the windows %d are left", len(s.w.windows))
	}
}

func TestSequencesToTargetsAreBoundedAndNeverRepeat(t *testing.T) {
	s := newSolo(t, 60, func(c *Config) { c.WindowsMax = 20 })
	last := map[peer.ID]uint64{}
	for round := range 3 {
		for i := 1; i < 60; i++ {
			s.ask(proto.StartCall{Select: proto.Selector{IDs: []peer.ID{who(i)}}})
			a := look[proto.Ask](s)
			id := a[0].Call.ID
			if id.Seq <= last[who(i)] || a[0].Call.Oldest != id.Seq {
				t.Fatalf("round %d: number %d after %d, oldest %d", round, id.Seq, last[who(i)], a[0].Call.Oldest)
			}
			last[who(i)] = id.Seq
			s.on(s.pooled(i), i, proto.Answer{ID: id, Node: who(i), Result: &proto.NodeResult{Node: who(i), Result: reply("x")}})
			s.said()
		}
	}
	if len(s.w.directSeq) > 20 {
		t.Errorf("%d sequences", len(s.w.directSeq))
	}
}
