package rpc

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// Mesh is what rpc needs of the overlay.
type Mesh interface {
	// Submit hands the overlay's loop an input, in order, and returns at once: it
	// neither waits nor calls back. It may be called from within Service.Handle.
	// Inputs are StartCall, CancelCall, LocalResult, Publish and UpdateSelf.
	Submit(in proto.Input)
	// Roster is everybody this node knows. Never nil; immutable.
	Roster() *proto.Roster
}

// Service is the layer between the overlay and the applications. Its methods
// are safe for concurrent use; Handle alone belongs to the overlay's loop.
type Service struct {
	cfg  Config
	mesh Mesh
	log  *slog.Logger

	mu       sync.Mutex // guards the rest; Submit is all that is called under it
	closed   bool
	draining bool
	started  time.Time

	lastRef uint64
	calls   map[uint64]*call
	casts   bucket

	apps    []*App // in the order they came
	methods map[string][]*App
	topics  map[string][]*App
	tasks   map[proto.CallID]*task
	turn    int // of applications that serve the same method
	expiry  *time.Timer
	expires time.Time // when expiry fires; zero: not armed

	counts   map[Counter]uint64
	changed  time.Time // of the members
	stable   time.Time // of who is alive
	links    map[peer.ID]proto.LinkID
	watchers map[*Watcher]struct{}
	names    nameIndex
	size     sizeOf
}

// New makes the service. Nothing runs until it is asked.
func New(mesh Mesh, cfg Config, log *slog.Logger) (*Service, error) {
	if err := cfg.Check(); err != nil {
		return nil, fmt.Errorf("bounds of the local API: %w", err)
	}
	now := time.Now()
	return &Service{
		cfg: cfg, mesh: mesh, log: log, started: now, changed: now, stable: now,
		calls: map[uint64]*call{}, casts: bucket{rate: float64(cfg.CastsPerSecond), level: float64(cfg.CastsPerSecond), at: now},
		methods: map[string][]*App{}, topics: map[string][]*App{}, tasks: map[proto.CallID]*task{},
		counts: map[Counter]uint64{}, links: map[peer.ID]proto.LinkID{}, watchers: map[*Watcher]struct{}{},
	}, nil
}

// Handle takes what the overlay tells the layer above. It is called on the
// overlay's loop, in order, and never waits for an application. Outputs that
// are not for this layer are left alone.
func (s *Service) Handle(out proto.Output) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch out := out.(type) {
	case proto.CallStarted:
		s.callStarted(out)
	case proto.CallVerdict:
		s.callVerdict(&out)
	case proto.CallDone:
		s.callDone(out)
	case proto.CallRefused:
		s.callRefused(out)
	case proto.Published:
		s.published(out)
	case proto.Dispatch:
		s.dispatch(&out)
	case proto.CancelDispatch:
		s.cancelDispatch(out)
	case proto.Deliver:
		s.deliver(&out)
	case proto.Gap:
		s.gap(out)
	case proto.MembersChanged:
		s.membersChanged(out)
	case proto.NeighborUp:
		s.links[out.Peer.ID] = out.Link
	case proto.NeighborDown:
		if s.links[out.Peer] == out.Link { // news of an old link changes nothing
			delete(s.links, out.Peer)
		}
	default: // the runtime's own
	}
}

// Close ends all applications and open calls, with the reason ShuttingDown.
func (s *Service) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	gone := Errorf(ShuttingDown, "the sidecar is shutting down")
	for _, c := range s.calls {
		s.finish(c, gone)
	}
	for _, a := range slices.Clone(s.apps) {
		s.detach(a, gone)
	}
	for w := range s.watchers {
		w.wake()
	}
	if s.expiry != nil {
		s.expiry.Stop()
	}
}

// Drain makes this node refuse calls to its applications from now on, or take
// them again, and tells everybody. It returns how many requests are open.
func (s *Service) Drain(on bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining != on {
		s.draining = on
		s.announce()
	}
	return len(s.tasks)
}

// Limits are the bounds in force.
func (s *Service) Limits() Config { return s.cfg }

// Self is this node.
func (s *Service) Self() *proto.Member {
	r := s.mesh.Roster()
	return r.Get(r.Self)
}

// announce tells the overlay what this node serves now.
func (s *Service) announce() {
	up := proto.UpdateSelf{Zone: s.cfg.Zone, Tags: s.cfg.Tags, Draining: s.draining, Handlers: sortedKeys(s.methods)}
	groups := map[string]bool{}
	for _, a := range s.apps {
		for _, g := range a.groups {
			groups[g] = true
		}
	}
	up.Groups = sortedKeys(groups)
	for t := range s.topics {
		up.Streams |= 1 << proto.TopicStream(t)
	}
	for m := range s.methods {
		up.Streams |= 1 << proto.TopicStream(methodTopic(m))
	}
	s.mesh.Submit(up)
}

func sortedKeys[V any](m map[string]V) []string {
	if len(m) == 0 {
		return nil
	}
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Counter names one thing that is counted since the start.
type Counter struct {
	Name  string // "refused", "verdict", "served", "dropped", …
	Label string // of Name: a reason, a verdict …; never from outside
}

// CounterValue is a counter with its value.
type CounterValue struct {
	Counter
	Value uint64
}

func (s *Service) count(name, label string) { s.counts[Counter{name, label}]++ }

// Count adds one to a counter, for transports.
func (s *Service) Count(name, label string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(name, label)
}

// Counters lists all counters that are not zero, sorted.
func (s *Service) Counters() []CounterValue {
	s.mu.Lock()
	list := make([]CounterValue, 0, len(s.counts))
	for c, v := range s.counts {
		list = append(list, CounterValue{c, v})
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b CounterValue) int {
		if a.Name != b.Name {
			return cmpString(a.Name, b.Name)
		}
		return cmpString(a.Label, b.Label)
	})
	return list
}

func cmpString(a, b string) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// Gauges is how much is held at this moment.
type Gauges struct {
	Calls, Applications, Requests, Watchers, QueuedBytes int
}

// Gauges tells how much is held at this moment.
func (s *Service) Gauges() Gauges {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := Gauges{Calls: len(s.calls), Applications: len(s.apps), Watchers: len(s.watchers)}
	for _, a := range s.apps {
		g.Requests += len(a.tasks)
		g.QueuedBytes += a.held + a.box.bytes + a.eventsBytes
	}
	return g
}

// refuse counts a refusal and is it.
func (s *Service) refuse(r Reason, format string, args ...any) *Error {
	s.count("refused", string(r))
	return Errorf(r, format, args...)
}

// Refuse counts a refusal that a transport makes, and is it.
func (s *Service) Refuse(r Reason, format string, args ...any) *Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refuse(r, format, args...)
}

// bucket lets rate events a second pass, and one second's worth at once.
type bucket struct {
	rate, level float64
	at          time.Time
}

func (b *bucket) take(now time.Time) bool {
	b.level = min(b.rate, b.level+now.Sub(b.at).Seconds()*b.rate)
	b.at = now
	if b.level < 1 {
		return false
	}
	b.level--
	return true
}

// bytesWords says a size for people.
func bytesWords(n int) string {
	if n >= 10<<20 || n >= 1<<20 && n%(1<<20) == 0 {
		return strconv.Itoa(n>>20) + " MiB"
	}
	return strconv.Itoa(n) + " bytes"
}
