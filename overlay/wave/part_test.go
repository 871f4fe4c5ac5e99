package wave

import (
	"slices"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

func TestNothingNewIsSaidAfter25MillisecondsAndThenMoreRarely(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1, 2)
	m := s.call(1, 1)
	start := s.now
	s.from(1, m)
	s.from(2, m)
	var at []time.Duration
	for s.now.Sub(start) < 1500*time.Millisecond {
		s.said()
		s.pass(time.Millisecond)
		for range look[proto.Echo](s) {
			at = append(at, s.now.Sub(start).Round(time.Millisecond))
		}
	}
	ms := func(n ...time.Duration) (list []time.Duration) {
		for _, n := range n {
			list = append(list, n*time.Millisecond)
		}
		return list
	}
	// Its receipt after the flush, then 25, 50, 100, 200 and 250 ms apart.
	if want := ms(2, 27, 77, 177, 377, 627, 877, 1127, 1377); !slices.Equal(at, want) {
		t.Errorf("PART after %v, want %v", at, want)
	}
}

func TestNewsGoesUpAtOnceWhenThereIsMuchOfIt(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1, 2)
	m := s.call(1, 1)
	s.from(1, m)
	s.said()
	some := proto.Echo{ID: m.ID, Round: 1, Spread: true}
	for i := range s.w.cfg.FlushResults {
		some.Results = append(some.Results, proto.NodeResult{Node: who(10 + i), Result: reply("")})
	}
	s.from(2, some)
	s.wants("Part>1")
	s.from(2, proto.Echo{ID: m.ID, Round: 1, Results: []proto.NodeResult{{Node: who(3), Result: reply(string(make([]byte, s.w.cfg.FlushBytes)))}}})
	s.wants("Part>1")
	s.from(2, proto.Echo{ID: m.ID, Round: 1, Results: []proto.NodeResult{{Node: who(4), Result: reply("x")}}})
	s.wants("")
	s.pass(s.w.cfg.Flush)
	s.wants("Part>1")
}

// News that comes just before the empty PART takes its place, and the parent
// goes on to count from 25 ms.
func TestNewsTakesThePlaceOfAnEmptyPart(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1, 2)
	m := s.call(1, 1)
	s.from(1, m)
	s.pass(76 * time.Millisecond)
	s.said()
	s.from(2, proto.Echo{ID: m.ID, Round: 1, Results: []proto.NodeResult{{Node: who(4), Result: reply("x")}}})
	s.pass(25 * time.Millisecond)
	s.wants("Part>1")
	s.pass(2 * time.Millisecond)
	s.wants("Part>1")
}

func TestAChildThatFallsSilentIsToldOnceEachTime(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1, 2)
	m := s.call(1, 1)
	s.from(1, m)
	s.from(2, proto.Took{ID: m.ID, Round: 1})
	silences := func() (n int) {
		s.out = nil
		s.pass(400 * time.Millisecond)
		for _, e := range look[proto.Echo](s) {
			for _, x := range e.Testimony {
				if x.Kind == proto.TestifySilent && x.Node == who(2) && x.Received {
					n++
				}
			}
		}
		return n
	}
	if n := silences(); n != 1 {
		t.Fatalf("the first silence was told %d times", n)
	}
	s.from(2, proto.Echo{ID: m.ID, Round: 1})
	if n := silences(); n != 1 {
		t.Fatalf("the second silence was told %d times", n)
	}
	told := 0
	for range 10 {
		s.from(2, echo(m.ID, 1, false, 2))
		told += silences()
	}
	if told != testimonyMax-2 {
		t.Errorf("then it was told %d times more", told)
	}
}

func TestAnOrphanTellsTheCallerAllAndAllAgainWhenThatIsLost(t *testing.T) {
	s := newSolo(t, 6)
	s.linked(1, 2, 3)
	m := s.call(5, 1)
	s.from(1, m)
	s.from(3, m)
	s.from(2, proto.Echo{ID: m.ID, Round: 1, Spread: true, Results: echo(m.ID, 1, false, 2).Results,
		Receipts: []proto.Receipt{{Node: who(4), Parent: who(2), Round: 1}}})
	s.pass(5 * time.Millisecond)
	s.wants("Took>1 Call>2 Call>3 Dispatch Part>1")
	all := func(why string) {
		t.Helper()
		got := look[proto.Adopt](s)
		if len(got) != 1 || len(got[0].Echo.Results) != 1 || len(got[0].Echo.Receipts) != 2 || got[0].Echo.Final {
			t.Fatalf("%s: it sent %+v, want one with all that it knows", why, got)
		}
		s.wants("Adopt=>5")
	}
	s.down(1, 1)
	all("the parent's link broke")
	s.failed(5, proto.Adopt{Echo: proto.Echo{ID: m.ID, Round: 1}})
	s.wants("") // not at once: the dial would fail again
	s.pass(30 * time.Millisecond)
	all("the report was lost")
	s.down(s.pooled(5), 5)
	all("the caller's link broke")
	s.result(m.ID, reply("x"))
	s.from(2, echo(m.ID, 1, true, 2))
	s.out = s.out[:0]
	if p := s.w.calls[m.ID].part; !p.closed || len(p.all.results)+len(p.all.receipts) != 0 {
		t.Error("news is kept after the final report")
	}
}

func TestAnOrphanWhoseCallerIsGoneGivesUp(t *testing.T) {
	s := newSolo(t, 4)
	s.linked(1)
	m := s.call(3, 1)
	s.from(1, m)
	s.down(1, 1)
	s.said()
	s.roster.Members[3] = &proto.Member{Entry: s.roster.Members[3].Entry, Status: proto.StatusDown}
	s.failed(3, proto.Adopt{Echo: proto.Echo{ID: m.ID, Round: 1}})
	s.wants("CancelDispatch")
}
