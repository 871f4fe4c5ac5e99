package discovery

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// polled runs a Poll whose looks take a while and records when they began.
type polled struct {
	*Poll
	running atomic.Int32

	mu    sync.Mutex // guards the rest
	began []time.Time
	round Round
	takes time.Duration
}

// gives sets what looks give, and how long they take.
func (p *polled) gives(r Round, takes time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.round, p.takes = r, takes
}

func startPoll(t *testing.T, every, min, max time.Duration) *polled {
	p := &polled{}
	p.Poll = NewPoll(every, min, max, func(ctx context.Context) Round {
		if p.running.Add(1) > 1 {
			t.Error("two looks at once")
		}
		defer p.running.Add(-1)
		p.mu.Lock()
		p.began = append(p.began, time.Now())
		round, takes := p.round, p.takes
		p.mu.Unlock()
		if takes > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(takes):
			}
		}
		return round
	})
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() { _ = p.Run(ctx, deaf{}) }()
	synctest.Wait()
	return p
}

// looks returns when each look began.
func (p *polled) looks() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.began)
}

type deaf struct{}

func (deaf) Observe(Observation) {}
func (deaf) Fail(error)          {}

// gaps checks that looks from the first given on are apart by want, ± 20 %.
func (p *polled) gaps(t *testing.T, from int, want ...time.Duration) {
	t.Helper()
	for i, w := range want {
		if from+i+1 >= len(p.looks()) {
			t.Fatalf("only %d looks", len(p.looks()))
		}
		if d := p.looks()[from+i+1].Sub(p.looks()[from+i]); d < w*8/10 || d > w*12/10 {
			t.Errorf("look %d came after %v, want %v ± 20 %%", from+i+1, d, w)
		}
	}
}

func TestPollLooksAtIntervalsOrAsTheTTLSays(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct{ ttl, want time.Duration }{{0, 30 * s}, {5 * s, 5 * s}, {time.Millisecond, 2 * s}, {hour, 60 * s}} {
		bubble(t, func(t *testing.T) {
			p := startPoll(t, 30*s, 2*s, 60*s)
			wait(hour)
			p.gives(Round{TTL: tt.ttl}, 0)
			wait(hour)
			p.gaps(t, len(p.looks())-6, tt.want, tt.want, tt.want, tt.want)
		})
	}
}

func TestPollBacksOffAndIsForgivenAfterTwoMinutes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const ms = time.Millisecond
		p := startPoll(t, 10*time.Second, time.Second, time.Minute)
		wait(hour)
		p.gives(Round{Err: errors.New("no")}, 0)
		from := len(p.looks())
		wait(5 * time.Minute)
		p.gaps(t, from, 800*ms, 1600*ms, 3200*ms, 6400*ms, 12800*ms, 25600*ms, 30000*ms, 30000*ms)
		p.gives(Round{}, 0)
		wait(time.Minute) // a short recovery forgives nothing
		p.gives(Round{Err: errors.New("no")}, 0)
		from = len(p.looks())
		wait(3 * time.Minute)
		p.gaps(t, from, 30000*ms)
		p.gives(Round{}, 0)
		wait(4 * time.Minute)
		p.gives(Round{Err: errors.New("no")}, 0)
		from = len(p.looks())
		wait(time.Minute)
		p.gaps(t, from, 800*ms)
	})
}

func TestRefreshOnDemandComesAtMostOnceASecond(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPoll(t, hour, hour, hour)
		wait(time.Minute)
		p.Refresh()
		synctest.Wait()
		if len(p.looks()) != 2 {
			t.Fatalf("%d looks, want a second one at once", len(p.looks()))
		}
		for range 1000 {
			p.Refresh()
			wait(10 * time.Millisecond)
		}
		if n := len(p.looks()); n < 11 || n > 13 {
			t.Errorf("%d looks in 10 s of asking, want 10 more", n)
		}
	})
}

func TestOverlappingRoundsCollapse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPoll(t, hour, hour, hour)
		p.gives(Round{}, 10*time.Second)
		wait(time.Minute)
		for range 50 {
			p.Refresh()
			wait(100 * time.Millisecond)
		}
		wait(time.Minute)
		if n := len(p.looks()); n != 3 {
			t.Errorf("%d looks, want the first, the one asked for, and one for all that came meanwhile", n)
		}
	})
}

func TestAFleetDoesNotLookInStep(t *testing.T) {
	bubble(t, func(t *testing.T) {
		at := map[time.Duration]int{}
		begin := time.Now()
		var fleet []*polled
		for range 200 {
			fleet = append(fleet, startPoll(t, 10*time.Second, time.Second, time.Minute))
		}
		wait(100 * time.Second)
		for _, p := range fleet {
			at[p.looks()[8].Sub(begin).Truncate(100*time.Millisecond)]++
		}
		for d, n := range at {
			if n > 20 {
				t.Errorf("%d of 200 look in the same 100 ms at %v", n, d)
			}
		}
	})
}

func TestLookShowsWhatWasFoundAndWhatWasNot(t *testing.T) {
	one := NewPoll(hour, hour, hour, func(context.Context) Round {
		return Round{Seen: Complete{
			Candidates: append(peers("a"), Candidate{Key: "bad", Addrs: []string{"nope"}}),
			Skipped:    []Skipped{{"b", "is terminating"}},
		}}
	})
	found, err := Look(t.Context(), one)
	if err != nil || found.Kind != "complete" || len(found.Candidates) != 1 || len(found.Skipped) != 2 {
		t.Errorf("found %+v, %v", found, err)
	}

	broken := NewPoll(hour, hour, hour, func(context.Context) Round { return Round{Err: Classed(Auth, "403")} })
	if _, err := Look(t.Context(), broken); ClassOf(err) != Auth {
		t.Errorf("got %v, want the failure", err)
	}

	bubble(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := Look(ctx, newScript()); err == nil || ClassOf(err) != Timeout {
			t.Errorf("got %v of a strategy that says nothing, want a timeout", err)
		}
	})
}

func TestNamesKeepTheirLastGoodAnswer(t *testing.T) {
	answer, down := "10.0.0.1", false
	n := NewNames(func(_ context.Context, host string) ([]netip.Addr, error) {
		if down {
			return nil, errors.New("SERVFAIL")
		}
		return []netip.Addr{netip.MustParseAddr(answer), netip.MustParseAddr("fd00::1")}, nil
	})
	entries := []Entry{{Addr: "Seed.example:7000"}, {Addr: "10.0.0.1:7000"}, {Addr: "10.0.0.1:7000"}}
	keys := func() string {
		cands, err := n.Candidates(t.Context(), entries)
		if down != (err != nil) {
			t.Errorf("down %v, error %v", down, err)
		}
		var keys []string
		for _, c := range cands {
			keys = append(keys, c.Key)
		}
		return strings.Join(keys, " ")
	}
	if got := keys(); got != "10.0.0.1:7000 [fd00::1]:7000" {
		t.Errorf("have %s", got)
	}
	answer = "10.0.0.2"
	const want = "10.0.0.2:7000 [fd00::1]:7000 10.0.0.1:7000"
	if got := keys(); got != want {
		t.Errorf("have %s, want %s", got, want)
	}
	down = true
	if got := keys(); got != want {
		t.Errorf("have %s, want %s while the resolver is down", got, want)
	}
}

func TestAddressesHaveOneForm(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.1:7000": "10.0.0.1:7000", "[::ffff:10.0.0.1]:7000": "10.0.0.1:7000", "[FD00::0:1]:7000": "[fd00::1]:7000",
		"Db-0.Example.:7000": "db-0.example:7000", "[fe80::1%eth0]:1": "[fe80::1%eth0]:1", "a_b:1": "a_b:1",
		"": "", "a": "", ":1": "", "a:": "", "a:0": "", "a:65536": "", "a:http": "", "0.0.0.0:1": "", "[::]:1": "", "224.0.0.1:1": "",
		"a..b:1": "", "a b:1": "", "fd00::1:7000": "", strings.Repeat("a.", 200) + ":1": "", strings.Repeat("a", 64) + ":1": "",
	} {
		got, err := ParseAddr(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q is %q, %v, want %q", in, got, err, want)
		}
	}
}

func FuzzParseAddrGivesACanonicalForm(f *testing.F) {
	for _, s := range []string{"10.0.0.1:7000", "[::ffff:10.0.0.1]:7000", "Db-0.Example.:7000", "[fe80::1%eth0]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := ParseAddr(s); err == nil {
			if b, err := ParseAddr(a); err != nil || a != b {
				t.Errorf("%q gives %q, which gives %q, %v", s, a, b, err)
			}
		}
	})
}

func TestErrorsHaveClasses(t *testing.T) {
	_, statErr := netip.ParseAddr("x")
	for _, tt := range []struct {
		err  error
		want Class
	}{
		{Classed(Throttled, "429"), Throttled},
		{context.DeadlineExceeded, Timeout},
		{errors.Join(errors.New("x"), Classed(Auth, "403")), Auth},
		{statErr, Unavailable},
	} {
		if got := ClassOf(tt.err); got != tt.want {
			t.Errorf("%v is %v, want %v", tt.err, got, tt.want)
		}
	}
	for c := range classes {
		if c.String() == "" {
			t.Errorf("class %d has no name", c)
		}
	}
}
