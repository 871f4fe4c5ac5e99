// Package dns offers who is under some names in the DNS: A, AAAA and SRV.
//
// A look at a name has three outcomes: an answer; all servers say that there is
// no such name, which is an empty answer; or some server failed, and then what
// was known stays. It never takes an answer that was cut short, or a sample, for
// the whole. Names stay apart from addresses: a candidate from an A or AAAA
// record is keyed by its address, one from SRV by its target and port.
package dns

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/starlingmesh/starling/discovery"
)

const (
	// srvWarnFrom: an SRV answer reaches 64 KB, where DNS ends, at about 700 pods.
	srvWarnFrom = 500
	// roundMax bounds a round whatever the number of names and targets.
	roundMax = time.Minute
)

// DNS is the strategy.
type DNS struct {
	*discovery.Poll

	cfg    Config
	log    *slog.Logger
	client client

	// owned by look
	resolver resolver
	samplers map[string]*sampler
	answered map[string]string // name: its full name that last had an answer
	warned   bool
}

// New returns the strategy.
func New(cfg Config, log *slog.Logger) (*DNS, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("dns: %w", err)
	}
	c, err := newClient(cfg)
	if err != nil {
		return nil, fmt.Errorf("dns: %w", err)
	}
	d := &DNS{cfg: cfg, log: log, client: c, samplers: map[string]*sampler{}, answered: map[string]string{}}
	d.Poll = discovery.NewPoll(cfg.MaxRefresh, cfg.MinRefresh, cfg.MaxRefresh, d.look)
	return d, nil
}

// Describe says how the strategy is set up.
func (d *DNS) Describe() discovery.Description {
	return discovery.Description{Config: map[string]string{
		"names": strings.Join(d.cfg.Names, " "), "type": d.cfg.Type, "transport": d.cfg.Transport,
		"nameservers": strings.Join(orElse(d.cfg.Nameservers, []string{d.cfg.ResolvConf}), " "),
	}}
}

// look asks for all names once.
func (d *DNS) look(ctx context.Context) discovery.Round {
	ctx, cancel := context.WithTimeout(ctx, roundMax)
	defer cancel()
	r, err := readResolv(d.cfg)
	if err != nil && len(d.resolver.servers) == 0 {
		return discovery.Round{Err: err}
	}
	if err == nil {
		d.resolver = r
	} // else a file caught while it is written: go on with the old

	names := d.cfg.Names
	founds, errs := make([]found, len(names)), make([]error, len(names))
	together(len(names), func(i int) { founds[i], errs[i] = d.find(ctx, names[i]) })

	var round discovery.Round
	var all found
	complete := true
	for i, f := range founds {
		if errs[i] != nil && round.Err == nil {
			round.Err = errs[i]
		}
		sampled := errs[i] == nil && d.sampled(names[i], f)
		complete = complete && errs[i] == nil && !sampled && !f.part
		if len(f.cands) > 0 {
			d.answered[names[i]] = f.full
		}
		all.merge(f)
	}
	expires := time.Now().Add(d.cfg.Keep)
	for i := range all.cands {
		all.cands[i].Expires = expires // parts withdraw nobody, so time must
	}
	d.warn(all)
	round.TTL = all.ttl
	switch {
	case complete:
		round.Seen = discovery.Complete{Candidates: all.cands, Skipped: all.skipped}
	case len(all.cands) > 0 || round.Err == nil:
		round.Seen = discovery.Partial{Candidates: all.cands, Skipped: all.skipped}
	}
	return round
}

// sampled reports whether f is to be taken for a sample.
func (d *DNS) sampled(name string, f found) bool {
	switch d.cfg.Sampling {
	case always:
		return true
	case never:
		return false
	}
	s := d.samplers[name]
	if s == nil {
		s = &sampler{}
		d.samplers[name] = s
	}
	was := s.sticky > 0
	sampled := s.see(f.keys())
	if is := s.sticky > 0; is != was {
		d.log.Info("dns answers for a name look like samples, or no longer do", "name", name, "sampled", is)
	}
	return sampled
}

func (d *DNS) warn(f found) {
	many := f.services >= srvWarnFrom
	if many && !d.warned {
		d.log.Warn("dns: the srv answer comes near the most that dns can carry, about 700 nodes; use a records or another strategy",
			"services", f.services, "bytes", f.size)
	}
	d.warned = many
}

// found is who is under a name, or under several.
type found struct {
	full     string // the name in the search domain that had it
	cands    []discovery.Candidate
	skipped  []discovery.Skipped
	ttl      time.Duration
	part     bool // there may be more
	services int
	size     int // bytes of the largest answer
}

func (f *found) merge(g found) {
	seen := map[string]bool{}
	for _, c := range f.cands {
		seen[c.Key] = true
	}
	for _, c := range g.cands {
		if !seen[c.Key] {
			f.cands = append(f.cands, c)
			seen[c.Key] = true
		}
	}
	f.skipped = append(f.skipped, g.skipped...)
	f.ttl = shorter(f.ttl, g.ttl)
	f.part = f.part || g.part
	f.services += g.services
	f.size = max(f.size, g.size)
}

func (f *found) keys() []string {
	keys := make([]string, len(f.cands))
	for i, c := range f.cands {
		keys[i] = c.Key
	}
	return keys
}

// shorter returns the shorter of two TTLs, of which 0 is unknown.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
