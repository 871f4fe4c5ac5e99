package wave

import (
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// timing is what is known of the clock at the other end of a connection of any
// kind, so that a frame tells how old it is: one that a stalled link or a
// stopped process held up must not run after its caller's deadline.
type timing struct {
	up     time.Time     // here
	rtt    time.Duration // latest; 0: not measured yet
	offset time.Duration // adds to the peer's clock to give ours; valid with rtt
	doubt  time.Duration // twice the error of offset, at the time of at
	at     time.Time     // of the latest measurement
}

// driftPer is how long two clocks take to drift apart by one unit of time at
// most: each may be slewed by 500 millionths (NTP's limit).
const driftPer = 1000

// doubtNow is twice the error of offset.
func (t *timing) doubtNow(now time.Time) time.Duration { return t.doubt + 2*now.Sub(t.at)/driftPer }

// LinkUp notes a connection of any kind, and when it came up.
func (w *Wave) LinkUp(at time.Time, id proto.LinkID) { w.clocks[id] = &timing{up: at} }

// Timing tells the measured round trip and clock offset of a link. An offset is
// known to half the round trip, so the quickest counts; the others only once it
// is old, for clocks drift.
func (w *Wave) Timing(now time.Time, id proto.LinkID, rtt, offset time.Duration) {
	rtt = max(1, rtt)
	t := w.clocks[id]
	if t == nil {
		return
	}
	t.doubt = t.doubtNow(now)
	if t.rtt == 0 || rtt <= t.doubt {
		t.offset, t.doubt = offset, rtt
	}
	t.rtt, t.at = rtt, now
}

// latest is the latest round trip of a connection; 0: not measured yet.
func (t *timing) latest() time.Duration {
	if t == nil {
		return 0
	}
	return t.rtt
}

// age is how old a frame may be that was stamped by the peer's clock. What is
// not known of the offset counts against the frame: a run that is refused can
// be asked for again, one that came after the deadline cannot be taken back.
func (w *Wave) age(now time.Time, on proto.LinkID, stamp time.Duration) time.Duration {
	t := w.clocks[on]
	switch {
	case t == nil:
		return 0
	case t.rtt > 0:
		return max(0, w.clock(now)-(stamp+t.offset)+t.doubtNow(now)/2)
	}
	return now.Sub(t.up) // it cannot be older, and the first ping went out when the link came up
}
