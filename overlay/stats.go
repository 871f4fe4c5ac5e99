package overlay

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlingmesh/starling/overlay/core"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/wire"
)

// Stats is what has been counted since the start, and how things stand. Keys
// of maps are from closed sets: they may label metrics.
type Stats struct {
	BytesIn, BytesOut   uint64            // of all connections, TLS included
	FramesIn, FramesOut map[string]uint64 // by message
	Links               map[string]int    // up now, by kind; "lane" too
	Queued              int               // bytes waiting in all links' queues
	Refused             map[string]uint64 // connections and dials that did not become a link, by reason
	AcceptErrors        uint64            // accepts that failed, mostly for lack of descriptors
	Handshakes          int               // connections not admitted yet, now
	Dials               map[DialCount]uint64
	Unread              map[string]uint64 // frames not understood, by reason; all but later_version ended their link
	Ignored             map[string]uint64 // what peers sent and was not acted upon, by reason
	Lag                 Lag
	Core                core.Stats // of at most a second ago
}

// Lag is how long inputs waited for the loop: the first of each batch.
type Lag struct {
	Batches uint64
	Sum     time.Duration
	Max     time.Duration
}

// meters are what Stats reads.
type meters struct {
	bytesIn, bytesOut atomic.Uint64
	acceptErrors      atomic.Uint64
	refusals          refusals
	dials             tally[DialCount]
	dialsSaid         failedDials
	unread            tally[string]
	ignored           tally[string]
	frames            struct{ in, out frameMeter }
	lag               lagMeter
	publishedAt       time.Time // owned by the loop
}

// Stats is a snapshot.
func (o *Overlay) Stats() Stats {
	s := Stats{
		BytesIn: o.bytesIn.Load(), BytesOut: o.bytesOut.Load(),
		FramesIn: o.frames.in.read(), FramesOut: o.frames.out.read(),
		Links: map[string]int{}, Refused: map[string]uint64{}, AcceptErrors: o.acceptErrors.Load(),
		Handshakes: o.gate.count(), Dials: o.dials.read(), Unread: o.unread.read(), Ignored: o.ignored.read(),
		Lag: o.lag.read(),
	}
	for _, l := range o.table.all() {
		s.Links[l.Kind.String()]++
		lanes, queued := l.Measure()
		s.Links[proto.LinkLane.String()] += lanes
		s.Queued += queued
	}
	for why := refusedWhy(1); why < whyEnd; why++ {
		if n := o.refusals.count[why].Load(); n > 0 {
			s.Refused[why.String()] = n
		}
	}
	s.Core = *o.inner.Load()
	return s
}

// tally counts by label; labels are constants of ours, so they are few.
type tally[K comparable] struct {
	mu    sync.Mutex // guards count
	count map[K]uint64
}

// DialCount is what dials are counted by.
type DialCount struct {
	Owner  string // the machine that dialled
	Result string // "up", or why not
}

// MarshalText makes it a key in JSON: the owner, a space, the result.
func (d DialCount) MarshalText() ([]byte, error) { return []byte(d.Owner + " " + d.Result), nil }

// UnmarshalText is its inverse.
func (d *DialCount) UnmarshalText(text []byte) error {
	var found bool
	if d.Owner, d.Result, found = strings.Cut(string(text), " "); !found {
		return fmt.Errorf("%q has no space", text)
	}
	return nil
}

func (t *tally[K]) add(label K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count == nil {
		t.count = map[K]uint64{}
	}
	t.count[label]++
}

func (t *tally[K]) read() map[K]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.count)
}

// frameMeter counts frames by their type's number. Every frame passes here.
type frameMeter [wire.Numbers]atomic.Uint64

func (m *frameMeter) add(msg proto.Message) { m[wire.Number(msg)].Add(1) }

func (m *frameMeter) read() map[string]uint64 {
	all := map[string]uint64{}
	for number := range m {
		if n := m[number].Load(); n > 0 {
			all[wire.TypeOf(number)] = n
		}
	}
	return all
}

// lagMeter is written by the loop alone.
type lagMeter struct{ batches, sum, max atomic.Uint64 }

func (m *lagMeter) add(d time.Duration) {
	m.batches.Add(1)
	m.sum.Add(uint64(max(d, 0)))
	if uint64(max(d, 0)) > m.max.Load() {
		m.max.Store(uint64(d))
	}
}

func (m *lagMeter) read() Lag {
	return Lag{Batches: m.batches.Load(), Sum: time.Duration(m.sum.Load()), Max: time.Duration(m.max.Load())}
}
