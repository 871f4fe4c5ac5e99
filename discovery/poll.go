package discovery

import (
	"context"
	"math/rand/v2"
	"time"
)

// refreshGap is the least time between two looks. A refresh on demand comes from
// a node in trouble, and all nodes may be in trouble at once.
const refreshGap = time.Second

// A Round is what one look at a source gave.
type Round struct {
	Seen Observation   // nil: nothing
	TTL  time.Duration // how long it stays good; 0 is unknown
	Err  error         // may come together with Seen: a part was seen

	// Pause is how long the source asked to be left alone, at most an hour; it
	// goes before a refresh on demand, too.
	Pause time.Duration
}

const pauseMax = time.Hour

// Poll makes a [Strategy] of any look-up. It looks at once, then at intervals
// of Every or of the TTL that the look gave, with 20 % jitter; after a failure
// it backs off from 0.8 s to 30 s. There is never more than one look at a time.
type Poll struct {
	look  func(context.Context) Round
	every time.Duration
	min   time.Duration
	max   time.Duration
	ask   chan struct{} // capacity 1: requests collapse
}

// NewPoll returns a Poll. every is the interval without a TTL; a TTL is used
// within min and max. look must return when its context ends.
func NewPoll(every, min, max time.Duration, look func(context.Context) Round) *Poll {
	return &Poll{look: look, every: every, min: min, max: max, ask: make(chan struct{}, 1)}
}

// Refresh asks for a look soon: now, or when the last one began a second ago.
// Requests that come while one waits are the same request. It does not block.
func (p *Poll) Refresh() {
	select {
	case p.ask <- struct{}{}:
	default:
	}
}

// Run looks until ctx ends, and returns nil.
func (p *Poll) Run(ctx context.Context, sink Sink) error {
	rng := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	var trouble backoff
	for {
		began := time.Now()
		r := p.look(ctx)
		select {
		case <-ctx.Done():
			return nil // its errors are ours, not the source's
		default:
		}
		if r.Seen != nil {
			sink.Observe(r.Seen)
		}
		wait := p.interval(r.TTL)
		if r.Err != nil {
			sink.Fail(r.Err)
			wait = trouble.failed(time.Now())
		}
		pause := min(r.Pause, pauseMax)
		if !p.sleep(ctx, max(jitter(wait, rng), pause), began.Add(max(refreshGap, pause))) {
			return nil
		}
	}
}

func (p *Poll) interval(ttl time.Duration) time.Duration {
	if ttl <= 0 {
		return p.every
	}
	return min(max(ttl, p.min), p.max)
}

// sleep waits for the interval, or less when a refresh is asked for, but not less
// than until earliest. It reports whether to go on.
func (p *Poll) sleep(ctx context.Context, wait time.Duration, earliest time.Time) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-p.ask:
	}
	gap := time.NewTimer(min(wait, time.Until(earliest)))
	defer gap.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-gap.C:
		return true
	}
}
