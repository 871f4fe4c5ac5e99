package discovery

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// world drives a ledger with a clock of its own.
type world struct {
	t   *testing.T
	now time.Time
	l   *ledger
}

func newWorld(t *testing.T, sources ...Source) *world {
	cfg := Default()
	cfg.Self, cfg.SelfAddrs = "self", []string{addr("self")}
	return &world{t: t, now: time.Unix(1e9, 0), l: newLedger(cfg, sources)}
}

func src(removal Removal) Source { return Source{Name: "src", Removal: removal} }

// addr gives every name an address of its own.
func addr(name string) string {
	n := 0
	for _, c := range name {
		n = n*31 + int(c)
	}
	return fmt.Sprintf("10.%d.%d.%d:7000", n>>16&255, n>>8&255, n&255)
}

// peers makes candidates of names: "a" has key a and the address of a, "a@b" has
// key a and the address of b.
func peers(names string) (cands []Candidate) {
	for name := range strings.FieldsSeq(names) {
		key, at, moved := strings.Cut(name, "@")
		if !moved {
			at = key
		}
		cands = append(cands, Candidate{Key: key, Addrs: []string{addr(at)}})
	}
	return cands
}

func (w *world) complete(s int, names string) {
	w.l.observe(w.now, s, Complete{Candidates: peers(names)})
}
func (w *world) partial(s int, names string) {
	w.l.observe(w.now, s, Partial{Candidates: peers(names)})
}
func (w *world) fail(s int) { w.l.fail(w.now, s, errors.New("SERVFAIL")) }

func (w *world) pass(d time.Duration) {
	w.now = w.now.Add(d)
	w.l.tick(w.now)
}

// repeat lets source s give the same complete answer for d, every 5 s.
func (w *world) repeat(s int, names string, d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.complete(s, names)
		w.pass(5 * time.Second)
	}
}

func (w *world) up(names string) {
	for name := range strings.FieldsSeq(names) {
		w.l.up("node-"+name, []string{addr(name)})
	}
}

func (w *world) down(name string) { w.l.ended(w.now, "node-"+name, wentDown); w.pass(0) }
func (w *world) left(name string) { w.l.ended(w.now, "node-"+name, wentAway); w.pass(0) }

func (w *world) contacts() []Contact {
	cs, _ := w.l.choose(w.now)
	return cs
}

func (w *world) contactKeys() string {
	var keys []string
	for _, c := range w.contacts() {
		keys = append(keys, c.Key)
	}
	slices.Sort(keys)
	return strings.Join(keys, " ")
}

func (w *world) want(keys string) {
	w.t.Helper()
	if got := w.contactKeys(); got != keys {
		w.t.Errorf("contacts are %q, want %q", got, keys)
	}
}

func (w *world) wantUse(key string, use Use) {
	w.t.Helper()
	for _, e := range w.l.snapshot(w.now).Candidates {
		if e.Key == key {
			if e.Use != use || e.Why == "" {
				w.t.Errorf("%s is %s (%s), want %s", key, e.Use, e.Why, use)
			}
			return
		}
	}
	w.t.Errorf("%s is unknown, want %s", key, use)
}

const hour = time.Hour

func TestAFailureWithdrawsNobody(t *testing.T) {
	w := newWorld(t, src(""))
	w.complete(0, "a b c")
	for range 20 {
		w.fail(0)
		w.pass(time.Minute)
	}
	w.want("a b c")
}

func TestAPartialObservationWithdrawsNobody(t *testing.T) {
	w := newWorld(t, src(""))
	w.complete(0, "a b c")
	for range 20 {
		w.partial(0, "d")
		w.pass(time.Minute)
	}
	w.want("a b c d")
}

func TestTwoSignalsForget(t *testing.T) {
	w := newWorld(t, src(""))
	w.complete(0, "a b c")
	w.up("a b c")
	w.repeat(0, "a b", hour)
	w.want("a b c") // withdrawn, but alive
	w.down("c")
	w.want("a b")

	w.down("b")
	w.repeat(0, "a b", hour)
	w.want("a b") // down, but vouched for
}

func TestAWithdrawalCountsAfterTheGrace(t *testing.T) {
	w := newWorld(t, src(""))
	w.complete(0, "a b c")
	w.complete(0, "a b")
	w.pass(29 * time.Second)
	w.want("a b c")
	w.pass(time.Second)
	w.want("a b")
}

func TestEverySourceThatVouchedMustWithdraw(t *testing.T) {
	w := newWorld(t, Source{Name: "one"}, Source{Name: "two"})
	w.complete(0, "a b")
	w.complete(1, "a b")
	w.repeat(0, "a", hour)
	w.want("a b")
	w.repeat(1, "a", time.Minute)
	w.want("a")
}

func TestRemovalModes(t *testing.T) {
	for removal, want := range map[Removal]string{RemoveTwoSignal: "a b", RemoveNever: "a b", RemoveSource: "a"} {
		w := newWorld(t, src(removal))
		w.complete(0, "a b")
		w.up("a b")
		w.repeat(0, "a", hour)
		w.want(want)
	}
	w := newWorld(t, src(RemoveNever))
	w.complete(0, "a b")
	w.repeat(0, "a", hour)
	w.want("a b")
}

func TestAnEmptyAnswerMustBeConfirmed(t *testing.T) {
	w := newWorld(t, src(RemoveSource))
	w.complete(0, "a b c")
	w.complete(0, "")
	w.complete(0, "")
	w.complete(0, "")
	w.complete(0, "") // four in a row are one
	w.pass(hour)
	w.want("a b c")
	if s := w.l.snapshot(w.now).Sources[0]; s.State != StateDoubtful || s.Held != 3 {
		t.Errorf("source is %s and holds %d, want doubtful and 3", s.State, s.Held)
	}
	w.complete(0, "") // one more is one confirmation, however late
	w.pass(0)
	w.want("a b c")
	w.complete(0, "a b c") // it was a hiccup
	for range 3 {
		w.complete(0, "")
		w.pass(10 * time.Second)
	}
	w.want("a b c")
	w.complete(0, "")
	w.pass(0)
	w.want("")
}

func TestAFailureEndsADoubt(t *testing.T) {
	w := newWorld(t, src(RemoveSource))
	w.complete(0, "a")
	for range 50 {
		w.complete(0, "")
		w.pass(10 * time.Second)
		w.complete(0, "")
		w.pass(10 * time.Second)
		w.fail(0)
		w.pass(10 * time.Second)
	}
	w.want("a")
}

func TestADropOfMoreThanHalfOfTheLivingIsHeldBack(t *testing.T) {
	w := newWorld(t, src(RemoveSource))
	w.complete(0, "a b c d e")
	w.up("a b c d")
	w.complete(0, "a f") // e is not alive: three of four living are missing
	w.pass(hour)
	w.want("a b c d e f") // who is new is welcome at once
	w.repeat(0, "a f", time.Minute)
	w.want("a f")

	w = newWorld(t, src(RemoveSource))
	w.complete(0, "a b c d")
	w.up("a b c d")
	w.complete(0, "a b") // half is not more than half
	w.pass(time.Minute)
	w.want("a b")
}

func TestADoubtAsksAgain(t *testing.T) {
	w := newWorld(t, src(""))
	w.complete(0, "a")
	w.complete(0, "")
	asked := 0
	for range 32 {
		w.now = w.now.Add(time.Second)
		asked += len(w.l.tick(w.now))
	}
	if asked != 4 {
		t.Errorf("asked %d times within the grace, want 4", asked)
	}
	if d := w.l.deadline(w.now); d.IsZero() {
		t.Error("no deadline though a doubt is open")
	}
}

func TestDeltasNameWhoGoes(t *testing.T) {
	w := newWorld(t, src(""))
	w.l.observe(w.now, 0, Delta{Upserts: peers("a b c")})
	w.l.observe(w.now, 0, Delta{Withdrawn: []string{"a", "b", "nobody"}})
	w.pass(time.Minute)
	w.want("c")
}

func TestAnExpiryStandsStillWhileTheSourceFails(t *testing.T) {
	w := newWorld(t, src(""))
	cands := peers("a")
	cands[0].Expires = w.now.Add(time.Minute)
	w.l.observe(w.now, 0, Partial{Candidates: cands})
	w.pass(50 * time.Second)
	w.fail(0)
	w.pass(hour)
	w.want("a")
	w.partial(0, "b")
	w.pass(9 * time.Second)
	if e := w.l.snapshot(w.now).Find(addr("a"))[0].Evidence[0]; !e.Withdrawn.IsZero() {
		t.Error("the outage counted")
	}
	w.pass(time.Second)
	w.pass(29 * time.Second)
	w.want("a b")
	w.pass(time.Second)
	w.want("b")
}

func TestALongPauseExpiresNobodyAtOnce(t *testing.T) {
	w := newWorld(t, src(""))
	cands := peers("a")
	cands[0].Expires = w.now.Add(time.Minute)
	w.l.observe(w.now, 0, Partial{Candidates: cands})
	w.pass(24 * hour) // we were stopped
	w.want("a")
}

func TestAPodThatReturnsUnderItsNameIsWelcomeAtOnce(t *testing.T) {
	w := newWorld(t, src(""))
	w.complete(0, "pod-0")
	w.up("pod-0")
	w.left("pod-0")
	w.wantUse("pod-0", UseLeft)
	w.complete(0, "pod-0@new")
	w.wantUse("pod-0", UseContact)
	if c := w.contacts(); len(c) != 1 || c[0].Addrs[0] != addr("new") || len(c[0].Addrs) != 1 {
		t.Errorf("contacts are %v, want the new address alone", c)
	}
}

func TestANameThatMovesDoesNotCostTheLivingPeer(t *testing.T) {
	w := newWorld(t, src(""))
	w.complete(0, "pod-0@x")
	w.up("x")
	w.complete(0, "pod-0@y") // a lie, or the name was given to another
	w.repeat(0, "pod-0@y", hour)
	w.want(addr("x") + " pod-0")
	w.down("x")
	w.want("pod-0")
}

func TestSelfMissingIsAnAlarmAfterAMinute(t *testing.T) {
	w := newWorld(t, Source{Name: "all"}, Source{Name: "seeds", SelfOptional: true})
	missing := func() bool {
		s := w.l.snapshot(w.now).Sources
		if s[1].SelfMissing {
			t.Error("alarm for a source that need not list us")
		}
		return s[0].SelfMissing
	}
	w.complete(0, "a b")
	w.complete(1, "a b")
	w.pass(59 * time.Second)
	if missing() {
		t.Error("alarm too early")
	}
	w.pass(time.Second)
	if !missing() {
		t.Error("no alarm")
	}
	w.complete(0, "a b self")
	if missing() {
		t.Error("alarm though we are listed")
	}
}

func TestBoundsHold(t *testing.T) {
	w := newWorld(t, src(""))
	w.l.cfg.CandidatesMax, w.l.cfg.ContactsMax = 3, 2
	w.complete(0, "a b c d e")
	if cs := w.contacts(); len(cs) != 2 || len(w.l.records) != 3 {
		t.Errorf("%d contacts of %d candidates, want 2 of 3", len(cs), len(w.l.records))
	}
	h := w.l.snapshot(w.now).Sources[0]
	if h.Rejected != 2 || len(h.Skipped) != 2 || !strings.Contains(h.Skipped[0].Why, "candidates_max") {
		t.Errorf("health is %+v, want two rejected and said why", h)
	}
	w.l.observe(w.now, 0, Partial{Candidates: []Candidate{{Key: "x"}, {Addrs: []string{"10.0.0.1:1"}}, {Key: "y", Addrs: []string{"nope"}}}})
	if h := w.l.snapshot(w.now).Sources[0]; h.Rejected != 5 {
		t.Errorf("rejected %d, want 5", h.Rejected)
	}
}

func TestNothingIsLeftOfTheForgotten(t *testing.T) {
	w := newWorld(t, src(""))
	for i := range 200 {
		name := fmt.Sprint("p", i)
		w.complete(0, name)
		w.up(name)
		w.l.dialed(w.now, addr(name), "node-"+name, nil, 0)
		w.pass(10 * time.Second)
		w.down(name)
	}
	w.repeat(0, "p199", 20*time.Minute)
	if l := w.l; len(l.records) != 1 || len(l.byAddr) != 1 || len(l.nodes) != 0 || len(l.living) != 0 || len(l.hints) != 0 {
		t.Errorf("left: %d records, %d addresses, %d nodes, %d living, %d hints",
			len(l.records), len(l.byAddr), len(l.nodes), len(l.living), len(l.hints))
	}
}
