package discovery

import (
	"math/rand/v2"
	"time"
)

// Waits between attempts at a source: 0.8 s, doubling to 30 s; two minutes
// without a failure forgive everything.
const (
	backoffFirst = 800 * time.Millisecond
	backoffMax   = 30 * time.Second
	backoffReset = 2 * time.Minute
	jitterShare  = 0.2
)

// backoff counts failures of one source.
type backoff struct {
	wait time.Duration // the latest wait, 0 before the first failure
	last time.Time     // of the latest failure
}

// failed notes a failure and returns how long to wait, without jitter.
func (b *backoff) failed(now time.Time) time.Duration {
	// The wait itself does not count as time without failure.
	if b.wait == 0 || now.Sub(b.last)-b.wait >= backoffReset {
		b.wait = backoffFirst
	} else {
		b.wait = min(2*b.wait, backoffMax)
	}
	b.last = now
	return b.wait
}

// jitter returns d, 20 % more or less: a fleet that started together must not
// ask together.
func jitter(d time.Duration, rng *rand.Rand) time.Duration {
	return time.Duration(float64(d) * (1 + jitterShare*(2*rng.Float64()-1)))
}
