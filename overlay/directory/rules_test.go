package directory

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// court is one directory under the magnifying glass: we are member 0, there
// are n others, and the test plays all of them.
type court struct {
	t   *testing.T
	d   *Directory
	now time.Time
	out proto.Out // since the last look
	seq uint64
}

func newCourt(t *testing.T, n int, change func(*Config)) *court {
	t.Helper()
	c := &court{t: t, now: noon, d: lone(idOf(0), func(cfg *Config) {
		cfg.ProbeEvery = time.Hour // no probes but those of the story
		if change != nil {
			change(cfg)
		}
	})}
	for i := 1; i <= n; i++ {
		c.tell(proto.Record{Entry: entryOf(i, fmt.Sprint("m", i), 1000)})
	}
	c.pass(time.Second)
	c.out.List = nil
	return c
}

func (c *court) tell(rec proto.Record) {
	c.d.Delivered(c.now, idOf(9), proto.DirectoryBody{Records: []proto.Record{rec}}, &c.out)
}

// say is an opinion on a member by another.
func (c *court) say(author, of int, accuse bool) {
	r, _ := c.d.records.Get(idOf(of))
	c.seq++
	c.tell(proto.Record{Entry: r.entry, Opinions: []proto.Opinion{{
		Accused: idOf(of), Incarnation: r.entry.Incarnation, Version: r.entry.Version, Author: idOf(author), Counter: c.seq, Accuse: accuse,
	}}})
}

// pass lets time go by; neighbours answer pings if they are said to.
func (c *court) pass(d time.Duration, answering ...proto.LinkID) {
	end := c.now.Add(d)
	for {
		at := c.d.Deadline()
		if at.IsZero() || at.After(end) {
			break
		}
		from := len(c.out.List)
		c.now = at
		c.d.Wake(c.now, &c.out)
		c.pong(from, answering...)
	}
	c.now = end
}

// pong answers the pings sent since.
func (c *court) pong(from int, links ...proto.LinkID) {
	for _, o := range c.out.List[from:] {
		if s, ok := o.(proto.Send); ok && slices.Contains(links, s.Link) {
			if p, ok := s.Msg.(proto.Ping); ok {
				c.d.Receive(c.now, s.Link, idOf(int(s.Link%1000)), proto.Pong{Seq: p.Seq, Echo: p.Sent, Digest: c.d.digest}, &c.out)
			}
		}
	}
}

// up gives us a link to a member; its number is the member's.
func (c *court) up(i int) {
	c.d.NeighborUp(c.now, proto.LinkID(i), proto.PeerInfo{ID: idOf(i)}, &c.out)
	c.pong(0, proto.LinkID(i))
	c.out.List = nil
}

func (c *court) reset(i int) {
	c.d.NeighborDown(c.now, proto.LinkID(i), idOf(i), proto.DownReset, &c.out)
}

// dialed takes the one dial that must have gone out to a member.
func (c *court) dialed(i int) proto.Dial {
	c.t.Helper()
	for k, o := range c.out.List {
		if dial, ok := o.(proto.Dial); ok && dial.Expect == idOf(i) {
			c.out.List = slices.Delete(c.out.List, k, k+1)
			return dial
		}
	}
	c.t.Fatalf("no dial of member %d in %v", i, c.out.List)
	return proto.Dial{}
}

func (c *court) dials() int {
	n := 0
	for _, o := range c.out.List {
		if _, ok := o.(proto.Dial); ok {
			n++
		}
	}
	return n
}

func (c *court) fail(dial proto.Dial, why proto.DialWhy) {
	c.d.DialFailed(c.now, proto.DialFailed{Tag: dial.Tag, Why: why}, &c.out)
}

// answer lets a dial succeed and its ping be answered, a little later.
func (c *court) answer(dial proto.Dial) {
	i := 0
	for dial.Expect != idOf(i) {
		i++
	}
	from := len(c.out.List)
	c.seq++
	link := proto.LinkID(c.seq*1000 + uint64(i))
	c.d.LinkUp(c.now, proto.LinkUp{Link: link, Peer: proto.PeerInfo{ID: dial.Expect}, Kind: proto.LinkProbe, Dialed: true, Tag: dial.Tag}, &c.out)
	c.now = c.now.Add(time.Millisecond)
	c.pong(from, link)
}

// accused tells whether we accuse a member.
func (c *court) accused(i int) bool {
	r, _ := c.d.records.Get(idOf(i))
	o := r.opinionBy(c.d.self.ID())
	return o != nil && o.Accuse
}

func (c *court) status(i int) proto.Status { return c.d.Member(idOf(i)).Status }

// published tells whether something on a member was published since the last look.
func (c *court) published(i int) bool {
	return slices.ContainsFunc(c.out.List, func(o proto.Output) bool {
		p, ok := o.(proto.PublishRecords)
		return ok && slices.ContainsFunc(p.Records, func(r proto.Record) bool { return r.Entry.ID == idOf(i) })
	})
}

func (c *court) want(what string, ok bool) {
	c.t.Helper()
	if !ok {
		c.t.Fatalf("%v: want %s; outputs %v", c.now.Sub(noon), what, c.out.List)
	}
}

// --- evidence ----------------------------------------------------------------------

func TestHardEvidenceIsConfirmedASecondAfterTheReset(t *testing.T) {
	for _, why := range []proto.DialWhy{proto.DialRefused, proto.DialOtherNode} {
		c := newCourt(t, 8, nil)
		c.up(1)
		c.up(2)
		c.reset(1)
		c.fail(c.dialed(1), why)
		c.pass(time.Second-time.Nanosecond, 2)
		c.want("no accusation before a second", !c.accused(1))
		c.out.List = nil
		c.pass(time.Nanosecond, 2)
		c.want("an accusation after it", c.accused(1))
		c.want("the first suspicion published at once", c.published(1))
		c.want("a suspect, not a death", c.status(1) == proto.StatusSuspect)
	}
}

func TestAResetAloneAccusesNobody(t *testing.T) {
	c := newCourt(t, 8, nil)
	c.up(1)
	c.up(2)
	c.reset(1)
	c.answer(c.dialed(1))
	c.pass(10*time.Second, 2)
	c.want("no accusation", !c.accused(1) && c.d.inquiries.Len() == 0)
}

func TestABoundOfOurOwnIsNoEvidence(t *testing.T) {
	c := newCourt(t, 8, nil)
	c.up(1)
	c.up(2)
	c.reset(1)
	for range 10 {
		c.fail(c.dialed(1), proto.DialLocal)
		c.pass(time.Second, 2)
	}
	c.want("no accusation", !c.accused(1))
}

func TestSoftEvidenceTakesThreeMissedPingsAndAFailedRedial(t *testing.T) {
	for health := range 3 {
		c := newCourt(t, 8, nil)
		c.up(1)
		c.up(2)
		c.pass(10*time.Second, 1, 2)
		last := c.d.link(1).pinged
		c.pass(c.d.link(1).pingAt.Sub(c.now), 2) // this ping is lost
		began := c.now
		c.out.List = nil
		c.d.health = health
		for c.dials() == 0 {
			c.d.ticks = 0 // as ill as it was
			c.pass(time.Millisecond, 2)
		}
		if got, want := c.now.Sub(began), 3*time.Second*time.Duration(health+1); got.Round(time.Millisecond) != want {
			t.Fatalf("health %d: silent after %v, want %v (last ping %v)", health, got, want, last)
		}
		dial := c.dialed(1)
		c.pass(dial.Timeout, 2)
		c.want("no accusation yet", !c.accused(1))
		c.fail(dial, proto.DialTimeout)
		c.want("an accusation", c.accused(1))
		c.want("the silent link hung up", slices.Contains(c.out.List, proto.Output(proto.Hangup{Link: 1, Why: "silent"})))
	}
}

func TestASilentLinkWhoseRedialIsAnsweredIsReplaced(t *testing.T) {
	c := newCourt(t, 8, nil)
	c.up(1)
	c.up(2)
	for c.dials() == 0 {
		c.pass(10*time.Millisecond, 2)
	}
	c.answer(c.dialed(1))
	c.want("a hang-up", slices.Contains(c.out.List, proto.Output(proto.Hangup{Link: 1, Why: "silent"})))
	c.want("no accusation", !c.accused(1))
}

func TestAMemberWithoutALinkIsAccusedAfterThreeFailedTries(t *testing.T) {
	c := newCourt(t, 1, func(cfg *Config) { cfg.ProbeEvery = 10 * time.Second })
	c.up(1)
	c.tell(proto.Record{Entry: entryOf(2, "m2", 1000)})
	c.tell(proto.Record{Entry: entryOf(3, "m3", 1000)})
	began := c.now
	for c.dials() == 0 {
		c.pass(10*time.Millisecond, 1)
	}
	if took := c.now.Sub(began); took > 12*time.Second {
		t.Fatalf("first probe after %v", took)
	}
	i := 2
	if c.d.probes.Has(idOf(3)) {
		i = 3
	}
	for try := range 3 {
		c.want("no accusation yet", !c.accused(i))
		c.fail(c.dialed(i), proto.DialRefused)
		if try < 2 {
			c.pass(500*time.Millisecond, 1)
		}
	}
	c.want("an accusation", c.accused(i))
}

// A member refuted what we had seen, and then died where nobody has a link to it.
func TestADoubtOutlivesTheAccusationThatWasTakenBack(t *testing.T) {
	c := newCourt(t, 1, func(cfg *Config) { cfg.ProbeEvery = 10 * time.Second })
	c.up(1)
	c.tell(proto.Record{Entry: entryOf(2, "m2", 1000)})
	for c.dials() == 0 {
		c.pass(10*time.Millisecond, 1)
	}
	for range 3 {
		c.fail(c.dialed(2), proto.DialRefused)
		c.pass(500*time.Millisecond, 1)
	}
	c.want("an accusation", c.accused(2))
	refuted := entryOf(2, "m2", 1000)
	refuted.Version += 10
	c.out.List = nil
	c.tell(proto.Record{Entry: refuted})
	c.want("alive again", c.status(2) == proto.StatusAlive)
	for range 3 {
		c.pass(time.Second, 1)
		c.fail(c.dialed(2), proto.DialRefused)
	}
	c.want("accused anew", c.accused(2))
}

func TestASweepGoesOnUntilTenInARowSucceed(t *testing.T) {
	c := newCourt(t, 40, nil)
	c.up(1)
	c.d.sweep(c.now)
	c.d.row = 0
	succeeded := 0
	for range 200 {
		c.pass(50*time.Millisecond, 1)
		for _, o := range slices.Clone(c.out.List) {
			if dial, ok := o.(proto.Dial); ok {
				succeeded++
				if succeeded == 5 { // the fifth does not: count anew
					c.fail(dial, proto.DialRefused)
				} else {
					c.answer(dial)
				}
			}
		}
		c.out.List = nil
	}
	if c.d.sweeping || succeeded < 15 || succeeded > 18 { // 5 + 10, and tries of the one that failed
		t.Fatalf("sweeping %v after %d probes", c.d.sweeping, succeeded)
	}
}

// Where nobody has time to answer, probing must not take what time there is.
func TestASweepThatNobodyAnswersHasOneProbeUnderWay(t *testing.T) {
	c := newCourt(t, 40, nil)
	c.up(1)
	c.d.sweep(c.now)
	type dialled struct {
		proto.Dial
		ends time.Time
	}
	var open []dialled
	dials := 0
	for range 200 { // 10 s
		c.pass(50*time.Millisecond, 1)
		for len(open) > 0 && !c.now.Before(open[0].ends) {
			c.fail(open[0].Dial, proto.DialTimeout)
			open = open[1:]
		}
		for _, o := range c.out.List {
			if dial, ok := o.(proto.Dial); ok {
				dials++
				open = append(open, dialled{dial, c.now.Add(dial.Timeout)})
			}
		}
		c.out.List = nil
		if n := c.d.watching(); n > 1 {
			t.Fatalf("%d probes of the sweep at once", n)
		}
	}
	if !c.d.sweeping || dials > 30 { // of each target three tries, two of them half a second after the one before began
		t.Errorf("sweeping %v, %d dials in 10 s", c.d.sweeping, dials)
	}
}

func TestPromptAnswersOpenTheWindowOfASweepAndTimeoutsCloseIt(t *testing.T) {
	c := newCourt(t, 60, nil)
	c.up(1)
	c.d.sweep(c.now)
	next := func() proto.Dial { // of the sweep, not another try
		for {
			c.pass(10*time.Millisecond, 1)
			for _, o := range c.out.List {
				dial, is := o.(proto.Dial)
				if p, known := c.d.probes.Get(dial.Expect); is && known && p.wants&forWatch != 0 {
					c.out.List = nil
					return dial
				}
			}
		}
	}
	for _, want := range []int{2, 4, 8, 16, 20, 20} {
		c.fail(next(), proto.DialRefused)
		if c.d.window != want {
			t.Fatalf("after a refusal: %d at once, want %d", c.d.window, want)
		}
	}
	for _, want := range []int{10, 5, 2, 1, 1} {
		c.fail(next(), proto.DialTimeout)
		if c.d.window != want {
			t.Fatalf("after a time-out: %d at once, want %d", c.d.window, want)
		}
	}
	c.answer(next())
	if c.d.window != 2 {
		t.Fatalf("after a pong: %d at once, want 2", c.d.window)
	}
}

func TestAProbeHasMoreTimeIfWeAreNotWell(t *testing.T) {
	c := newCourt(t, 8, nil)
	c.up(1)
	c.up(2)
	c.d.health = 2
	c.reset(1)
	if dial := c.dialed(1); dial.Timeout != 3*time.Second {
		t.Errorf("%v, want 3 s", dial.Timeout)
	}
}

// --- the court -------------------------------------------------------------------------
