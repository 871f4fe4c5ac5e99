package gossip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/serf/serf"

	"github.com/starlingmesh/starling/discovery"
)

const (
	retryFirst = time.Second
	retryMax   = 30 * time.Second
	// triesMax bounds a round: each may take as long as a dial.
	triesMax = 16
	// lookupMax bounds the look-up of all names in join.
	lookupMax = 10 * time.Second
)

// keepJoining asks one who gossips for all others: at once, again while nobody
// answers, and now and then those of join who are not known to live. Serf tries
// those that failed by itself; of those it never knew, and of the other half after
// a long partition, it knows nothing. first is called after the first round.
func (s *session) keepJoining(ctx context.Context, first func()) {
	var last []netip.AddrPort // of the snapshot
	if s.cfg.SnapshotFile != "" {
		var err error
		if last, err = loadSnapshot(s.cfg.SnapshotFile); err != nil {
			s.log.Warn("gossip: the snapshot cannot be read", "why", err)
		}
	}
	retry, asked := retryFirst, false
	for {
		err := s.round(ctx, last)
		if ctx.Err() != nil {
			return
		}
		wait := s.cfg.RejoinEvery
		if err != nil {
			s.lines.count(countNoJoins)
			s.trouble.Store(true)
			s.sink.Fail(err)
			wait, retry = min(retry, wait), min(2*retry, retryMax)
		} else {
			retry = retryFirst
			if s.trouble.Swap(false) || asked {
				poke(s.well)
			}
		}
		first()
		first = func() {}
		if asked = s.rest(ctx, wait); ctx.Err() != nil {
			return
		}
	}
}

// rest waits, a fifth more or less. It tells whether somebody asked for a round
// before; once a second is enough, whoever asks.
func (s *session) rest(ctx context.Context, wait time.Duration) (asked bool) {
	gap := time.NewTimer(min(time.Second, wait))
	defer gap.Stop()
	timer := time.NewTimer(time.Duration(float64(wait) * (0.8 + 0.4*rand.Float64())))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return false
	case <-s.hurry:
	}
	select {
	case <-ctx.Done():
	case <-gap.C:
	}
	return true
}

// round asks those who might know others, until one answers. It fails if this
// node is alone and should not be.
func (s *session) round(ctx context.Context, last []netip.AddrPort) error {
	join, err := s.resolve(ctx)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // that we stop is not the source's fault
	}
	alone := s.alone()
	targets := s.strangers(join)
	if alone {
		targets = append(targets, s.memories(last)...)
	}
	targets = targets[:min(len(targets), triesMax)]
	for _, to := range targets {
		if _, err = s.serf.Join([]string{to.String()}, true); err == nil {
			s.lines.count(countJoins)
			s.log.Info("gossip: joined", "addr", to.String(), "members", s.serf.Memberlist().NumMembers())
			poke(s.well)
			return nil
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // likewise
		}
		err = fmt.Errorf("the last asked, %s, says: %s", to, reason(err))
	}
	if err == nil || !alone {
		return nil
	}
	if len(targets) == 0 {
		return fmt.Errorf("gossip: %w", err)
	}
	class := discovery.Unavailable
	if strings.Contains(err.Error(), "could decrypt") {
		class = discovery.Auth
	}
	return discovery.Classed(class, "gossip: none of %d answers; %w", len(targets), err)
}

// reason makes one line of a library's error, and names the usual one for a
// connection that the other side closes without a word.
func reason(err error) string {
	text := strings.TrimPrefix(strings.Join(strings.Fields(err.Error()), " "), "1 error occurred: * ")
	if strings.HasSuffix(text, "EOF") || strings.Contains(text, "reset by peer") {
		text += " (is it of the same cluster, with the same keys?)"
	}
	return text
}

// resolve returns the addresses of join. With an error, those that it found.
func (s *session) resolve(ctx context.Context) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupMax)
	defer cancel()
	var addrs []netip.AddrPort
	var failed error
	for _, a := range s.cfg.Join {
		if ap, err := netip.ParseAddrPort(a); err == nil {
			addrs = append(addrs, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
			continue
		}
		host, portText, err := net.SplitHostPort(a)
		if err != nil {
			panic(err) // Validate has read it
		}
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		port, err := strconv.ParseUint(portText, 10, 16)
		if err != nil {
			panic(err) // likewise
		}
		for _, ip := range ips {
			addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
		}
	}
	return addrs, failed
}

// strangers are those of join who are not known to live, in a random order.
func (s *session) strangers(join []netip.AddrPort) []netip.AddrPort {
	known := map[netip.AddrPort]bool{}
	for _, m := range s.serf.Members() {
		if addr, ok := gossipAddr(m); ok && m.Status == serf.StatusAlive {
			known[addr] = true
		}
	}
	join = slices.DeleteFunc(slices.Clone(join), func(a netip.AddrPort) bool { return known[a] || s.isSelf(a) })
	shuffle(join)
	return join
}

// memories are who failed and who is in the snapshot, in a random order.
func (s *session) memories(last []netip.AddrPort) []netip.AddrPort {
	all := slices.Clone(last)
	for _, m := range s.serf.Members() {
		if addr, ok := gossipAddr(m); ok && m.Status == serf.StatusFailed && !slices.Contains(all, addr) {
			all = append(all, addr)
		}
	}
	all = slices.DeleteFunc(all, s.isSelf)
	shuffle(all)
	return all
}

func shuffle(list []netip.AddrPort) {
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}

// isSelf tells whether an address is this node's.
func (s *session) isSelf(a netip.AddrPort) bool {
	if a == s.transport.own {
		return true
	}
	if a.Port() != s.transport.port() {
		return false
	}
	local, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(local, func(l net.Addr) bool {
		n, ok := l.(*net.IPNet)
		return ok && n.IP.Equal(a.Addr().AsSlice())
	})
}
