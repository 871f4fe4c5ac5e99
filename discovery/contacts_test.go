package discovery

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestSelfIsNoContact(t *testing.T) {
	w := newWorld(t, src(""))
	w.complete(0, "self a nat")
	w.wantUse("self", UseSelf)
	w.want("a nat")
	w.l.dialed(w.now, addr("nat"), "self", nil, 0) // we answered ourselves
	w.want("a")
	w.pass(hintTTL)
	w.want("a nat") // addresses are reused, so this does not stay true
}

func TestOneNodeUnderTwoKeysIsOneContact(t *testing.T) {
	w := newWorld(t, Source{Name: "one"}, Source{Name: "two"})
	w.complete(0, "uid")
	w.complete(1, "other")
	w.want("other uid")
	w.l.dialed(w.now, addr("uid"), "n", nil, 0)
	w.l.dialed(w.now, addr("other"), "n", nil, 0)
	cs := w.contacts()
	if len(cs) != 1 || len(cs[0].Addrs) != 2 || cs[0].Node != "n" {
		t.Errorf("contacts are %+v, want one with both addresses", cs)
	}
}

func TestAVirtualIPIsAContactAndNobodysAddress(t *testing.T) {
	w := newWorld(t, src(""))
	w.complete(0, "vip a b")
	w.up("a b")
	w.l.dialed(w.now, addr("vip"), "node-a", nil, 0)
	w.l.dialed(w.now, addr("vip"), "node-b", nil, 0)
	w.want("a b vip")
	w.l.dialed(w.now, addr("vip"), "node-a", nil, 0) // still
	w.want("a b vip")
}

func TestTheNewestHandshakeCounts(t *testing.T) {
	w := newWorld(t, src(""))
	w.complete(0, "a")
	w.up("a")
	w.down("a")
	w.l.dialed(w.now, addr("a"), "node-new", nil, 0)
	if c := w.contacts()[0]; c.Node != "node-new" {
		t.Errorf("the address is held for %s's", c.Node)
	}
}

func TestFailedDialsBackOffFromOneSecondToAMinute(t *testing.T) {
	w := newWorld(t, src(""))
	w.complete(0, "a b")
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		w.l.dialed(w.now, addr("a"), "", errors.New("refused"), 0)
		cs := w.contacts()
		if cs[1].Key != "a" || cs[1].NotBefore.Sub(w.now) != want*time.Second {
			t.Errorf("contacts are %+v, want a last and not before %v s", cs, want)
		}
		w.wantUse("a", UseLater)
		w.pass(want * time.Second)
	}
	w.wantUse("a", UseContact)
	w.l.dialed(w.now, addr("a"), "node-a", nil, 0)
	w.l.dialed(w.now, addr("a"), "", errors.New("refused"), 0)
	if cs := w.contacts(); cs[1].NotBefore.Sub(w.now) != time.Second {
		t.Errorf("a success does not reset the backoff: %+v", cs)
	}
}

func TestNotAllNodesCallTheSameContactFirst(t *testing.T) {
	first := map[string]int{}
	for i := range 300 {
		w := newWorld(t, src(""))
		w.l.cfg.Self = fmt.Sprint("self-", i)
		w.complete(0, "a b c")
		first[w.contacts()[0].Key]++
	}
	for key, n := range first {
		if n < 60 || n > 140 {
			t.Errorf("%s is first for %d of 300, want about 100", key, n)
		}
	}
}

func TestContactsAreSpreadOverSourcesAndZones(t *testing.T) {
	w := newWorld(t, Source{Name: "one"}, Source{Name: "two"})
	var many []Candidate
	for i := range 50 {
		c := peers(fmt.Sprint("p", i))[0]
		c.Labels = map[string]string{LabelZone: fmt.Sprint("z", min(i/10, 1))}
		many = append(many, c)
	}
	w.l.observe(w.now, 0, Complete{Candidates: many})
	w.complete(1, "lone")
	seen := map[string]bool{}
	for _, c := range w.contacts()[:3] {
		seen[c.Zone] = true
	}
	if len(seen) != 3 {
		t.Errorf("the first three are of %v, want both zones and the other source", seen)
	}
	w.l.dialed(w.now, w.contacts()[0].Addrs[0], "x", nil, 0)
	tried := w.contacts()[len(w.contacts())-1]
	if tried.Node != "x" {
		t.Errorf("last is %+v, want the one tried lately", tried)
	}
}

func TestWhoLeftGetsNoNewContactsForAMinute(t *testing.T) {
	w := newWorld(t, src(""))
	w.complete(0, "a b")
	w.up("a b")
	w.left("a")
	w.repeat(0, "a b", 50*time.Second) // the source lags
	w.want("b")
	w.pass(15 * time.Second)
	w.want("a b")

	w.left("b")
	w.complete(0, "a")
	w.pass(time.Second)
	w.complete(0, "a b") // taken out and in again: it is back
	w.want("a b")
	w.left("a")
	w.up("a")
	w.want("a b")
}

// Found by the property test: a candidate with two addresses was held back for
// the one that had left, and took the living one with it.
func TestWhoLeftHidesNobodyWhoSharesItsCandidate(t *testing.T) {
	w := newWorld(t, Source{Name: "one"}, Source{Name: "two"})
	w.complete(0, "a")
	w.up("a")
	w.complete(0, "a@b")
	w.up("b")
	w.left("b")
	w.complete(1, "a")
	w.want("a")
}

func TestTheTerminatingGetNoNewContacts(t *testing.T) {
	w := newWorld(t, src(""))
	cands := peers("a b")
	cands[0].Ready, cands[0].Terminating = Yes, Yes // as with publishNotReadyAddresses
	w.l.observe(w.now, 0, Complete{Candidates: cands})
	w.want("b")
	w.wantUse("a", UseTerminating)
}

func TestEvidenceSaysWhoVouchedSinceWhen(t *testing.T) {
	w := newWorld(t, Source{Name: "one"}, Source{Name: "two"})
	w.complete(0, "a b")
	began := w.now
	w.pass(time.Minute)
	w.complete(1, "a")
	w.complete(0, "b")
	found := w.l.snapshot(w.now).Find(addr("a"))
	if len(found) != 1 || len(found[0].Evidence) != 2 {
		t.Fatalf("found %+v, want a with two pieces of evidence", found)
	}
	one, two := found[0].Evidence[0], found[0].Evidence[1]
	if one.Source != "one" || !one.Since.Equal(began) || one.Withdrawn.IsZero() ||
		two.Source != "two" || !two.Since.Equal(w.now) || !two.Withdrawn.IsZero() {
		t.Errorf("evidence is %+v", found[0].Evidence)
	}
	if n := w.l.snapshot(w.now).Vouched(); n != 2 {
		t.Errorf("vouched for %d, want 2", n)
	}
}
