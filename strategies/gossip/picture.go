package gossip

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/serf/serf"

	"github.com/starlingmesh/starling/discovery"
)

// The tags of a member, which all others see.
const (
	tagCluster = "starling" // mark of the cluster: who lacks it is no sidecar
	tagNode    = "node"     // the overlay's ID
	tagAddrs   = "addrs"    // where the overlay is reached, with commas
	tagZone    = "zone"
)

const skippedMax = 64

// picture is what was said of whom. It outlives a run of the strategy, because
// those to whom it was said remember it, too. It is pure: time is an argument.
type picture struct {
	mark string        // of the cluster
	keep time.Duration // for those of an earlier run whom nobody has seen since
	said map[string]word
}

// word is what was said of a key.
type word struct {
	cand discovery.Candidate
	at   time.Time // when it was last seen to be known
	run  int       // in which run
}

// news is what a look at the members brought.
type news struct {
	changed   []discovery.Candidate // new or different
	all       []discovery.Candidate
	withdrawn []string
	skipped   []discovery.Skipped
	alive     int // members of ours that live, with this node
	sidecars  int // members of ours that live or failed
}

// look compares the members with what was said before. One is keyed by its first
// address: a process that comes back there takes the place of the one before.
func (p *picture) look(now time.Time, run int, members []serf.Member) news {
	var n news
	best := map[string]serf.Member{}
	gone := map[string]bool{}
	for _, m := range members {
		addrs, why := p.judge(m)
		switch {
		case why != "":
			if len(n.skipped) < skippedMax && m.Status != serf.StatusLeft {
				n.skipped = append(n.skipped, discovery.Skipped{What: m.Name, Why: why})
			}
		case m.Status == serf.StatusLeft:
			gone[addrs[0]] = true
		default:
			if old, taken := best[addrs[0]]; !taken || before(m, old) {
				best[addrs[0]] = m
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(best)) {
		m := best[key]
		n.sidecars++
		if m.Status != serf.StatusFailed {
			n.alive++
		}
		c := candidate(m)
		n.all = append(n.all, c)
		if w, known := p.said[key]; !known || !reflect.DeepEqual(w.cand, c) {
			n.changed = append(n.changed, c)
		}
		p.said[key] = word{cand: candidate(m), at: now, run: run} // its own slices: the sink owns the others
	}
	for _, key := range slices.Sorted(maps.Keys(p.said)) {
		w := p.said[key]
		if _, there := best[key]; there {
			continue
		}
		// Left, or reaped: this run knew it and does not any more. What only an
		// earlier run knew may be behind a partition.
		if gone[key] || w.run == run || now.Sub(w.at) >= p.keep {
			n.withdrawn = append(n.withdrawn, key)
			delete(p.said, key)
		}
	}
	return n
}

// before tells which of two at one address counts: the living one, else the one
// of the greater name, so that everybody thinks the same.
func before(a, b serf.Member) bool {
	if x, y := a.Status == serf.StatusFailed, b.Status == serf.StatusFailed; x != y {
		return y
	}
	return a.Name > b.Name
}

// judge returns the addresses of a member, or why it is none of ours.
func (p *picture) judge(m serf.Member) (addrs []string, why string) {
	switch mark := m.Tags[tagCluster]; {
	case mark == "":
		return nil, "has no tags of a sidecar's: another user of serf"
	case mark != p.mark:
		return nil, "is of another cluster"
	}
	for a := range strings.SplitSeq(m.Tags[tagAddrs], ",") {
		addr, err := discovery.ParseAddr(a)
		if err != nil {
			return nil, fmt.Sprintf("its tag %s: %v", tagAddrs, err)
		}
		addrs = append(addrs, addr)
	}
	return addrs, ""
}

func candidate(m serf.Member) discovery.Candidate {
	c := discovery.Candidate{Host: m.Name, Ready: discovery.Yes, Labels: map[string]string{}}
	for a := range strings.SplitSeq(m.Tags[tagAddrs], ",") {
		addr, err := discovery.ParseAddr(a)
		if err != nil {
			panic(err) // judge has read it
		}
		c.Addrs = append(c.Addrs, addr)
	}
	c.Key = c.Addrs[0]
	if node := m.Tags[tagNode]; node != "" {
		c.Labels["node_id"] = node
	}
	if zone := m.Tags[tagZone]; zone != "" {
		c.Labels[discovery.LabelZone] = zone
	}
	switch m.Status {
	case serf.StatusFailed:
		c.Ready = discovery.No // a hint, no more: the overlay knows better
	case serf.StatusLeaving:
		c.Terminating = discovery.Yes
	default:
	}
	return c
}

// tagsMax is what a member's tags may take, encoded.
const tagsMax = 512

// tags are this node's, with as many of its addresses as there is room for.
func tags(mark string, self discovery.Self) (map[string]string, error) {
	if self.Node == "" {
		return nil, nil
	}
	t := map[string]string{tagCluster: mark, tagNode: self.Node}
	if self.Zone != "" {
		t[tagZone] = self.Zone
	}
	size := 16 // the map's own, and what is before it
	for k, v := range t {
		size += len(k) + len(v) + 6
	}
	size += len(tagAddrs) + 6
	var addrs []string
	for _, a := range self.Addrs {
		if size += len(a) + 1; size > tagsMax {
			break
		}
		addrs = append(addrs, a)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("zone %q leaves no room for an address in a member's tags, which may have %d bytes", self.Zone, tagsMax)
	}
	t[tagAddrs] = strings.Join(addrs, ",")
	return t, nil
}

// gossipAddr is where a member gossips.
func gossipAddr(m serf.Member) (netip.AddrPort, bool) {
	ip, ok := netip.AddrFromSlice(m.Addr)
	return netip.AddrPortFrom(ip.Unmap(), m.Port), ok && m.Port != 0
}
