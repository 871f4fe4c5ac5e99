package discovery

import (
	"slices"
	"strings"
	"time"
)

// Snapshot is everything discovery knows, for people and metrics. It shares
// nothing with the Manager.
type Snapshot struct {
	At         time.Time   `json:"at"`
	Isolated   bool        `json:"isolated"`
	Sources    []Health    `json:"sources"`
	Candidates []Explained `json:"candidates"` // by key
	Cache      CacheHealth `json:"cache"`
}

// State is how a source fares.
type State string

// The states of a source.
const (
	StateStarting State = "starting" // it has not said anything yet
	StateOK       State = "ok"
	StateDoubtful State = "doubtful" // its last answer is suspicious and held back
	StateFailing  State = "failing"
)

// Health is how one source fares.
type Health struct {
	Source       string            `json:"source"`
	State        State             `json:"state"`
	Removal      Removal           `json:"removal"`
	LastSuccess  time.Time         `json:"last_success,omitzero"`
	FailingSince time.Time         `json:"failing_since,omitzero"`
	LastError    string            `json:"last_error,omitempty"`
	LastErrorAt  time.Time         `json:"last_error_at,omitzero"`
	LastClass    Class             `json:"last_class"` // of LastError
	Observations uint64            `json:"observations"`
	Failures     map[string]uint64 `json:"failures"` // by class
	Restarts     uint64            `json:"restarts"`
	Rejected     uint64            `json:"rejected"` // candidates that made no sense
	Vouched      int               `json:"vouched"`  // candidates it names now
	Held         int               `json:"held"`     // withdrawals held back
	HeldWhy      string            `json:"held_why,omitempty"`
	SelfMissing  bool              `json:"self_missing"` // its answers lack this node: is the selector right?
	Skipped      []Skipped         `json:"skipped,omitempty"`
	Rights       []string          `json:"rights,omitempty"`   // what it needs to be allowed to do
	Counters     map[string]uint64 `json:"counters,omitempty"` // the strategy's own

	failures [classes]uint64
}

// Evidence is one source's word for a candidate.
type Evidence struct {
	Source    string    `json:"source"`
	Addrs     []string  `json:"addrs"`
	Since     time.Time `json:"since"`              // of the present stretch
	Last      time.Time `json:"last"`               // when it was last said
	Withdrawn time.Time `json:"withdrawn,omitzero"` // zero while it holds
	Expires   time.Time `json:"expires,omitzero"`
}

// Explained is a candidate, who vouched for it, and what becomes of it.
type Explained struct {
	Candidate
	Node     string     `json:"node,omitempty"` // believed to answer
	Alive    bool       `json:"alive"`          // the overlay sees it
	Vouched  bool       `json:"vouched"`
	Use      Use        `json:"use"`
	Why      string     `json:"why"`
	Evidence []Evidence `json:"evidence"`
}

// CacheHealth is how the disk cache of last-known peers fares.
type CacheHealth struct {
	Path     string `json:"path,omitempty"`
	Degraded string `json:"degraded,omitempty"` // why it cannot be used; empty is fine
}

// Vouched counts the candidates that some source names now, without this node:
// the size of the cluster as discovery expects it, less one.
func (s Snapshot) Vouched() int {
	n := 0
	for _, c := range s.Candidates {
		if c.Vouched && c.Use != UseSelf && c.Use != UseDuplicate {
			n++
		}
	}
	return n
}

// Find returns the candidates whose key, host, node or address contains text.
func (s Snapshot) Find(text string) []Explained {
	var found []Explained
	for _, c := range s.Candidates {
		if strings.Contains(c.Key, text) || strings.Contains(c.Host, text) || strings.Contains(c.Node, text) ||
			slices.ContainsFunc(c.Addrs, func(a string) bool { return strings.Contains(a, text) }) {
			found = append(found, c)
		}
	}
	return found
}

func (l *ledger) snapshot(now time.Time) Snapshot {
	s := Snapshot{At: now, Isolated: l.isolated}
	vouched := make([]int, len(l.books))
	_, verdicts := l.choose(now)
	for _, r := range l.records {
		e := Explained{Candidate: r.newest().Clone(), Node: l.nodeOf(r, now), Alive: l.alive(r, now), Vouched: l.vouched(r)}
		e.Addrs = slices.Clone(r.addrs())
		e.Use, e.Why = verdicts[r.key].use, l.why(r, verdicts[r.key], now)
		for _, w := range r.words {
			if w.withdrawn.IsZero() {
				vouched[w.src]++
			}
			e.Evidence = append(e.Evidence, Evidence{
				Source: l.books[w.src].name, Addrs: slices.Clone(w.cand.Addrs),
				Since: w.since, Last: w.last, Withdrawn: w.withdrawn, Expires: w.cand.Expires,
			})
		}
		s.Candidates = append(s.Candidates, e)
	}
	slices.SortFunc(s.Candidates, func(a, b Explained) int { return strings.Compare(a.Key, b.Key) })
	for i, b := range l.books {
		if !b.cache {
			s.Sources = append(s.Sources, b.inspect(now, vouched[i]))
		}
	}
	return s
}

func (b *book) inspect(now time.Time, vouched int) Health {
	h := b.health
	h.Source, h.Removal, h.Vouched = b.name, b.removal, vouched
	h.FailingSince = b.failing
	h.Held, h.HeldWhy = b.doubt.held, b.doubt.why
	h.SelfMissing = b.selfAlarm(now)
	h.Skipped = slices.Clone(h.Skipped)
	h.Failures = map[string]uint64{}
	for c, n := range h.failures {
		h.Failures[Class(c).String()] = n
	}
	switch {
	case !b.failing.IsZero():
		h.State = StateFailing
	case b.doubt.why != "":
		h.State = StateDoubtful
	case h.LastSuccess.IsZero():
		h.State = StateStarting
	default:
		h.State = StateOK
	}
	return h
}
