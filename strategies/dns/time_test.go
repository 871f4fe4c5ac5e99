package dns

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlingmesh/starling/discovery"
)

// scripted is a client whose one server is the test.
type scripted struct {
	mu    sync.Mutex // guards the rest
	addrs []netip.Addr
	ttl   time.Duration
	fails error
	part  bool
	slow  time.Duration // how long an answer takes
	asked []time.Time   // when it was asked for A
}

func (s *scripted) ask(ctx context.Context, _, _ string, k kind) (answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k == kindA {
		s.asked = append(s.asked, time.Now())
	}
	if s.slow > 0 {
		s.mu.Unlock()
		select {
		case <-time.After(s.slow):
		case <-ctx.Done():
		}
		s.mu.Lock()
	}
	if s.fails != nil || ctx.Err() != nil {
		return answer{}, errors.Join(s.fails, ctx.Err())
	}
	if k != kindA {
		return answer{ttl: s.ttl, bare: true}, nil
	}
	return answer{addrs: s.addrs, ttl: s.ttl, part: s.part}, nil
}

func (s *scripted) edit(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *scripted) questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// pictures is a sink that keeps the latest picture.
type pictures struct {
	mu    sync.Mutex // guards the rest
	cands []discovery.Candidate
	fails int
}

func (p *pictures) Observe(o discovery.Observation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch o := o.(type) {
	case discovery.Complete:
		p.cands = o.Candidates
	case discovery.Partial:
		p.cands = o.Candidates
	default:
		panic(o)
	}
}

func (p *pictures) Fail(error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fails++
}

func (p *pictures) first() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.cands) == 0 {
		return ""
	}
	return p.cands[0].Key
}

// running runs a strategy on a scripted server, on a clock that costs nothing.
func running(t *testing.T, cfg Config, test func(s *scripted, seen *pictures)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, seen := &scripted{ttl: 5 * time.Second}, &pictures{}
		cfg.ResolvConf, cfg.Nameservers = "", []string{"127.0.0.1"}
		d := mustNew(t, cfg)
		d.client = s
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		s.addrs = []netip.Addr{netip.MustParseAddr("10.0.0.1")}
		go func() { done <- d.Run(ctx, seen) }()
		synctest.Wait()
		test(s, seen)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func plain() Config {
	cfg := Default()
	cfg.Names, cfg.Port = []string{"mesh.example."}, 7000
	return cfg
}

// within 1.2 times: the promise is the TTL and 20 % of jitter.
const andJitter = 1.2

func TestAChangeIsSeenWithinTheTTLAndItsJitter(t *testing.T) {
	for _, ttl := range []time.Duration{3 * time.Second, 17 * time.Second} {
		running(t, plain(), func(s *scripted, seen *pictures) {
			s.edit(func() { s.ttl = ttl })
			time.Sleep(30 * time.Second)
			for i := range 50 {
				time.Sleep(time.Duration(i) * 700 * time.Millisecond) // another moment of the interval each time
				now := netip.AddrFrom4([4]byte{10, 0, 1, byte(i + 1)})
				s.edit(func() { s.addrs = []netip.Addr{now} })
				time.Sleep(time.Duration(andJitter * float64(ttl)))
				synctest.Wait()
				if want := now.String() + ":7000"; seen.first() != want {
					t.Fatalf("ttl %v, change %d: after the ttl and its jitter there is %s, want %s", ttl, i, seen.first(), want)
				}
			}
		})
	}
}

func TestANameIsNotAskedForMoreOftenThanItsTTLMinusJitter(t *testing.T) {
	cfg := plain()
	for _, tt := range []struct{ ttl, least, most time.Duration }{
		{10 * time.Second, 8 * time.Second, 12 * time.Second},
		{time.Millisecond, cfg.MinRefresh * 8 / 10, cfg.MinRefresh * 12 / 10}, // 0 in the record
		{time.Hour, cfg.MaxRefresh * 8 / 10, cfg.MaxRefresh * 12 / 10},
	} {
		running(t, cfg, func(s *scripted, _ *pictures) {
			s.edit(func() { s.ttl, s.asked = tt.ttl, nil })
			time.Sleep(10 * time.Minute)
			s.edit(func() {
				for i := 1; i < len(s.asked); i++ {
					if gap := s.asked[i].Sub(s.asked[i-1]); gap < tt.least || gap > tt.most {
						t.Errorf("ttl %v: %v between two questions, want %v to %v", tt.ttl, gap, tt.least, tt.most)
					}
				}
				if len(s.asked) < 10 {
					t.Errorf("ttl %v: asked %d times in 10 minutes", tt.ttl, len(s.asked))
				}
			})
		})
	}
}

func TestThatThereIsNobodyIsGoodForTheNegativeTTL(t *testing.T) {
	const negative = 7 * time.Second // of the SOA; the contract of an answer's ttl is tested on messages
	running(t, plain(), func(s *scripted, seen *pictures) {
		s.edit(func() { s.addrs, s.ttl = nil, negative })
		time.Sleep(time.Minute)
		before := s.questions()
		time.Sleep(time.Minute)
		if n := s.questions() - before; n < 7 || n > 11 { // 60 s / 8.4 s to 60 s / 5.6 s
			t.Errorf("asked %d times in a minute for what is good for %v", n, negative)
		}
		s.edit(func() { s.addrs = []netip.Addr{netip.MustParseAddr("10.0.0.2")} })
		wait := negative
		time.Sleep(time.Duration(andJitter * float64(wait)))
		synctest.Wait()
		if seen.first() != "10.0.0.2:7000" {
			t.Errorf("after the negative ttl and its jitter there is %q", seen.first())
		}
	})
}

func TestNamesAreAskedForTogetherSoThatSlowServersDoNotAddUp(t *testing.T) {
	cfg := plain()
	cfg.Names = nil
	for i := range namesMax {
		cfg.Names = append(cfg.Names, string(rune('a'+i/26))+string(rune('a'+i%26))+".example.")
	}
	running(t, cfg, func(s *scripted, seen *pictures) {
		s.edit(func() { s.slow = cfg.Timeout })
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		seen.mu.Lock()
		defer seen.mu.Unlock()
		if seen.fails > 0 {
			t.Errorf("%d rounds of %d names failed because each answer takes %v", seen.fails, namesMax, cfg.Timeout)
		}
	})
}

// TestAnswersThatStayCutShortDoNotKeepTheGoneForEver: a part withdraws nobody, so
// whoever a part once showed must expire.
func TestAnswersThatStayCutShortDoNotKeepTheGoneForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{ttl: 5 * time.Second, part: true, addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}}
		cfg := plain()
		cfg.ResolvConf, cfg.Nameservers = "", []string{"127.0.0.1"}
		d := mustNew(t, cfg)
		d.client = s
		mcfg := discovery.Default()
		mcfg.Self = "self"
		m, err := discovery.New([]discovery.Source{{Name: "dns", Strategy: d, SelfOptional: true}}, mcfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		time.Sleep(time.Minute)
		s.edit(func() { s.addrs = s.addrs[:1] })
		wantPeers := func(when string, want int) {
			t.Helper()
			synctest.Wait()
			if n := len(m.Snapshot().Candidates); n != want {
				t.Errorf("%s there are %d, want %d", when, n, want)
			}
		}
		time.Sleep(cfg.Keep - time.Minute)
		wantPeers("before it expires", 2)
		s.edit(func() { s.fails = errors.New("SERVFAIL") })
		time.Sleep(time.Hour)
		wantPeers("while the server fails", 2)
		s.edit(func() { s.fails = nil })
		time.Sleep(2*time.Minute + mcfg.Grace)
		wantPeers("after it has expired", 1)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
