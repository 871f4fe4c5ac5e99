package delegate

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/starlingmesh/starling/discovery"
)

func settled(t *testing.T, seed uint64, nodes int) *world {
	w := newWorld(t, seed, nodes, 0)
	w.run(time.Second) // each lists, for itself
	w.join()
	w.run(2 * Heartbeat)
	return w
}

func TestUpTo64NodesAllWatchAndAboveItEight(t *testing.T) {
	if w := settled(t, 1, 64); w.count(Watch) != 64 || len(w.mail) > 0 {
		t.Errorf("of 64 nodes %d watch, and %d messages are on their way", w.count(Watch), len(w.mail))
	}
	w := settled(t, 1, 100)
	if w.count(Watch) != 8 || w.watches != 8 {
		t.Errorf("of 100 nodes %d watch, and %d ever did", w.count(Watch), w.watches)
	}
	for i, s := range w.ranked() {
		if (s.mode == Watch) != (i < 8) {
			t.Errorf("rank %d: %v", i+1, s.mode)
		}
	}
	w.wantAllKnowAll()
}

func TestKillingAWatcherLosesNoUpdate(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine, and long under the race detector")
	}
	for seed := range uint64(3) {
		w := settled(t, seed, 90)
		for i := range 60 {
			w.add(fmt.Sprintf("new-%d", i), 1000+i)
			if i%3 == 0 {
				w.remove(fmt.Sprintf("node-%03d", i))
			}
			if i%5 == 2 { // within the moment in which the first watcher tells it
				w.run(50 * time.Millisecond)
				victim := w.ranked()[w.rng.IntN(8)]
				victim.dead = true
				if i%2 == 0 {
					w.mail = nil // and what was on its way dies, too
				}
			}
			w.run(400 * time.Millisecond)
			if i%10 == 9 {
				w.join() // the directory has noticed
			}
		}
		w.join()
		w.run(6 * Heartbeat)
		w.wantAllKnowAll()
		if n := w.count(Watch); n != 8 {
			t.Errorf("seed %d: %d nodes watch", seed, n)
		}
	}
}

func TestAnUpdateReachesAllWithinAQuarterOfASecond(t *testing.T) {
	w := settled(t, 3, 100)
	for i := range 20 {
		w.add("new", 1000+i)
		w.run(250 * time.Millisecond)
		for _, s := range w.nodes {
			if s.knows["new"].Addrs == nil || s.knows["new"].Addrs[0] != w.pods["new"].Addrs[0] {
				t.Fatalf("round %d: %s has not heard", i, s.id)
			}
		}
	}
	w.wantAllKnowAll()
}

// Whole pictures cost, and a withdrawal has a grace to wait for: those of a second are one picture.
func TestWithdrawalsOfAMomentAreOnePicture(t *testing.T) {
	w := settled(t, 5, 100)
	before := map[string]int{}
	for id, s := range w.nodes {
		before[id] = s.pictures
	}
	for i := range 40 { // four seconds of a rollout
		w.remove(fmt.Sprintf("node-%03d", i))
		w.add(fmt.Sprintf("next-%d", i), 1000+i)
		w.run(100 * time.Millisecond)
	}
	w.run(2 * time.Second)
	for id, s := range w.nodes {
		if n := s.pictures - before[id]; s.mode == Follow && (n < 2 || n > 6) {
			t.Errorf("%s was given %d pictures for 40 withdrawals in 4 s, want about one a second", id, n)
		}
	}
	w.wantAllKnowAll()
}

// A node that is to watch, and before it has seen anything is to do so no longer, has what it was told before.
func TestAWatchThatSawNothingTakesNothingAway(t *testing.T) {
	w := settled(t, 8, 100)
	follower := w.ranked()[99]
	var members []string
	for i := 0; len(members) < 99; i++ { // others, before whom it ranks
		if id := fmt.Sprintf("stranger-%d", i); score(id) < score(follower.id) {
			members = append(members, id)
		}
	}
	follower.Members(w.now, members)
	if m := follower.Mode(w.now); m != Watch {
		t.Fatalf("it is to %v", m)
	}
	follower.Members(w.now, w.ids())
	if m := follower.Mode(w.now); m != Follow {
		t.Fatalf("it is to %v again", m)
	}
	if got := len(follower.Picture().Candidates); got != 100 {
		t.Errorf("it knows %d of 100", got)
	}
	w.run(2 * Heartbeat)
	w.wantAllKnowAll()
}

// Two watchers say each change, those behind them keep quiet, also when one change chases the other.
func TestWhatTwoWatchersHaveSaidIsNotRepeated(t *testing.T) {
	w := settled(t, 7, 100)
	w.said = 0
	const changes = 400
	for i := range changes {
		w.add(fmt.Sprintf("next-%d", i), 1000+i)
		w.run(step)
	}
	w.run(time.Second)
	t.Logf("each change was said %.1f times", float64(w.said)/changes)
	if w.said > 3*changes {
		t.Errorf("each change was said %.1f times, want 3 at most", float64(w.said)/changes)
	}
	w.wantAllKnowAll()
}

// A pod that went and came back alike: who lags says what was true before it went, and that is not yet said.
func TestWhatALaggardSaysOfAnEarlierLifeSparesNobodyTheWord(t *testing.T) {
	for version, want := range map[uint64]int{100: 1, 120: 0} {
		w := settled(t, 9, 100)
		watcher, other := w.ranked()[5], w.ranked()[2]
		back := candidate("back", 1000)
		watcher.Watched(w.now, 120, []discovery.Candidate{back}, nil)
		watcher.Receive(w.now, other.id, Message{Version: version, Upserts: []discovery.Candidate{back}})
		said := 0
		for _, m := range watcher.Tick(w.now.Add(time.Second)).Publish {
			said += len(m.Upserts)
		}
		if said != want {
			t.Errorf("another said it at version %d, it is of 120: told %d times, want %d", version, said, want)
		}
	}
}

// Where all watch nobody tells anybody, and what there would be to tell is not kept.
func TestWhoTellsNobodyKeepsNothingToTell(t *testing.T) {
	w := settled(t, 6, 30)
	for i := range 200 {
		w.add(fmt.Sprintf("new-%d", i), 1000+i)
		w.remove(fmt.Sprintf("new-%d", i))
		w.run(step)
	}
	w.run(Heartbeat)
	for id, s := range w.nodes {
		if n := len(s.own.pending); n > 0 {
			t.Errorf("%s keeps %d statements for nobody", id, n)
		}
	}
}

func TestSilentWatchersAreReplacedWaveByWave(t *testing.T) {
	w := settled(t, 4, 100)
	order := w.ranked()
	silent := w.now
	for _, s := range order[:16] {
		s.hung = true
	}
	for _, s := range order[8:16] {
		s.hung = false
	}
	w.run(2*Heartbeat - Heartbeat/5 - time.Second)
	if n := w.count(Watch); n != 0 {
		t.Fatalf("%d took over before two heartbeats were silent", n)
	}
	w.run(Heartbeat/5 + 2*time.Second)
	for i, s := range order[8:16] {
		if s.mode != Watch {
			t.Errorf("rank %d does not watch %v after the last heartbeat", i+9, w.now.Sub(silent))
		}
	}
	w.run(4 * Heartbeat)
	if n := w.count(Watch); n != 8 {
		t.Errorf("%d watch in place of 8", n)
	}
	w.add("new", 1)
	w.run(time.Second)
	for _, s := range order[8:16] {
		s.hung = true
	}
	w.run(3*Heartbeat + 2*time.Second)
	for i, s := range order[16:24] {
		if s.mode != Watch {
			t.Errorf("rank %d does not watch", i+17)
		}
	}
	w.wantAllKnowAll()
	for _, s := range order[:16] {
		s.hung = false
	}
	w.run(2*standIn + 2*Heartbeat)
	if n := w.count(Watch); n != 8 || order[20].mode != Follow {
		t.Errorf("%d watch once the first are back", n)
	}
	w.wantAllKnowAll()
}

func TestWhenNobodyCanWatchNobodyElseTriesAndNobodyIsLost(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine, and long under the race detector")
	}
	w := settled(t, 5, 200)
	watched := w.watches
	w.broken = "connection refused"
	w.run(5 * time.Minute)
	if w.watches != watched {
		t.Errorf("%d more watches were opened while the API server was away", w.watches-watched)
	}
	for _, s := range w.nodes {
		if s.mode == Follow && s.failures == 0 {
			t.Errorf("%s does not know that nobody can watch", s.id)
		}
	}
	w.wantAllKnowAll()
	w.add("new", 1)
	w.broken = ""
	w.run(3 * Heartbeat)
	w.wantAllKnowAll()
}

func TestThousandsThatAreCutOffListNowAndThenAndDoNotWatch(t *testing.T) {
	w := newWorld(t, 6, 100, 0)
	w.run(time.Minute)
	for _, s := range w.nodes {
		if s.mode != List || s.lists < 3 || s.lists > 7 {
			t.Errorf("%s: %v, listed %d times in a minute", s.id, s.mode, s.lists)
		}
	}
}

func TestANewcomerGetsWhatItMissed(t *testing.T) {
	w := newWorld(t, 7, 100, 0)
	w.run(time.Second)
	late := w.nodes["node-050"]
	late.hung = true // listed, and then nothing for a while
	w.join()
	w.add("new", 1)
	w.run(3 * Heartbeat)
	w.remove("new")
	w.remove("node-001")
	w.run(3 * Heartbeat)
	late.hung = false
	w.join()
	w.run(6 * Heartbeat)
	w.wantAllKnowAll()
}

func TestAnyWatcherAddsAndItTakesTwoToWithdraw(t *testing.T) {
	now := time.Unix(1000, 0)
	n := follower(now)
	x := candidate("x", 1)
	tell := func(from string, m Message) {
		n.Receive(now, from, m)
		for _, o := range n.Tick(now).Observe {
			(&sim{knows: map[string]discovery.Candidate{}}).observe(o)
		}
	}
	there := func() bool { _, ok := n.book.living()["x"]; return ok }
	tell("b", Message{Version: 9})
	tell("a", Message{Version: 10, Upserts: []discovery.Candidate{x}})
	if !there() {
		t.Fatal("one watcher's word is not enough to add")
	}
	tell("a", Message{Version: 20, Gone: []string{"x"}})
	if !there() {
		t.Fatal("one of two watchers withdrew")
	}
	tell("b", Message{Version: 15, Upserts: []discovery.Candidate{x}})
	tell("b", Message{Version: 20, Gone: []string{"x"}})
	if there() {
		t.Fatal("two agree, and it is still there")
	}
	tell("c", Message{Version: 19, Upserts: []discovery.Candidate{x}})
	if there() {
		t.Fatal("a watcher that lags brought it back")
	}
	tell("c", Message{Version: 21, Upserts: []discovery.Candidate{x}})
	if !there() {
		t.Fatal("it came again, and one watcher's word is not enough")
	}
}

// follower is a node that listens, behind a, b and c.
func follower(now time.Time) *Node {
	for i := range 100 {
		n := New(fmt.Sprint("self-", i), 1, rand.New(rand.NewPCG(1, 1)))
		n.Failed()
		n.Members(now, []string{"a", "b", "c"})
		if n.Mode(now) == Follow && n.rank == 3 {
			return n
		}
	}
	panic("nobody is behind a, b and c")
}

func TestWhoBeatsAndCannotWatchWithdrawsNobody(t *testing.T) {
	now := time.Unix(1000, 0)
	n := follower(now)
	n.Receive(now, "a", Message{Version: 10, Upserts: []discovery.Candidate{candidate("x", 1)}})
	for _, id := range []string{"a", "b", "c"} {
		n.Receive(now, id, Message{Version: 20, Stale: "403", Gone: []string{"x"}})
	}
	if out := n.Tick(now); out.Fail == nil || len(n.book.living()) != 1 {
		t.Errorf("failure %v, %d candidates", out.Fail, len(n.book.living()))
	}
}

func TestAMessageSurvivesItsEncoding(t *testing.T) {
	c := candidate("k", 1)
	c.Labels, c.Host, c.Serving, c.Terminating = map[string]string{"zone": "a"}, "cart-0", discovery.No, discovery.Yes
	m := Message{Version: 7, Digest: 1 << 63, Upserts: []discovery.Candidate{c}, Gone: []string{"g"}, Whole: 3, Part: 1, Parts: 2}
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(data)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(m) {
		t.Errorf("%v became %v (%v)", m, got, err)
	}
}

func FuzzDecode(f *testing.F) {
	m := Message{Version: 7, Upserts: []discovery.Candidate{candidate("k", 1)}}
	data, err := m.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Decode(data)
		if err != nil {
			return
		}
		now := time.Unix(1000, 0)
		n := follower(now)
		n.Receive(now, "a", m)
		n.Tick(now)
	})
}

// While all watch nobody is told, so what was seen must not make a node wake up for it.
func TestWhoTellsNobodyHasNothingToHurryFor(t *testing.T) {
	now := time.Unix(1000, 0)
	n := New("a", 0, rand.New(rand.NewPCG(1, 1)))
	n.Members(now, []string{"a", "b"})
	n.WatchedAll(now, 10, []discovery.Candidate{candidate("x", 1)})
	for range 3 {
		now = now.Add(time.Second)
		n.Tick(now)
		if n.Mode(now) != Watch {
			t.Fatalf("it is to %v", n.Mode(now))
		}
		if next := n.Deadline(now); !next.After(now) {
			t.Errorf("it wants to be called again %v ago", now.Sub(next))
		}
	}
}
