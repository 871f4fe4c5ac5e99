package discovery

import (
	"errors"
	"fmt"
	"time"
)

// Config is what the Manager can be told. Start from [Default].
type Config struct {
	// Grace (grace, 30s) is for how long a source must have withdrawn a peer
	// before that counts, and over which a suspicious answer must be confirmed.
	// Too short: a hiccup of DNS looks like a departure. Too long: addresses of
	// the dead are tried for longer. 1s to 1h.
	Grace time.Duration `yaml:"grace"`
	// Debounce (debounce, 100ms) is how long changes are gathered before the
	// overlay is told. Too long delays a join; 0 tells every change. After four
	// in a row the pace is a millisecond for each candidate, at most 2 s.
	Debounce time.Duration `yaml:"debounce"`
	// StartJitter (start_jitter, 250ms) is the most that a node waits before it
	// offers its first contacts, so that a fleet started at once does not dial
	// at once.
	StartJitter time.Duration `yaml:"start_jitter"`
	// CandidatesMax (candidates_max, 16384) bounds the candidates of all sources
	// together. Each costs about 1 KB.
	CandidatesMax int `yaml:"candidates_max"`
	// ContactsMax (contacts_max, 1024) bounds the contacts that the overlay is
	// offered. Each node has its own order, so together they still try all.
	ContactsMax int `yaml:"contacts_max"`
	// CacheFile (cache_file, empty = none) keeps up to 256 last-known peers over
	// a restart, for the day on which no source answers. A hint only: losing it
	// costs nothing.
	CacheFile string `yaml:"cache_file"`

	// Self is this node's ID as the overlay writes it, and SelfAddrs what it
	// advertises.
	Self      string   `yaml:"-"`
	SelfAddrs []string `yaml:"-"`
	// Contacts is told the contacts, best first, whenever they change. It is
	// called from one goroutine; while it runs, changes collapse, so that a slow
	// consumer gets the newest. The slice is its own. It must return before Run
	// can.
	Contacts func([]Contact) `yaml:"-"`
}

// Default returns the defaults.
func Default() Config {
	return Config{
		Grace:         30 * time.Second,
		Debounce:      100 * time.Millisecond,
		StartJitter:   250 * time.Millisecond,
		CandidatesMax: 16384,
		ContactsMax:   1024,
	}
}

// Validate says what is wrong with c, naming keys as in the configuration file.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Grace >= time.Second && c.Grace <= time.Hour, "grace: %v is not within 1s and 1h", c.Grace)
	check(c.Debounce >= 0 && c.Debounce <= 10*time.Second, "debounce: %v is not within 0s and 10s", c.Debounce)
	check(c.StartJitter >= 0 && c.StartJitter <= time.Minute, "start_jitter: %v is not within 0s and 1m", c.StartJitter)
	check(c.CandidatesMax >= 1 && c.CandidatesMax <= 1<<20, "candidates_max: %d is not within 1 and 1048576", c.CandidatesMax)
	check(c.ContactsMax >= 1 && c.ContactsMax <= c.CandidatesMax, "contacts_max: %d is not within 1 and candidates_max (%d)", c.ContactsMax, c.CandidatesMax)
	return errors.Join(errs...)
}

func checkSources(sources []Source) error {
	var errs []error
	seen := map[string]bool{cacheSource: true}
	for i, s := range sources {
		if s.Name == "" || seen[s.Name] {
			errs = append(errs, fmt.Errorf("source %d: name %q is empty or taken", i+1, s.Name))
		}
		seen[s.Name] = true
		if s.Strategy == nil {
			errs = append(errs, fmt.Errorf("source %q: no strategy", s.Name))
		}
		switch s.Removal {
		case "", RemoveTwoSignal, RemoveNever, RemoveSource:
		default:
			errs = append(errs, fmt.Errorf("source %q: removal: %q is none of two-signal, never, source", s.Name, s.Removal))
		}
	}
	return errors.Join(errs...)
}
