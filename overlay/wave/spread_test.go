package wave

import (
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

func TestOnceAllHasSpreadWhoWasNotReachedIsAsked(t *testing.T) {
	s := newSolo(t, 8)
	s.linked(1, 2)
	id := started(s)
	s.said()
	s.from(1, took(id, 1))
	s.from(2, took(id, 1))
	s.from(1, proto.Echo{ID: id, Round: 1, Spread: true, Receipts: receipts([2]int{3, 1}, [2]int{4, 3})})
	s.wants("")
	s.from(2, proto.Echo{ID: id, Round: 1, Spread: true, Receipts: receipts([2]int{6, 5})})
	s.wants("Ask=>5 Ask=>6 Ask=>7") // 3 and 4 are owed by the wave, however slow they are
	s.from(1, proto.Echo{ID: id, Round: 1, Spread: true, Testimony: []proto.Testimony{reset(1, 3)}})
	s.wants("")
	s.pass(s.w.cfg.OrphanWait - time.Millisecond)
	s.wants("")
	s.on(s.pooled(4), 4, proto.Adopt{Echo: proto.Echo{ID: id, Round: 1}})
	s.pass(time.Millisecond)
	s.wants("Ask=>3") // 4 is adopted
}

func TestAfterABreakOrphansComeBeforeTheDirectPhase(t *testing.T) {
	s := newSolo(t, 5)
	s.linked(1)
	id := started(s)
	s.from(1, took(id, 1))
	s.said()
	s.from(1, proto.Echo{ID: id, Round: 1, Spread: true, Receipts: receipts([2]int{2, 1}, [2]int{3, 2}), Testimony: []proto.Testimony{reset(1, 2)}})
	s.from(1, echo(id, 1, true, 1))
	s.wants("replied/yes")
	s.on(s.pooled(2), 2, proto.Adopt{Echo: proto.Echo{ID: id, Round: 1, Receipts: receipts([2]int{2, 1}, [2]int{3, 2})}})
	s.pass(s.w.cfg.OrphanWait)
	s.wants("Ask=>4") // 2 reports, 3 by way of it
	s.down(1002, 2)
	s.on(s.pooled(2), 2, proto.Adopt{Echo: proto.Echo{ID: id, Round: 1, Receipts: receipts([2]int{2, 1})}})
	s.pass(s.w.cfg.OrphanWait)
	s.wants("") // it reports again
	s.down(1002, 2)
	s.wants("")
	s.pass(s.w.cfg.OrphanWait)
	s.wants("Ask=>2 Ask=>3")
}

func TestWhoReportedByABrokenLinkIsNotWaitedFor(t *testing.T) {
	s := newSolo(t, 4)
	s.linked(1)
	id := started(s)
	s.on(s.pooled(2), 2, proto.Adopt{Echo: proto.Echo{ID: id, Round: 1, Spread: true, Receipts: receipts([2]int{3, 2})}})
	s.from(1, proto.Echo{ID: id, Round: 1, Spread: true, Receipts: receipts([2]int{1, 0})}) // and its handler is slow
	s.pass(s.w.cfg.OrphanWait)
	s.said()
	s.down(1002, 2)
	s.wants("")
	s.pass(s.w.cfg.OrphanWait)
	s.wants("Ask=>2 Ask=>3")
}

func TestTheDirectPhaseStillHasTheRequest(t *testing.T) {
	s := newSolo(t, 4, func(c *Config) { c.CallsMax = 1 })
	s.linked(1)
	id := started(s, func(in *proto.StartCall) { in.Request.Payload = []byte("body") })
	s.from(1, proto.Echo{ID: id, Round: 1, Final: true, Spread: true})
	s.from(1, s.call(1, 1)) // no room: what is open stays
	s.down(s.pooled(2), 2)
	for _, a := range look[proto.Ask](s) {
		if string(a.Call.Payload) != "body" {
			t.Error("an ask without its body")
		}
	}
	s.said()
	s.on(s.pooled(2), 2, answer(id, 2))
	s.wants("replied/yes")
}

func TestReceiptsOfAnOlderRoundLeadNowhere(t *testing.T) {
	s := newSolo(t, 5)
	s.linked(1, 2, 3, 4)
	id := started(s)
	s.down(4, 4) // widened
	s.said()
	s.on(s.pooled(4), 4, proto.Adopt{Echo: proto.Echo{ID: id, Round: 0, Receipts: receipts([2]int{4, 1})}})
	s.from(1, took(id, 1))
	for _, i := range []int{1, 2, 3} {
		s.from(i, proto.Echo{ID: id, Round: 1, Spread: true})
	}
	s.wants("Ask=>4")
}

func TestLateNewsDoesNotTakeAnOrphanFromItsCaller(t *testing.T) {
	s := newSolo(t, 4)
	s.linked(1)
	id := started(s)
	s.from(1, took(id, 1))
	s.on(s.pooled(3), 3, proto.Adopt{Echo: proto.Echo{ID: id, Round: 1, Spread: true}})
	s.said()
	s.from(1, proto.Echo{ID: id, Round: 1, Spread: true, Receipts: receipts([2]int{3, 2}), Testimony: []proto.Testimony{reset(1, 2)}})
	s.pass(s.w.cfg.OrphanWait)
	s.wants("Ask=>2")
}

func TestSilenceDeepInTheWaveHasTheUnheardAsked(t *testing.T) {
	s := newSolo(t, 6)
	s.linked(1)
	id := started(s)
	s.from(1, took(id, 1))
	s.said()
	s.from(1, proto.Echo{ID: id, Round: 1, Receipts: receipts([2]int{2, 1}, [2]int{3, 2}), Testimony: []proto.Testimony{
		{Witness: who(1), Node: who(4), Kind: proto.TestifySilent},
	}})
	s.wants("Ask=>4 Ask=>5")
}

func TestAQuietLinkOfTheCallerHasTheUnheardAsked(t *testing.T) {
	s := newSolo(t, 5)
	s.linked(1, 2)
	id := started(s)
	s.from(1, took(id, 1))
	s.from(2, took(id, 1))
	s.from(1, proto.Echo{ID: id, Round: 1, Receipts: receipts([2]int{3, 1})})
	s.said()
	s.pass(4*s.w.cfg.AliveMin + 4*hopMin - time.Millisecond)
	s.wants("")
	s.pass(time.Millisecond)
	s.wants("Ask=>4")
}
