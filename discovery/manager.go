package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"sync"
	"time"
)

// isolatedRefresh is how often a node without links asks all its sources.
const isolatedRefresh = 10 * time.Second

// Manager runs the strategies, merges what they say, and tells the overlay whom
// to dial. The overlay tells it who lives: Up, Down, Left, Dialed, Isolated. All
// its methods may be called from any goroutine and do not block.
type Manager struct {
	cfg     Config   // set by New, never changed
	sources []Source // likewise
	log     *slog.Logger

	poke   chan struct{}  // capacity 1: the loop has something to do
	newest chan []Contact // capacity 1: what the consumer has not had yet

	published []Contact // owned by the loop
	told      []told    // owned by the loop: what was logged of each source
	refreshAt time.Time // owned by the loop: next refresh of all while isolated

	mu        sync.Mutex // guards the rest; held to work on it, never while calling out
	ledger    *ledger
	rng       *rand.Rand
	startAt   time.Time // no contacts before
	publishAt time.Time // zero: nothing to publish
	paidAt    time.Time // when what was chosen is paid for (GCRA, ITU-T I.371)
	tickAt    time.Time // zero: time alone changes nothing
	force     bool      // publish though nothing changed
	cacheErr  string
}

// New checks its arguments and returns a Manager that does nothing before Run.
func New(sources []Source, cfg Config, log *slog.Logger) (*Manager, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	if err := checkSources(sources); err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	for i, a := range cfg.SelfAddrs {
		addr, err := ParseAddr(a)
		if err != nil {
			return nil, fmt.Errorf("discovery: own %w", err)
		}
		if i == 0 {
			cfg.SelfAddrs = append([]string(nil), cfg.SelfAddrs...)
		}
		cfg.SelfAddrs[i] = addr
	}
	if cfg.Contacts == nil {
		cfg.Contacts = func([]Contact) {}
	}
	return &Manager{
		cfg: cfg, sources: sources, log: log,
		poke:   make(chan struct{}, 1),
		newest: make(chan []Contact, 1),
		told:   make([]told, len(sources)),
		ledger: newLedger(cfg, sources),
		rng:    rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
	}, nil
}

// Run discovers until ctx ends and returns nil; nothing of it is left running
// then. A strategy that stops is restarted with backoff. Call it once.
func (m *Manager) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	m.mu.Lock()
	m.startAt = time.Now().Add(time.Duration(m.rng.Float64() * float64(m.cfg.StartJitter)))
	m.mu.Unlock()
	if m.cfg.CacheFile != "" {
		m.loadCache()
		wg.Go(func() { m.keepCache(ctx) })
	}
	for src := range m.sources {
		wg.Go(func() { m.keepRunning(ctx, src) })
	}
	wg.Go(func() { m.deliver(ctx) })
	m.loop(ctx)
	return nil
}

func (m *Manager) keepRunning(ctx context.Context, src int) {
	var trouble backoff
	s := m.sources[src]
	for {
		err := s.Strategy.Run(ctx, sink{m, src})
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = Classed(Unavailable, "the strategy stopped by itself")
		}
		var wait time.Duration
		m.change(func(now time.Time) {
			m.ledger.fail(now, src, err)
			m.ledger.books[src].health.Restarts++
			wait = jitter(trouble.failed(now), m.rng)
		})
		m.log.Warn("discovery source stopped, restarting it", "source", s.Name, "in", wait, "why", err)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// sink is what source src reports to.
type sink struct {
	m   *Manager
	src int
}

func (s sink) Observe(o Observation) {
	s.m.change(func(now time.Time) { s.m.ledger.observe(now, s.src, o) })
}

func (s sink) Fail(err error) {
	s.m.change(func(now time.Time) { s.m.ledger.fail(now, s.src, err) })
}

// Up tells that a node lives and advertises addrs ("host:port"); again when its
// addresses change.
func (m *Manager) Up(node string, addrs []string) {
	m.changeWithin(unhurried, func(time.Time) { m.ledger.up(node, addrs) })
}

// Down tells that a node is taken for dead.
func (m *Manager) Down(node string) {
	m.changeWithin(unhurried, func(now time.Time) { m.ledger.ended(now, node, wentDown) })
}

// Left tells that a node said goodbye.
func (m *Manager) Left(node string) {
	m.changeWithin(unhurried, func(now time.Time) { m.ledger.ended(now, node, wentAway) })
}

// Dialed tells how a dial of a contact ended: with node as who answered the
// handshake (our own ID if we dialled ourselves), or with why it failed.
func (m *Manager) Dialed(addr, node string, err error) {
	m.changeWithin(leisurely, func(now time.Time) { m.ledger.dialed(now, addr, node, err, m.rng.Float64()) })
}

// Isolated tells whether this node has too few links. If so all sources are
// asked again at once, and the contacts are told again.
func (m *Manager) Isolated(isolated bool) {
	m.change(func(time.Time) {
		m.force = m.force || isolated && !m.ledger.isolated
		m.ledger.isolated = isolated
	})
}

// Refresh asks all sources again, at most once a second each.
func (m *Manager) Refresh() {
	for _, s := range m.sources {
		if s.Refresh != nil {
			s.Refresh()
		}
	}
}

// Snapshot returns everything there is to know now.
func (m *Manager) Snapshot() Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.ledger.snapshot(time.Now())
	for i, source := range m.sources {
		if source.Describe != nil {
			s.Sources[i].Rights = source.Describe().Rights
		}
		if source.Counters != nil {
			s.Sources[i].Counters = source.Counters()
		}
	}
	s.Cache = CacheHealth{Path: m.cfg.CacheFile, Degraded: m.cacheErr}
	return s
}

// change does f under the lock and has the outcome published soon.
func (m *Manager) change(f func(now time.Time)) { m.changeWithin(1, f) }

// How many debounces the overlay's own news may wait. It adds no contact: where
// hundreds join at once, choosing contacts anew for each would cost more than
// the joins. How a dial ended only moves one contact behind the others, and the
// overlay has a pace of its own for each; where a thousand do not answer, a node
// that chose anew for each, or even each second, would do nothing else.
const (
	unhurried = 10
	leisurely = 100
)

// To choose costs microseconds a candidate, so a rollout of thousands, where one
// changes after the other, is followed at this pace for each of them, up to
// paceMost; before it come paceBurst choices that wait for the debounce alone.
const (
	pace      = time.Millisecond
	paceMost  = 2 * time.Second
	paceBurst = 4
)

// changeWithin does f under the lock and has the outcome published in so many
// debounces.
func (m *Manager) changeWithin(debounces int, f func(now time.Time)) {
	m.mu.Lock()
	now := time.Now()
	f(now)
	m.publishWithin(now, time.Duration(debounces)*m.cfg.Debounce)
	m.mu.Unlock()
	select {
	case m.poke <- struct{}{}:
	default:
	}
}

// publishWithin needs mu.
func (m *Manager) publishWithin(now time.Time, wait time.Duration) {
	if m.force {
		wait = 0
	}
	at := later(now.Add(wait), m.startAt)
	if !m.force {
		at = later(at, m.paidAt.Add(-(paceBurst-1)*m.pace()))
	}
	m.publishAt = soonest(m.publishAt, at)
}

// pace is the time that choosing now costs. It needs mu.
func (m *Manager) pace() time.Duration {
	return min(time.Duration(len(m.ledger.records))*pace, paceMost)
}

func (m *Manager) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.poke:
		case <-timer.C:
		}
		if next := m.turn(time.Now()); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
	}
}

// turn does what is due and returns when it wants to be called again. It walks
// over all candidates, so a storm of changes waits for the debounce.
func (m *Manager) turn(now time.Time) (next time.Time) {
	m.mu.Lock()
	if !m.tickAt.IsZero() && !now.Before(m.tickAt) {
		m.publishWithin(now, m.cfg.Debounce) // time changed something
	} else if next = soonest(m.publishAt, soonest(m.tickAt, m.refreshAt)); next.IsZero() || now.Before(next) {
		m.mu.Unlock()
		return next
	}
	ask := m.ledger.tick(now)
	m.tickAt = m.ledger.deadline(now)
	health := make([]Health, len(m.sources))
	for i := range m.sources {
		health[i] = m.ledger.books[i].inspect(now, 0)
	}
	var contacts []Contact
	publish := !m.publishAt.IsZero() && !now.Before(m.publishAt)
	if publish {
		contacts, _ = m.ledger.choose(now)
		publish = m.force || !reflect.DeepEqual(contacts, m.published)
		m.publishAt, m.paidAt, m.force = time.Time{}, later(m.paidAt, now).Add(m.pace()), false
	}
	isolated := m.ledger.isolated
	next = soonest(m.publishAt, m.tickAt)
	m.mu.Unlock()

	if publish {
		m.published = contacts
		m.offer(contacts)
	}
	m.tell(health)
	m.refresh(now, ask, isolated)
	return soonest(next, m.refreshAt)
}

// offer replaces what the consumer has not taken yet.
func (m *Manager) offer(contacts []Contact) {
	select {
	case <-m.newest:
	default:
	}
	m.newest <- contacts // never blocks: only the loop sends
}

func (m *Manager) deliver(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case contacts := <-m.newest:
			own := make([]Contact, len(contacts))
			for i, c := range contacts {
				c.Addrs = append([]string(nil), c.Addrs...)
				own[i] = c
			}
			m.cfg.Contacts(own)
		}
	}
}

// refresh asks the sources whose answers are in doubt, and all when isolated.
func (m *Manager) refresh(now time.Time, ask []int, isolated bool) {
	switch {
	case !isolated:
		m.refreshAt = time.Time{}
	case m.refreshAt.IsZero() || !now.Before(m.refreshAt):
		m.mu.Lock()
		m.refreshAt = now.Add(jitter(isolatedRefresh, m.rng))
		m.mu.Unlock()
		m.Refresh()
		return
	}
	for _, src := range ask {
		if src < len(m.sources) && m.sources[src].Refresh != nil {
			m.sources[src].Refresh()
		}
	}
}

// told is what the log knows of a source.
type told struct {
	state       State
	selfMissing bool
}

// tell logs changes of the sources' states.
func (m *Manager) tell(health []Health) {
	for i, h := range health {
		was := m.told[i]
		m.told[i] = told{h.State, h.SelfMissing}
		log := m.log.With("source", h.Source)
		switch {
		case h.State == was.state:
		case h.State == StateFailing:
			log.Warn("discovery source fails; what it said before is kept", "class", h.LastClass.String(), "why", h.LastError)
		case h.State == StateDoubtful:
			log.Warn("discovery source gives a suspicious answer; held back until confirmed", "why", h.HeldWhy, "held", h.Held)
		case h.State == StateOK && was.state != StateStarting && was.state != "":
			log.Info("discovery source is well again")
		}
		if h.SelfMissing && !was.selfMissing {
			log.Warn("discovery source does not list this node; is its selector, name or port right?", "self", m.cfg.SelfAddrs)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func soonest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
