package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/starlingmesh/starling/discovery"
)

// togetherMax is how many names, and for each how many SRV targets, are resolved
// at a time.
const togetherMax = 16

// find returns who is under a name as configured. With an error, what it
// returns is a part.
func (d *DNS) find(ctx context.Context, name string) (found, error) {
	var part error
	var f found
	for _, full := range d.order(name) {
		g, err := d.findFull(ctx, full)
		g.full = full
		g.skipped = append(f.skipped, g.skipped...)
		if err != nil && part == nil {
			part = err
		}
		if len(g.cands) > 0 {
			// If an earlier name could not be asked, this may be another's name:
			// it may add, it does not tell the whole.
			return g, part
		}
		f = found{ttl: shorter(f.ttl, g.ttl), skipped: g.skipped, part: f.part || g.part}
	}
	return f, part
}

// order returns the full names to try for name. The one that last had an answer
// comes first: else each look would ask in every search domain before it, and one
// of these that fails (a cloud's, behind the cluster's) would spoil every look.
func (d *DNS) order(name string) []string {
	full := d.resolver.names(name)
	if i := slices.Index(full, d.answered[name]); i > 0 {
		full = slices.Concat(full[i:i+1], full[:i], full[i+1:])
	}
	return full
}

func (d *DNS) findFull(ctx context.Context, name string) (found, error) {
	if d.cfg.typeOf(host(name)) == srv {
		return d.findServices(ctx, name)
	}
	a, err := d.addresses(ctx, name)
	f := found{ttl: a.ttl, part: a.part, size: a.size}
	for _, ip := range a.addrs {
		addr := join(ip, uint16(d.cfg.Port))
		f.cands = append(f.cands, discovery.Candidate{Key: addr, Addrs: []string{addr}, Host: host(name)})
	}
	return f, err
}

func join(ip netip.Addr, port uint16) string { return netip.AddrPortFrom(ip, port).String() }

// addresses asks for the addresses of a name, of the families wanted, at once.
func (d *DNS) addresses(ctx context.Context, name string) (answer, error) {
	kinds := []kind{kindA, kindAAAA}
	switch {
	case d.cfg.Type == typeA, d.cfg.Type != type4A && d.cfg.Family == ipv4:
		kinds = kinds[:1]
	case d.cfg.Type == type4A, d.cfg.Family == ipv6:
		kinds = kinds[1:]
	}
	answers, errs := make([]answer, len(kinds)), make([]error, len(kinds))
	var wg sync.WaitGroup
	for i, k := range kinds {
		wg.Go(func() { answers[i], errs[i] = d.query(ctx, name, k) })
	}
	wg.Wait()
	var both answer
	for i, a := range answers {
		if other := answers[len(kinds)-1-i]; a.bare && !other.empty() {
			// Somebody says that it has no AAAA, and it has an A: that will do,
			// even if another server is broken.
			errs[i] = nil
		}
		if !both.empty() && a.empty() {
			continue // that it has no AAAA says nothing on when to ask for A again
		}
		if both.empty() {
			both.ttl = 0
		}
		both.join(a)
	}
	slices.SortFunc(both.addrs, netip.Addr.Compare) // IPv4 first
	both.addrs = slices.Compact(both.addrs)
	return both, errors.Join(errs...)
}

func (a *answer) join(b answer) {
	a.addrs = append(a.addrs, b.addrs...)
	a.srvs = append(a.srvs, b.srvs...)
	if a.glue == nil {
		a.glue = map[string][]netip.Addr{}
	}
	for h, ips := range b.glue {
		a.glue[h] = append(a.glue[h], ips...)
	}
	a.ttl = shorter(a.ttl, b.ttl)
	a.part = a.part || b.part
	a.bare = a.bare || b.bare
	a.size = max(a.size, b.size)
}

// query puts a question to the servers. Without error, either somebody answered,
// or all say that there is no such name. An answer that is a part is one for want
// of better: the next server may give the whole.
func (d *DNS) query(ctx context.Context, name string, k kind) (answer, error) {
	var all answer
	var failed error
	pending := d.resolver.servers
	for range d.cfg.Attempts {
		var again []string
		failed = nil
		for _, server := range pending {
			a, err := d.client.ask(ctx, server, name, k)
			switch {
			case ctx.Err() != nil:
				return all, discovery.Classed(discovery.Timeout, "ask for %s %s: %w", k, name, ctx.Err())
			case err != nil:
				again = append(again, server)
				failed = err
			case !a.empty() && !a.part && !d.cfg.AllServers:
				return a, nil
			case all.empty() == a.empty():
				all.join(a)
			case all.empty():
				all = a
			}
		}
		if !all.empty() && !d.cfg.AllServers {
			return all, nil
		}
		if pending = again; len(pending) == 0 {
			break
		}
	}
	return all, failed
}

// findServices resolves an SRV name and its targets.
func (d *DNS) findServices(ctx context.Context, name string) (found, error) {
	a, err := d.query(ctx, name, kindSRV)
	f := found{ttl: a.ttl, part: a.part, services: len(a.srvs), size: a.size}
	var missing []string
	seen := map[string]bool{}
	for _, s := range a.srvs {
		if d.wanted(a.glue[s.target]) == nil && !seen[s.target] {
			missing = append(missing, s.target)
		}
		seen[s.target] = true
	}
	ttl, err2 := d.resolveTargets(ctx, missing, a.glue)
	f.ttl = shorter(f.ttl, ttl)
	added := map[string]bool{}
	for _, s := range a.srvs {
		key := net.JoinHostPort(s.target, strconv.Itoa(int(s.port)))
		ips := d.wanted(a.glue[s.target])
		switch {
		case added[key]:
		case len(ips) == 0:
			f.skipped = append(f.skipped, discovery.Skipped{What: key, Why: "its name has no address (of the family wanted)"})
		default:
			added[key] = true
			f.cands = append(f.cands, candidate(key, s, ips))
		}
	}
	return f, errors.Join(err, err2)
}

func candidate(key string, s service, ips []netip.Addr) discovery.Candidate {
	c := discovery.Candidate{Key: key, Host: s.target, Labels: map[string]string{
		"srv_priority": strconv.Itoa(int(s.priority)),
		"srv_weight":   strconv.Itoa(int(s.weight)),
	}}
	for _, ip := range ips {
		c.Addrs = append(c.Addrs, join(ip, s.port))
	}
	return c
}

// resolveTargets adds the addresses of targets to glue.
func (d *DNS) resolveTargets(ctx context.Context, targets []string, glue map[string][]netip.Addr) (time.Duration, error) {
	answers, errs := make([]answer, len(targets)), make([]error, len(targets))
	together(len(targets), func(i int) { answers[i], errs[i] = d.addresses(ctx, targets[i]+".") })
	var ttl time.Duration
	for i, a := range answers {
		if len(a.addrs) > 0 {
			glue[targets[i]] = a.addrs
			ttl = shorter(ttl, a.ttl)
		}
	}
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return ttl, fmt.Errorf("resolve a target: %w", errs[i])
	}
	return ttl, nil
}

// together does f for 0 to n-1, some at a time, and returns when all is done.
func together(n int, f func(i int)) {
	slots := make(chan struct{}, togetherMax)
	var wg sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	wg.Wait()
}

// wanted returns the addresses of the family wanted, IPv4 first.
func (d *DNS) wanted(ips []netip.Addr) []netip.Addr {
	var v4, v6 []netip.Addr
	for _, ip := range ips {
		if ip.Is4() {
			v4 = append(v4, ip)
		} else {
			v6 = append(v6, ip)
		}
	}
	switch d.cfg.Family {
	case ipv4:
		return v4
	case ipv6:
		return v6
	default:
		return append(v4, v6...)
	}
}
