// Package static offers a list of addresses from the configuration. Names in it
// are resolved again and again. It never withdraws an entry: what the operator
// wrote down stays a contact as long as it is written down.
package static

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/starlingmesh/starling/discovery"
)

// Config is the list and how often names in it are resolved.
type Config struct {
	// Contacts (contacts, required, 1 to 1024) are "host:port". A few nodes that
	// rarely move are enough: they tell about all others.
	Contacts []string `yaml:"contacts"`
	// Refresh (refresh, 30s, 1s to 1h) is how often names are resolved. Too long:
	// a contact that moved is missed; too short: load on the resolver. A list of
	// IP addresses is never looked at again.
	Refresh time.Duration `yaml:"refresh"`
	// Keep (keep, 1h, at least refresh) is for how long an address that a name no
	// longer has is offered. The clock stands still while the resolver fails.
	Keep time.Duration `yaml:"keep"`
}

const contactsMax = 1024

// Default returns the defaults; Contacts has none.
func Default() Config { return Config{Refresh: 30 * time.Second, Keep: time.Hour} }

// Validate says what is wrong with c, naming its keys.
func (c Config) Validate() error {
	var errs []error
	if n := len(c.Contacts); n == 0 || n > contactsMax {
		errs = append(errs, fmt.Errorf("contacts: %d entries, want 1 to %d", n, contactsMax))
	}
	for i, a := range c.Contacts {
		if _, err := discovery.ParseAddr(a); err != nil {
			errs = append(errs, fmt.Errorf("contacts[%d]: %w", i, err))
		}
	}
	if c.Refresh < time.Second || c.Refresh > time.Hour {
		errs = append(errs, fmt.Errorf("refresh: %v is not within 1s and 1h", c.Refresh))
	}
	if c.Keep < c.Refresh {
		errs = append(errs, fmt.Errorf("keep: %v is shorter than refresh (%v)", c.Keep, c.Refresh))
	}
	return errors.Join(errs...)
}

// Lookup resolves a host name to addresses of all families.
type Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// Static is the strategy.
type Static struct {
	*discovery.Poll

	cfg   Config
	names *discovery.Names
}

// New returns the strategy. lookup nil is the system's resolver.
func New(cfg Config, lookup Lookup) (*Static, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("static: %w", err)
	}
	s := &Static{cfg: cfg, names: discovery.NewNames(lookup)}
	s.Poll = discovery.NewPoll(cfg.Refresh, cfg.Refresh, cfg.Refresh, s.look)
	return s, nil
}

// Describe says how the strategy is set up.
func (s *Static) Describe() discovery.Description {
	return discovery.Description{Config: map[string]string{
		"contacts": fmt.Sprint(s.cfg.Contacts),
		"refresh":  s.cfg.Refresh.String(),
		"keep":     s.cfg.Keep.String(),
	}}
}

func (s *Static) look(ctx context.Context) discovery.Round {
	entries := make([]discovery.Entry, len(s.cfg.Contacts))
	for i, a := range s.cfg.Contacts {
		entries[i].Addr = a
	}
	cands, err := s.names.Candidates(ctx, entries)
	for i := range cands {
		if cands[i].Host != "" {
			cands[i].Expires = time.Now().Add(s.cfg.Keep)
		}
	}
	r := discovery.Round{Err: err}
	if len(cands) > 0 {
		// Never Complete: who is not on the list is not gone.
		r.Seen = discovery.Partial{Candidates: cands}
	}
	return r
}
