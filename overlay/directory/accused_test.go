package directory

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// accuser makes us an accuser of member 1, on hard evidence.
func accuser(t *testing.T, members int) *court {
	t.Helper()
	c := newCourt(t, members, nil)
	c.up(1)
	c.up(2)
	c.pass(3*time.Second, 1, 2)
	c.reset(1)
	c.fail(c.dialed(1), proto.DialRefused)
	c.pass(time.Second, 2)
	c.out.List = nil
	c.want("an accusation", c.accused(1))
	return c
}

func TestThreeAccusersMakeACertificateAtOnce(t *testing.T) {
	c := accuser(t, 8)
	c.say(3, 1, true)
	c.want("not two", c.status(1) == proto.StatusSuspect)
	c.say(4, 1, true)
	c.want("three", c.status(1) == proto.StatusDown)
	c.want("a certificate published at once", c.published(1))
}

func TestOnlyAccusersThatTakePartCount(t *testing.T) {
	c := accuser(t, 8)
	c.tell(proto.Record{Entry: entryOf(3, "m3", 1000), Down: 1000})
	c.say(3, 1, true)  // dead
	c.say(77, 1, true) // unknown
	c.say(4, 1, true)
	c.want("two accusers", c.status(1) == proto.StatusSuspect)
}

func TestInSmallClustersAllOthersAreEnough(t *testing.T) {
	c := accuser(t, 2) // we, the accused, and one more
	c.want("not one of two", c.status(1) == proto.StatusSuspect)
	c.say(2, 1, true)
	c.want("two of two", c.status(1) == proto.StatusDown)
	c = accuser(t, 3)
	c.tell(proto.Record{Entry: entryOf(3, "m3", 1000), Down: 1000}) // certified a moment ago: counts
	c.say(2, 1, true)
	c.want("two are not enough, for 3 died only now", c.status(1) == proto.StatusSuspect)
}

func TestAccusersInPoorHealthCountHalf(t *testing.T) {
	c := newCourt(t, 8, nil)
	c.up(1)
	c.up(2)
	c.reset(1)
	c.fail(c.dialed(1), proto.DialRefused)
	c.pass(900*time.Millisecond, 2)
	c.d.health = 4
	c.pass(100*time.Millisecond, 2)
	r, _ := c.d.records.Get(idOf(1))
	c.want("a half accusation, no suspect", r.opinionBy(idOf(0)).HalfWeight && c.status(1) == proto.StatusAlive)
	c.say(3, 1, true)
	c.say(4, 1, true)
	c.want("two and a half", c.status(1) == proto.StatusSuspect)
	c.say(5, 1, true)
	c.want("three and a half", c.status(1) == proto.StatusDown)
}

func TestADenyOutweighsAllAccusersForFiveSeconds(t *testing.T) {
	c := accuser(t, 8)
	c.say(3, 1, true)
	c.say(5, 1, false)
	c.say(4, 1, true)
	c.want("three accusers and a deny: alive", c.status(1) == proto.StatusAlive)
	c.say(6, 1, true)
	c.pass(5*time.Second-time.Nanosecond, 2)
	c.want("alive still", c.status(1) == proto.StatusAlive)
	c.pass(time.Nanosecond, 2)
	c.want("without effect after five", c.status(1) == proto.StatusDown)
}

func TestTheSameDenyHeardAgainCountsNoLonger(t *testing.T) {
	c := accuser(t, 8)
	c.say(5, 1, false)
	r, _ := c.d.records.Get(idOf(1))
	again := r.export()
	for range 5 {
		c.pass(time.Second, 2)
		c.tell(again)
	}
	c.want("a suspect again", c.status(1) == proto.StatusSuspect)
}

func TestAPongToAPingSentAfterTheAccusationIsADeny(t *testing.T) {
	c := newCourt(t, 8, nil)
	c.up(1)
	c.pass(5*time.Second, 1)
	c.out.List = nil
	before := c.d.newPing(c.now)
	c.pass(time.Millisecond, 1)
	c.say(3, 1, true)
	c.want("a suspect", c.status(1) == proto.StatusSuspect)
	c.d.Receive(c.now, 1, idOf(1), proto.Pong{Seq: before.Seq, Echo: before.Sent, Digest: c.d.digest}, &c.out)
	c.want("a pong to an older ping changes nothing", c.status(1) == proto.StatusSuspect)
	c.pong(0, 1) // the ping that went out with the accusation
	c.want("alive", c.status(1) == proto.StatusAlive)
	c.want("a deny published at once", c.published(1))
}

func TestALinkAloneHandsTheOpinionsToTheAccused(t *testing.T) {
	c := newCourt(t, 8, nil)
	c.up(2)
	r, _ := c.d.records.Get(idOf(1))
	for a := 3; a < 6 && c.dials() == 0; a++ { // until our rank comes up
		c.say(a, 1, true)
		c.pass(3*time.Second, 2)
	}
	c.answer(c.dialed(1))
	handed := slices.ContainsFunc(c.out.List, func(o proto.Output) bool {
		s, ok := o.(proto.Send)
		if !ok {
			return false
		}
		m, ok := s.Msg.(proto.SyncRecords)
		return ok && len(m.Records) == 1 && m.Records[0].Entry == r.entry && len(m.Records[0].Opinions) > 0
	})
	c.want("the accused told", handed)
}

func TestTheFirstThreeRanksAreAskedAndThenTheNext(t *testing.T) {
	asked := [4]int{}
	for suspect := 1; suspect <= 60; suspect++ {
		c := newCourt(t, 60, nil)
		c.up((suspect % 60) + 1)
		var ranks []int
		for i := range 61 {
			if i != suspect {
				ranks = append(ranks, i)
			}
		}
		slices.SortFunc(ranks, func(a, b int) int {
			if rankOf(idOf(suspect), 1000, idOf(a)) < rankOf(idOf(suspect), 1000, idOf(b)) {
				return -1
			}
			return 1
		})
		round := slices.Index(ranks, 0) / 3
		c.say(ranks[59], suspect, true)
		// The suspected accuser's fellows in front of us are all unsuspected.
		for k := range 4 {
			c.pass(10*time.Millisecond, proto.LinkID((suspect%60)+1))
			if got, want := c.d.probes.Has(idOf(suspect)), k >= round; got != want {
				t.Fatalf("suspect %d, we rank %d: %v after %v, asked: %v", suspect, slices.Index(ranks, 0), want, c.now.Sub(noon), got)
			} else if got && k == round {
				asked[k]++
			}
			c.pass(990*time.Millisecond, proto.LinkID((suspect%60)+1))
		}
	}
	if asked[0] == 0 || asked[1] == 0 {
		t.Fatalf("asked %v: the seeds do not show it", asked)
	}
}

func TestALoneAccuserCertifiesAfterTenSecondsAndALastProbe(t *testing.T) {
	for _, confirmations := range []int{0, 1} {
		c := accuser(t, 8)
		began := c.now
		want := 10 * time.Second
		if confirmations == 1 {
			c.say(3, 1, true)
			want = 5583507486 * time.Nanosecond // 10 s - 7 s × log 2 / log 3
		}
		for c.dials() == 0 {
			c.pass(time.Millisecond, 2)
		}
		if got := c.now.Sub(began); got.Round(time.Millisecond) != want.Round(time.Millisecond) && got.Round(time.Millisecond) != want.Round(time.Millisecond)+time.Millisecond {
			t.Fatalf("%d confirmations: last probe after %v, want %v", confirmations, got, want)
		}
		c.want("no certificate before the probe's end", c.status(1) == proto.StatusSuspect)
		dial := c.dialed(1)
		if confirmations == 0 {
			c.pass(time.Second, 2)
			c.fail(dial, proto.DialTimeout)
			c.want("a certificate", c.status(1) == proto.StatusDown)
			continue
		}
		c.answer(dial)
		c.want("a pong becomes a deny", c.status(1) == proto.StatusAlive && !c.accused(1))
	}
}

func TestWhoIsNoAccuserWaitsTwiceAsLong(t *testing.T) {
	// Nobody accuses but one who fell silent after it; our rank comes up, and our
	// own probes tell nothing for a bound of ours.
	c := newCourt(t, 8, nil)
	c.up(2)
	c.say(3, 1, true)
	began := c.now
	for c.status(1) == proto.StatusSuspect && c.now.Sub(began) < 40*time.Second {
		c.pass(10*time.Millisecond, 2)
		if p, ok := c.d.probes.Get(idOf(1)); ok {
			dial := proto.Dial{Tag: p.tag}
			if p.wants&forFinal == 0 {
				c.fail(dial, proto.DialLocal)
				q, _ := c.d.inquiries.Get(idOf(1))
				q.asked = true // as if it had told nothing
			} else {
				c.fail(dial, proto.DialTimeout)
			}
		}
	}
	c.want("a certificate", c.status(1) == proto.StatusDown)
	if got := c.now.Sub(began); got < 20*time.Second || got > 21*time.Second {
		t.Fatalf("certified after %v, want 20 s", got)
	}
}

// --- ourselves ----------------------------------------------------------------------------

func TestAfterAGapWeNeitherAccuseNorCertifyForASecond(t *testing.T) {
	c := newCourt(t, 8, nil)
	c.up(1)
	c.up(2)
	c.pass(3*time.Second, 1, 2)
	c.reset(1)
	c.fail(c.dialed(1), proto.DialRefused)
	c.now = c.now.Add(1500 * time.Millisecond) // nobody called us
	gap := c.now
	c.d.Wake(c.now, &c.out)
	c.want("no accusation at the end of the gap", !c.accused(1))
	c.out.List = nil
	for c.dials() == 0 {
		c.pass(time.Millisecond, 2)
		c.want("no accusation on old evidence", !c.accused(1))
	}
	if c.now.Sub(gap) < time.Second {
		t.Fatalf("looked again after %v", c.now.Sub(gap))
	}
	c.answer(c.dialed(1))
	c.pass(5*time.Second, 2)
	c.want("no accusation, for it answers", !c.accused(1))

	c = accuser(t, 8)
	c.say(3, 1, true)
	c.now = c.now.Add(1500 * time.Millisecond)
	c.d.Wake(c.now, &c.out)
	c.say(4, 1, true)
	c.want("no certificate right after a gap", c.status(1) == proto.StatusSuspect)
	c.pass(time.Second-time.Nanosecond, 2)
	c.want("nor later in that second", c.status(1) == proto.StatusSuspect)
	c.pass(time.Nanosecond, 2)
	c.want("but then", c.status(1) == proto.StatusDown)
}

func TestAStallOfOursLooksLikeNobodysFailure(t *testing.T) {
	c := newCourt(t, 8, nil)
	for i := range 5 {
		c.up(i + 1)
	}
	c.pass(3*time.Second, 1, 2, 3, 4, 5)
	c.out.List = nil
	c.pass(time.Second) // their pongs wait in a queue of ours
	c.now = c.now.Add(20 * time.Second)
	c.d.Wake(c.now, &c.out)
	c.pong(0, 1, 2, 3, 4, 5)
	c.pass(2*time.Second, 1, 2, 3, 4, 5)
	c.want("no redial, no inquiry", c.dials() == 0 && c.d.inquiries.Len() == 0)
	c.want("no Hangup", !slices.ContainsFunc(c.out.List, func(o proto.Output) bool { _, ok := o.(proto.Hangup); return ok }))
}

func TestANewbornThatLeavesSaysNothing(t *testing.T) {
	d := New(Default(), proto.Entry{ID: idOf(1), Name: "n"}, lone(idOf(0), nil).rng, noon)
	var out proto.Out
	d.NeighborUp(noon, 1, proto.PeerInfo{ID: idOf(2)}, &out)
	d.Leave(noon, &out)
	_, later := wait(d, noon, 10*time.Second)
	for _, o := range append(out.List, later.List...) {
		if _, ok := o.(proto.PublishRecords); ok {
			t.Fatalf("it published %v", o)
		}
	}
}

func TestBeingLateCostsHealthAndBeingInTimeRestoresIt(t *testing.T) {
	c := newCourt(t, 1, nil)
	c.up(1)
	for range 20 {
		c.now = c.d.Deadline().Add(110 * time.Millisecond) // more than a tenth of GapMax
		c.d.Wake(c.now, &c.out)
	}
	if h := c.d.Health(); h < 3 || h > 8 {
		t.Fatalf("late 20 times, health %d", h)
	}
	c.pass(9*time.Second, 1)
	if h := c.d.Health(); h != 0 {
		t.Fatalf("in time for 9 s, health %d", h)
	}
}

func TestAHealthyLinkIsNotDroppedOnOthersWord(t *testing.T) {
	c := newCourt(t, 8, nil)
	c.up(1)
	c.pass(2*time.Second, 1)
	c.out.List = nil
	c.tell(proto.Record{Entry: entryOf(1, "m1", 1000), Down: 1000})
	c.want("down", c.status(1) == proto.StatusDown)
	c.pass(10*time.Second, 1)
	c.want("its link kept", c.d.link(1) != nil && !slices.ContainsFunc(c.out.List, func(o proto.Output) bool {
		_, ok := o.(proto.Hangup)
		return ok
	}))
}

func TestTheRosterIsTheSameUntilSomethingChanges(t *testing.T) {
	c := newCourt(t, 8, nil)
	first := c.d.Roster()
	c.up(1)
	c.pass(5*time.Second, 1)
	if c.d.Roster() != first {
		t.Fatal("a new roster without a change")
	}
	c.say(3, 2, true)
	second := c.d.Roster()
	if second == first || second.Revision <= first.Revision || first.Get(idOf(2)).Status != proto.StatusAlive || second.Get(idOf(2)).Status != proto.StatusSuspect {
		t.Fatal("the change does not show, or shows in the old roster")
	}
	if second.Get(idOf(4)) != first.Get(idOf(4)) {
		t.Fatal("members that did not change were made anew")
	}
	if !slices.IsSortedFunc(second.Members, func(a, b *proto.Member) int { return peer.ID.Compare(a.Entry.ID, b.Entry.ID) }) {
		t.Fatal("not sorted")
	}
}

func TestTheRosterShowsEveryChangeWhereTheOthersStayed(t *testing.T) {
	c := newCourt(t, 64, nil)
	shown := func(what string) {
		t.Helper()
		roster := c.d.Roster()
		if len(roster.Members) != c.d.Len() {
			t.Fatalf("%s: %d members, want %d", what, len(roster.Members), c.d.Len())
		}
		for i, m := range roster.Members {
			if i > 0 && !roster.Members[i-1].Entry.ID.Less(m.Entry.ID) || !reflect.DeepEqual(m, c.d.Member(m.Entry.ID)) {
				t.Fatalf("%s: %s is shown as it was, or in the wrong place", what, m.Entry.Name)
			}
		}
	}
	shown("born")
	c.tell(proto.Record{Entry: entryOf(7, "m7", 1000), Down: 1000})
	shown("one is down")
	c.tell(proto.Record{Entry: entryOf(70, "m7", 2000)})
	shown("one is down already, and superseded")
	c.want("so shown", c.d.Roster().Get(idOf(7)).Superseded)
	c.tell(proto.Record{Tomb: &proto.Tombstone{ID: idOf(8), Name: "m8", Birth: 1000, Incarnation: 1000}})
	shown("one is buried")
	back := entryOf(8, "m8", 1000)
	back.Incarnation = 1001
	c.tell(proto.Record{Tomb: &proto.Tombstone{ID: idOf(9), Name: "m9", Birth: 1000, Incarnation: 1000}})
	c.tell(proto.Record{Entry: back})
	shown("one is buried, and one comes back from there")
}

func TestTheMembersBehindOneCutAreToldAsOne(t *testing.T) {
	c := newCourt(t, 40, nil)
	for i := 1; i <= 10; i++ {
		c.tell(proto.Record{Entry: entryOf(i, fmt.Sprint("m", i), 1000), Down: 1000})
		c.pass(9 * time.Millisecond)
	}
	c.out.List = nil
	c.pass(100 * time.Millisecond)
	batches := 0
	for _, o := range c.out.List {
		if b, ok := o.(proto.MembersChanged); ok {
			batches++
			if len(b.Changes) != 10 {
				t.Errorf("%d changes", len(b.Changes))
			}
		}
	}
	if batches != 1 {
		t.Errorf("%d batches", batches)
	}
}
