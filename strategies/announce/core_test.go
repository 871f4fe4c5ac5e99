package announce

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// segment is many cores on one cable, in virtual time: what one says all others
// hear a little later.
type segment struct {
	t     *testing.T
	rng   *rand.Rand
	now   time.Time
	nodes []*node
	queue events
	air   []time.Time // of each packet
	deaf  func(from, to int) bool
}

type node struct {
	*core
	id  int
	due time.Time
	off bool
	has map[string]bool // offered and not withdrawn
}

const cable = time.Millisecond

type event struct {
	at   time.Time
	node int // to wake
	from int // or whose packet arrives at all; -1 is none
	a    announcement
}

type events []event

func (q events) Len() int           { return len(q) }
func (q events) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q events) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)        { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	e := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return e
}

func newSegment(t *testing.T, n int) *segment {
	s := &segment{
		t: t, rng: rand.New(rand.NewPCG(7, uint64(n))), now: time.Unix(1_800_000_000, 0), deaf: func(int, int) bool { return false },
	}
	for range n {
		s.add()
	}
	return s
}

func (s *segment) add() *node {
	id := len(s.nodes)
	me := announcement{node: fmt.Sprint("node-", id), addrs: []string{addrOf(id)}}
	binary.BigEndian.PutUint64(me.boot[:], uint64(id)+1)
	n := &node{core: newCore(s.now, 5*time.Second, 1, me, rand.New(rand.NewPCG(8, uint64(id)))), id: id, has: map[string]bool{}}
	s.nodes = append(s.nodes, n)
	s.wake(n)
	return n
}

func addrOf(id int) string { return fmt.Sprintf("10.0.%d.%d:7827", id/256, id%256) }

func (s *segment) wake(n *node) {
	if d := n.deadline(); !d.Equal(n.due) {
		n.due = d
		heap.Push(&s.queue, event{at: d, node: n.id, from: -1})
	}
}

func (s *segment) run(d time.Duration) {
	for end := s.now.Add(d); ; {
		if len(s.queue) == 0 || s.queue[0].at.After(end) {
			s.now = end
			return
		}
		e := heap.Pop(&s.queue).(event)
		s.now = e.at
		if e.from >= 0 {
			for _, n := range s.nodes {
				if !n.off && n.id != e.from && !s.deaf(e.from, n.id) {
					n.heard(s.now, e.a)
					n.note()
					s.wake(n)
				}
			}
			continue
		}
		n := s.nodes[e.node]
		if n.off || !n.due.Equal(e.at) {
			continue
		}
		n.due = time.Time{}
		if a, say := n.tick(s.now); say {
			s.send(n, a)
		}
		n.note()
		s.wake(n)
	}
}

func (s *segment) send(n *node, a announcement) {
	s.air = append(s.air, s.now)
	heap.Push(&s.queue, event{at: s.now.Add(cable), from: n.id, a: a})
}

func (n *node) note() {
	got := n.take()
	for k := range got.offers {
		n.has[k] = true
	}
	for k := range got.withdrawn {
		delete(n.has, k)
	}
}

// busiest is the most packets in any second.
func (s *segment) busiest() int {
	most, first := 0, 0
	for i, t := range s.air {
		for t.Sub(s.air[first]) >= time.Second {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

func (s *segment) wantAllKnown(but ...int) {
	s.t.Helper()
	for _, n := range s.nodes {
		if n.off {
			continue
		}
		for id := range s.nodes {
			if want := id != n.id && !slices.Contains(but, id); n.has[addrOf(id)] != want {
				s.t.Fatalf("after %v: node %d has node %d: %v, want %v", s.now.Sub(time.Unix(1_800_000_000, 0)), n.id, id, !want, want)
			}
		}
	}
}

func TestAThousandThatStartAtOnceKeepToTheRateAndAllAreHeard(t *testing.T) {
	n := 1000
	if testing.Short() {
		n = 300
	}
	s := newSegment(t, n)
	s.run(60 * time.Second)
	s.wantAllKnown()
	s.run(60 * time.Second)
	s.wantAllKnown()
	busiest := s.busiest()
	if busiest > rateMax {
		t.Errorf("%d packets in a second, want at most %d", busiest, rateMax)
	}
	late := len(s.air)
	s.run(60 * time.Second)
	mean := float64(len(s.air)-late) / 60
	t.Logf("%d nodes: at most %d packets in any second, %.1f a second in the end", n, busiest, mean)
	if mean > rateMean+3 || mean < rateMean/2 {
		t.Errorf("%.1f packets a second, want about %d", mean, rateMean)
	}
}

func TestFewSpeakOftenAndANewcomerIsKnownInASecond(t *testing.T) {
	s := newSegment(t, 4)
	s.run(2 * time.Second)
	s.wantAllKnown()
	s.add()
	s.run(1100 * time.Millisecond)
	for _, n := range s.nodes[:4] {
		if !n.has[addrOf(4)] {
			t.Errorf("node %d does not know the newcomer after a second", n.id)
		}
	}
	s.run(6 * time.Second)
	s.wantAllKnown()
}

func TestWhoIsSilentForThreeIntervalsExpiresAndWhoLeavesIsGoneAtOnce(t *testing.T) {
	s := newSegment(t, 5)
	s.run(10 * time.Second)
	bye, ok := s.nodes[4].bye(s.now)
	if !ok {
		t.Fatal("one of five does not say that it leaves")
	}
	s.send(s.nodes[4], bye)
	s.nodes[4].off = true
	s.run(2 * cable)
	s.wantAllKnown(4)

	s.nodes[3].off = true
	began := s.now
	for s.nodes[0].has[addrOf(3)] {
		s.run(100 * time.Millisecond)
		if s.now.Sub(began) > time.Minute {
			t.Fatal("a silent one does not expire")
		}
	}
	took := s.now.Sub(began)
	t.Logf("expired after %v", took)
	if took < 8*time.Second || took > silences*5*time.Second+8*time.Second {
		t.Errorf("expired after %v, want about three intervals of 5s", took)
	}
}

func TestACutOfAMinuteLosesNobody(t *testing.T) {
	for _, n := range []int{2, 3, 4, 20} {
		s := newSegment(t, n)
		s.run(20 * time.Second)
		s.wantAllKnown()
		s.deaf = func(int, int) bool { return true } // the switch is off
		for range 60 {
			s.run(time.Second)
			s.wantAllKnown()
		}
		if !s.nodes[0].deaf {
			t.Error("silence everywhere is not told as our own trouble")
		}
		s.deaf = func(int, int) bool { return false }
		for range 60 {
			s.run(time.Second)
			s.wantAllKnown()
		}
	}
}

func TestOneThatIsCutOffForgetsNobodyAndIsBackAtOnce(t *testing.T) {
	s := newSegment(t, 5)
	s.run(20 * time.Second)
	s.deaf = func(from, to int) bool { return from == 0 || to == 0 }
	s.run(60 * time.Second)
	for id := 1; id < 5; id++ {
		if !s.nodes[0].has[addrOf(id)] {
			t.Errorf("the one cut off has lost %d", id)
		}
		if s.nodes[id].has[addrOf(0)] {
			t.Errorf("%d still offers the silent one", id)
		}
	}
	s.deaf = func(int, int) bool { return false }
	s.run(7 * time.Second)
	s.wantAllKnown()
}

func TestARestartAtTheSameAddressTakesThePlace(t *testing.T) {
	s := newSegment(t, 3)
	s.run(10 * time.Second)
	s.nodes[2].off = true
	again := s.add()
	again.me.addrs = []string{addrOf(2)}
	s.run(60 * time.Second)
	for _, n := range s.nodes[:2] {
		if !n.has[addrOf(2)] {
			t.Errorf("node %d lost the address when its former bearer expired", n.id)
		}
	}
}

func say(boot byte, seq uint64, now time.Time) announcement {
	a := announcement{seq: seq, sent: now, interval: time.Second, node: fmt.Sprint("n", boot), addrs: []string{fmt.Sprintf("10.0.0.%d:1", boot)}}
	a.boot[0] = boot
	return a
}

func alone(now time.Time) *core {
	return newCore(now, time.Second, 1, announcement{}, rand.New(rand.NewPCG(1, 2)))
}

func TestNothingIsTakenTwice(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := alone(now)
	for _, tt := range []struct {
		seq  uint64
		want string
	}{
		{5, taken}, {5, repeated}, {4, taken}, {4, repeated}, {70, taken}, {5, repeated}, {7, taken}, {7, repeated}, {6, repeated},
		{200, taken}, {136, repeated}, {137, taken}, {200, repeated},
	} {
		if got := c.heard(now, say(1, tt.seq, now)); got != tt.want {
			t.Errorf("sequence %d: %s, want %s", tt.seq, got, tt.want)
		}
	}
}

func TestAReplayDoesNotKeepTheDeadNorBringThemBack(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := alone(now)
	old := say(1, 1, now)
	c.heard(now, old)
	for i := range 20 * 60 { // another one speaks, and somebody repeats what the dead one said
		now = now.Add(time.Second)
		c.heard(now, say(2, uint64(i+1), now))
		if got := c.heard(now, old); got == taken {
			t.Fatalf("a replay is taken after %d s", i+1)
		}
		c.tick(now)
	}
	if got := c.take(); !got.withdrawn["10.0.0.1:1"] {
		t.Error("replays keep a dead one")
	}
	if len(c.senders) != 1 {
		t.Errorf("%d senders are remembered, want one", len(c.senders))
	}
}

func TestWhatIsNotTakenSaysWhy(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := alone(now)
	c.me.boot[0] = 9
	c.heard(now, say(1, 1, now))
	liar := say(1, 2, now)
	liar.node = "somebody else"
	nobody := say(3, 1, now)
	nobody.addrs = []string{"0.0.0.0:1"}
	for want, a := range map[string]announcement{
		ourOwn: say(9, 1, now), skewed: say(1, 2, now.Add(-skewMax-time.Second)), contrary: liar, nonsense: nobody,
	} {
		if got := c.heard(now, a); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := c.heard(now, say(1, 2, now.Add(skewMax-time.Second))); got != taken {
		t.Errorf("a clock that is a little ahead: %s", got)
	}
	for i := uint64(0); len(c.senders) < sendersMax; i++ {
		a := say(4, 1, now)
		binary.BigEndian.PutUint64(a.boot[8:], i)
		c.heard(now, a)
	}
	if got := c.heard(now, say(5, 1, now)); got != crowded {
		t.Errorf("one too many: %s", got)
	}
	if !strings.Contains(fmt.Sprint(len(c.take().offers)), "2") {
		t.Error("offers are not by address")
	}
}

func TestAThousandThatLeaveAtOnceKeepToTheRate(t *testing.T) {
	s := newSegment(t, 1)
	n := s.nodes[0]
	n.live, n.seq = 999, 1
	byes := 0
	for range 1000 { // nobody can hear the others: it is the same moment
		if _, ok := n.bye(s.now); ok {
			byes++
		}
		n.recent = [rateBusy]time.Time{}
	}
	if byes > rateMax*5/4 || byes < rateBusy/2 {
		t.Errorf("%d of 1000 say that they leave, want about %d", byes, rateBusy)
	}
}
