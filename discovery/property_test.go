package discovery

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// chaos is a cluster whose sources are mad and whose overlay is sane.
type chaos struct {
	*world
	known map[string]bool // living addresses that were contacts since their node came up
	alive map[string]bool // names
}

var (
	chaosNames = []string{"p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9"}
	// Sources may point anywhere, to ourselves too.
	chaosTargets = append(slices.Clone(chaosNames), "self")
	chaosFaults  = []string{"well", "empty", "half", "fail", "sample", "moved", "merged", "delta", "expiring", "stranger", "restart"}
)

// schedules is how many random schedules of source faults are tried. `make schedules` tries 100,000, in two minutes.
var schedules = flag.Int("schedules", 3000, "random schedules of source faults to try")

// TestNoScheduleOfSourceFaultsLosesALivingPeer: whatever the sources say, a peer
// that the overlay sees alive and that was a contact stays one until the overlay
// loses it.
func TestNoScheduleOfSourceFaultsLosesALivingPeer(t *testing.T) {
	seen := map[string]int{}
	tried, kept := 0, 0
	checks := flag.Lookup("rapid.checks")
	was := checks.Value.String()
	defer func() { _ = flag.Set(checks.Name, was) }()
	if err := flag.Set(checks.Name, strconv.Itoa(*schedules)); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		c := &chaos{
			world: newWorld(t, Source{Name: "one"}, Source{Name: "two"}, Source{Name: "three", Removal: RemoveNever}),
			known: map[string]bool{}, alive: map[string]bool{},
		}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			c.step(rt, seen)
			c.check(rt)
			kept += len(c.known)
		}
		c.calm(rt)
		tried++
	})
	for _, f := range chaosFaults {
		if seen[f] == 0 {
			t.Errorf("fault %s never occurred", f)
		}
	}
	t.Logf("%d schedules, %d times a living peer was looked for and found; faults: %v", tried, kept, seen)
}

func (c *chaos) step(rt *rapid.T, seen map[string]int) {
	name := rapid.SampledFrom(chaosNames).Draw(rt, "peer")
	switch rapid.IntRange(0, 9).Draw(rt, "event") {
	case 0, 1:
		c.up(name)
		c.alive[name] = true
	case 2:
		if rapid.Bool().Draw(rt, "politely") {
			c.left(name)
		} else {
			c.down(name)
		}
		delete(c.alive, name)
		delete(c.known, addr(name))
	case 3:
		who := rapid.SampledFrom(chaosTargets).Draw(rt, "who answered")
		var err error
		if rapid.Bool().Draw(rt, "refused") {
			err = errors.New("refused")
		}
		if who != "self" {
			who = "node-" + who
		}
		c.l.dialed(c.now, addr(name), who, err, 0)
	case 4, 5:
		c.pass(time.Duration(rapid.IntRange(1, 120).Draw(rt, "seconds")) * time.Second)
	default:
		src := rapid.IntRange(0, 2).Draw(rt, "source")
		fault := rapid.SampledFrom(chaosFaults).Draw(rt, "fault")
		seen[fault]++
		c.fault(rt, src, fault)
	}
}

func (c *chaos) fault(rt *rapid.T, src int, fault string) {
	var some []Candidate
	for _, name := range chaosNames {
		if fault == "well" || rapid.Bool().Draw(rt, name) {
			some = append(some, peers(name)...)
		}
	}
	switch fault {
	case "well", "half":
		c.l.observe(c.now, src, Complete{Candidates: some})
	case "empty":
		c.repeat(src, "", time.Duration(rapid.IntRange(1, 60).Draw(rt, "for"))*time.Second)
	case "fail":
		c.fail(src)
	case "sample":
		c.l.observe(c.now, src, Partial{Candidates: some})
	case "moved": // names point to others' addresses
		for i := range some {
			some[i].Addrs = []string{addr(rapid.SampledFrom(chaosTargets).Draw(rt, "to"))}
		}
		c.l.observe(c.now, src, Complete{Candidates: some})
	case "merged": // one name has several peers' addresses
		for i := range some {
			some[i].Addrs = append(some[i].Addrs, addr(rapid.SampledFrom(chaosTargets).Draw(rt, "and")))
		}
		c.l.observe(c.now, src, Complete{Candidates: some})
	case "delta":
		c.l.observe(c.now, src, Delta{Withdrawn: slices.Clone(chaosNames[:rapid.IntRange(0, 10).Draw(rt, "n")]), Upserts: some[:len(some)/2]})
	case "expiring":
		for i := range some {
			some[i].Expires = c.now.Add(time.Second)
		}
		c.l.observe(c.now, src, Partial{Candidates: some})
	case "stranger":
		c.l.observe(c.now, src, Complete{Candidates: []Candidate{{Key: fmt.Sprint("s", c.now.Unix()), Addrs: []string{"10.99.0.1:1"}}}})
	case "restart": // of the strategy: it begins with its failure, and then knows nobody, or only some
		c.fail(src)
		c.l.observe(c.now, src, Complete{})
		c.l.observe(c.now, src, Complete{Candidates: some})
	default:
		panic(fault)
	}
	c.pass(0)
}

func (c *chaos) check(rt *rapid.T) {
	offered := map[string]bool{}
	for _, contact := range c.contacts() {
		for _, a := range contact.Addrs {
			if offered[a] {
				rt.Fatalf("address %s is in two contacts", a)
			}
			offered[a] = true
		}
	}
	for a := range c.known {
		if !offered[a] {
			rt.Fatalf("living peer at %s was lost", a)
		}
	}
	for name := range c.alive {
		if offered[addr(name)] {
			c.known[addr(name)] = true
		}
	}
}

// calm: once the sources tell the truth, the dead that no source holds on to are
// forgotten; or else a ledger that forgets nothing would pass.
func (c *chaos) calm(rt *rapid.T) {
	truth := ""
	for name := range c.alive {
		truth += " " + name
	}
	for range 30 {
		c.complete(0, truth+" anchor")
		c.complete(1, truth+" anchor")
		c.pass(10 * time.Second)
	}
	for key, r := range c.l.records {
		ofThree := r.word(2) != nil // which never withdraws
		// A record may outlive its address for the sake of a living peer that it
		// once led to.
		if !ofThree && !c.l.vouched(r) && !c.l.alive(r, c.now) && len(r.former) == 0 {
			rt.Fatalf("%s is dead, withdrawn by all, and still there", key)
		}
	}
}
