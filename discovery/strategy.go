package discovery

import (
	"context"
	"maps"
	"slices"
	"time"
)

// A Strategy looks at one source of addresses.
//
// Run reports what the source knows to sink until ctx ends, and then returns
// with nothing of it left running. Returning an error (or nil while ctx lives)
// means "restart me with backoff"; the last observation stays. Run may be called
// again after it has returned, never twice at once.
//
// While the source cannot be asked, report Fail and never an empty set: old
// addresses are worth more than none. When one round has both results and a
// failure, Observe comes first.
type Strategy interface {
	Run(ctx context.Context, sink Sink) error
}

// A Sink takes the reports of one strategy. Its methods do not block, may be
// called from any goroutine, and must not be called once Run has returned.
type Sink interface {
	// Observe hands an observation over: the strategy neither reads nor writes
	// its slices and maps afterwards.
	Observe(Observation)
	// Fail says that the source could not be asked. Give the error a [Class]
	// with [Classed] where [ClassOf] cannot tell. Nothing is withdrawn.
	Fail(error)
}

// Observation is what a source shows: [Complete], [Partial] or [Delta].
//
//sumtype:decl
type Observation interface{ observation() }

// Complete is the whole picture: who is not in it is withdrawn.
type Complete struct {
	Candidates []Candidate
	Skipped    []Skipped
}

// Partial is a part of the picture (a sample, a list of seeds, an answer with
// holes): it adds and refreshes, it never withdraws.
type Partial struct {
	Candidates []Candidate
	Skipped    []Skipped
}

// Delta is a change: Upserts are added or replaced, the candidates with the
// keys in Withdrawn are withdrawn. A source that says who left says so by name,
// so a delta is never held back as suspicious.
type Delta struct {
	Upserts   []Candidate
	Withdrawn []string
}

func (Complete) observation() {}
func (Partial) observation()  {}
func (Delta) observation()    {}

// Skipped is something a strategy saw and did not offer, for people to read.
type Skipped struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// Tri is a condition that may be unknown.
type Tri uint8

// The values of a Tri.
const (
	Unknown Tri = iota
	Yes
	No
)

func (t Tri) String() string {
	switch t {
	case Unknown:
		return "unknown"
	case Yes:
		return "yes"
	case No:
		return "no"
	default:
		panic("discovery: no such Tri")
	}
}

// MarshalText writes unknown, yes or no.
func (t Tri) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Candidate is one peer as a source sees it.
type Candidate struct {
	// Key names the peer as long as it is the same peer, across rounds and
	// restarts: a pod's UID, or the address when there is nothing better. Equal
	// keys from several sources are one candidate. At most 512 bytes.
	Key string `json:"key"`
	// Addrs are where it may be dialled, "host:port", best first, all families,
	// 1 to 16. Use IP literals: only these can be compared with what living
	// members advertise.
	Addrs []string `json:"addrs"`
	// Host is its name for people, if it has one.
	Host string `json:"host,omitempty"`

	Ready       Tri `json:"ready"`
	Serving     Tri `json:"serving"`
	Terminating Tri `json:"terminating"` // Yes: it gets no new contacts

	// Labels: zone, node, namespace, revision, and whatever the source has. At
	// most 32. Contacts are spread over the values of "zone".
	Labels map[string]string `json:"labels,omitempty"`
	// Expires ends this source's word for the candidate unless it is renewed.
	// Zero is never. The clock stands still while the source fails.
	Expires time.Time `json:"expires,omitzero"`
}

// LabelZone is the label that contacts are spread over.
const LabelZone = "zone"

// Clone returns a copy that shares nothing with c.
func (c Candidate) Clone() Candidate {
	c.Addrs = slices.Clone(c.Addrs)
	c.Labels = maps.Clone(c.Labels)
	return c
}

// Removal says what it takes to forget a candidate that a source withdrew.
type Removal string

// The ways of removal.
const (
	// RemoveTwoSignal: withdrawn for the grace, and the overlay does not see it.
	RemoveTwoSignal Removal = "two-signal"
	// RemoveNever: this source's word stays for ever.
	RemoveNever Removal = "never"
	// RemoveSource: withdrawn for the grace is enough.
	RemoveSource Removal = "source"
)

// Source is a strategy and what else it offers. Nil means not offered.
type Source struct {
	Name     string   // unique; appears in logs, metrics and evidence
	Strategy Strategy // required
	Removal  Removal  // empty is RemoveTwoSignal

	// SelfOptional: the source need not list this node, so its absence is no
	// alarm (a list of seeds).
	SelfOptional bool

	// Refresh asks for a look soon. It must not block.
	Refresh func()
	// Describe tells people how the source is set up (secrets redacted) and
	// which rights it needs.
	Describe func() Description
	// Counters are what the strategy has counted since it was made, by what: a
	// closed set of names, for metrics. It must not block.
	Counters func() map[string]uint64
}

// Description is what a source says about itself to people.
type Description struct {
	Config map[string]string `json:"config"`
	Rights []string          `json:"rights,omitempty"`
}
