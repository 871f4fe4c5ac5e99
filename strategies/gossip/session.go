package gossip

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"

	"github.com/starlingmesh/starling/discovery"
)

const (
	// gather is how long changes are gathered: a join brings one event a member.
	gather = 100 * time.Millisecond
	// chores is how often keys are read again, the snapshot is written, and
	// time is looked at.
	chores = 5 * time.Second
)

// session is one membership in the gossip, from start to stop.
type session struct {
	*Gossip

	sink      discovery.Sink
	serf      *serf.Serf
	transport *transport
	keys      *memberlist.Keyring // nil: nothing is encrypted
	events    chan serf.Event
	joiner    sync.WaitGroup
	trouble   atomic.Bool   // nobody answers; the joiner's
	well      chan struct{} // capacity 1: joiner to loop, somebody does
	hurry     chan struct{} // capacity 1: loop to joiner

	// owned by loop, then stop
	told  bool             // something has been reported
	saved []netip.AddrPort // what is in the snapshot
}

// loop tells the sink what changes, until ctx ends or this node should leave.
func (s *session) loop(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // stop waits for the joiner: a join under way ends with the transport
	first := make(chan struct{})
	s.joiner.Go(func() { s.keepJoining(ctx, func() { close(first) }) })
	select { // nothing is known before somebody was asked
	case <-ctx.Done():
		return
	case <-first:
	}
	tick := time.NewTicker(chores)
	defer tick.Stop()
	soon := time.NewTimer(0) // a first look
	defer soon.Stop()
	due, alone := true, true
	changed := time.Now()
	for {
		full := false
		select {
		case <-ctx.Done():
			return
		case <-s.events:
			if !due {
				due = true
				soon.Reset(gather)
			}
			continue
		case <-s.well:
			full = true
		case <-s.ask:
			poke(s.hurry)
			continue
		case <-soon.C:
			due = false
		case <-tick.C:
			s.reloadKeys()
			s.save()
			if s.mayLeave(ctx, changed) {
				return
			}
		}
		n := s.tell(full)
		if len(n.changed)+len(n.withdrawn) > 0 {
			changed = time.Now()
		}
		if now := s.alone(); now != alone {
			alone = now
			s.log.Info("gossip: with others, or alone", "alone", alone, "members", n.alive)
			poke(s.hurry)
		}
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// tell looks at the members and reports what is new, or everything. While nobody
// answers only who left is reported: more would sound as if all were well.
func (s *session) tell(full bool) news {
	members := s.serf.Members()
	if s.tags == nil { // who only looks is none of those there are
		me := s.serf.LocalMember().Name
		members = slices.DeleteFunc(members, func(m serf.Member) bool { return m.Name == me })
	}
	n := s.picture.look(time.Now(), s.run, members)
	if len(n.withdrawn) > 0 {
		s.sink.Observe(discovery.Delta{Withdrawn: slices.Clone(n.withdrawn)})
	}
	offer := n.changed
	if full || !s.told {
		offer = n.all
	}
	if !s.trouble.Load() && (len(offer) > 0 || full || !s.told) {
		s.told = true
		s.sink.Observe(discovery.Partial{Candidates: offer, Skipped: n.skipped})
	}
	s.warnOfMany(n.sidecars)
	return n
}

// warnOfMany says once that there are too many for gossip, and once more when
// they had been fewer meanwhile by a tenth.
func (g *Gossip) warnOfMany(sidecars int) {
	switch {
	case !g.warned && sidecars > warnAbove:
		g.warned = true
		g.log.Warn("gossip: everybody knows everybody, which is much work for so many; set leave_after: converged, or use another source",
			"members", sidecars)
	case sidecars <= warnAbove*9/10:
		g.warned = false
	}
}

// alone tells whether no other sidecar is known to live.
func (s *session) alone() bool {
	me := s.serf.LocalMember().Name
	return !slices.ContainsFunc(s.serf.Members(), func(m serf.Member) bool {
		return m.Name != me && m.Status == serf.StatusAlive && m.Tags[tagCluster] == s.mark
	})
}

// mayLeave tells whether leave_after lets this node go: with others, nothing new
// for a while, and not one of those whom newcomers ask.
func (s *session) mayLeave(ctx context.Context, changed time.Time) bool {
	if s.cfg.LeaveAfter != converged || time.Since(changed) < s.cfg.ConvergedFor || s.alone() {
		return false
	}
	join, err := s.resolve(ctx)
	if err != nil || slices.ContainsFunc(join, s.isSelf) {
		return false
	}
	s.log.Info("gossip: leaving, as converged; the overlay carries on", "members", len(s.serf.Members()))
	return true
}

// reloadKeys gives serf the keys in the file.
func (s *session) reloadKeys() {
	if s.keys == nil {
		return
	}
	changed, err := s.ring.Reload()
	if err != nil {
		s.sink.Fail(discovery.Classed(discovery.Misconfigured, "gossip: keyring_file: %w", err))
		return
	}
	if !changed {
		return
	}
	keys := s.ring.Keys()
	for _, k := range keys {
		err = s.keys.AddKey(k)
	}
	if err == nil {
		err = s.keys.UseKey(keys[0])
	}
	for _, old := range s.keys.GetKeys() {
		if err == nil && !slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, old) }) {
			err = s.keys.RemoveKey(old)
		}
	}
	if err != nil {
		panic(err) // the ring's keys have the right length
	}
	s.log.Info("gossip: the keys have changed", "keys", len(keys))
}

// save writes the snapshot if who is known has changed. Who failed is in it, too:
// after an outage of everybody that is everybody.
func (s *session) save() {
	if s.cfg.SnapshotFile == "" {
		return
	}
	var alive, failed []netip.AddrPort
	for _, m := range s.serf.Members() {
		addr, ok := gossipAddr(m)
		switch {
		case !ok || s.isSelf(addr) || m.Tags[tagCluster] != s.mark:
		case m.Status == serf.StatusAlive:
			alive = append(alive, addr)
		case m.Status == serf.StatusFailed:
			failed = append(failed, addr)
		}
	}
	slices.SortFunc(alive, netip.AddrPort.Compare)
	slices.SortFunc(failed, netip.AddrPort.Compare)
	known := slices.Concat(alive, failed)
	if len(known) == 0 || slices.Equal(known, s.saved) {
		return // alone: yesterday's are better than none
	}
	s.saved = known
	if err := saveSnapshot(s.cfg.SnapshotFile, known); err != nil {
		s.log.Warn("gossip: a restart may find nobody", "why", err)
	}
}

// stop says goodbye and gives the port back.
func (s *session) stop() {
	s.save()
	if !s.alone() {
		_ = s.serf.Leave() // within 3 s; others then see a failure, and no harm is done
	}
	_ = s.serf.Shutdown() // closes what we opened; it has no error to tell
	s.joiner.Wait()
}
