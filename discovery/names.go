package discovery

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	nameTimeout   = 5 * time.Second
	namesTogether = 16 // look-ups at a time
)

// Entry is a line of somebody's list: an address whose host may be a name.
type Entry struct {
	Addr   string // "host:port"
	Labels map[string]string
}

// Names turns lists of addresses into candidates, one for each IP, and keeps
// the last good answer for each name. It is for one goroutine.
type Names struct {
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	known  map[string][]netip.Addr
}

// NewNames returns Names that ask lookup; nil is the system's resolver.
func NewNames(lookup func(ctx context.Context, host string) ([]netip.Addr, error)) *Names {
	if lookup == nil {
		lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	return &Names{lookup: lookup, known: map[string][]netip.Addr{}}
}

// Candidates returns who is at the entries. An error names a host that could
// not be resolved; its last known addresses, if any, are among the candidates.
// A candidate that came from a name has it as Host; its key is its address.
func (n *Names) Candidates(ctx context.Context, entries []Entry) ([]Candidate, error) {
	failed := n.resolve(ctx, entries)
	var cands []Candidate
	at := map[string]bool{}
	add := func(addr, host string, e Entry) {
		if !at[addr] {
			at[addr] = true
			cands = append(cands, Candidate{Key: addr, Addrs: []string{addr}, Host: host, Labels: e.Labels}.Clone())
		}
	}
	var firstErr error
	for _, e := range entries {
		addr, err := ParseAddr(e.Addr)
		if err != nil {
			return nil, &classed{Misconfigured, err}
		}
		host, port, _ := net.SplitHostPort(addr)
		if _, err := netip.ParseAddr(host); err == nil {
			add(addr, "", e)
			continue
		}
		if err := failed[host]; err != nil && firstErr == nil {
			firstErr = fmt.Errorf("resolve %s: %w", host, err)
		}
		for _, ip := range n.known[host] {
			add(net.JoinHostPort(ip.Unmap().String(), port), host, e)
		}
	}
	return cands, firstErr
}

// Round makes the round of a look that gave entries. complete: they are all there are, and so is the picture if every name
// could be resolved; a name that could not may stand for anybody.
func (n *Names) Round(ctx context.Context, entries []Entry, complete bool) Round {
	cands, err := n.Candidates(ctx, entries)
	switch {
	case err != nil && len(cands) == 0:
		return Round{Err: err}
	case err != nil || !complete:
		return Round{Seen: Partial{Candidates: cands}, Err: err}
	default:
		return Round{Seen: Complete{Candidates: cands}}
	}
}

// resolve brings known up to date and returns what failed.
func (n *Names) resolve(ctx context.Context, entries []Entry) map[string]error {
	known := map[string][]netip.Addr{}
	for _, e := range entries {
		addr, err := ParseAddr(e.Addr)
		if err != nil {
			continue
		}
		host, _, _ := net.SplitHostPort(addr)
		if _, err := netip.ParseAddr(host); err != nil {
			known[host] = n.known[host]
		}
	}
	n.known = known

	var mu sync.Mutex // guards failed, answers
	failed, answers := map[string]error{}, map[string][]netip.Addr{}
	var wg sync.WaitGroup
	slots := make(chan struct{}, namesTogether)
	for host := range known {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, nameTimeout)
			defer cancel()
			ips, err := n.lookup(ctx, host)
			if err == nil && len(ips) == 0 {
				err = Classed(NotFound, "no such host")
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[host] = err
			} else {
				answers[host] = ips
			}
		})
	}
	wg.Wait()
	maps.Copy(n.known, answers)
	return failed
}
