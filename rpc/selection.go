package rpc

import (
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// freshlyDown is how long a member that went down is still asked, so that a
// fresh death is told and not passed over.
const freshlyDown = 60 * time.Second

func living(m *proto.Member) bool {
	return m.Status == proto.StatusAlive || m.Status == proto.StatusSuspect
}

// nameIndex finds members by name within one roster.
type nameIndex struct {
	revision uint64
	by       map[string]*proto.Member
}

// named finds the member that bears the name: the living one, else the one that
// came last.
func (s *Service) named(roster *proto.Roster, name string) *proto.Member {
	if s.names.by == nil || s.names.revision != roster.Revision {
		s.names = nameIndex{roster.Revision, make(map[string]*proto.Member, len(roster.Members))}
		for _, m := range roster.Members {
			if old := s.names.by[m.Entry.Name]; old == nil || better(m, old) {
				s.names.by[m.Entry.Name] = m
			}
		}
	}
	return s.names.by[name]
}

func better(m, old *proto.Member) bool {
	if living(m) != living(old) {
		return living(m)
	}
	return m.Entry.Birth > old.Entry.Birth
}

// resolve makes the overlay's selector of an application's: names become IDs,
// samples and keys are drawn here.
func (s *Service) resolve(t *Selector, roster *proto.Roster, now time.Time) (proto.Selector, *Error) {
	if t.ByKey {
		owner := Owner(roster, t.KeyGroup, t.Key)
		if owner == nil {
			return proto.Selector{}, s.refuse(NoOwner, "no living member is in the group %.40q, so nobody owns the key", t.KeyGroup)
		}
		return proto.Selector{IDs: []peer.ID{owner.Entry.ID}}, nil
	}
	if len(t.Nodes) > proto.MaxSelectIDs || len(t.Tags) > proto.MaxTags {
		return proto.Selector{}, s.refuse(BadRequest, "targets name %d nodes and %d tags: want at most %d and %d",
			len(t.Nodes), len(t.Tags), proto.MaxSelectIDs, proto.MaxTags)
	}
	sel := proto.Selector{Zone: t.Zone, Group: t.Group, Handler: t.Handler, Tags: t.Tags, NotSelf: t.ExcludeSelf}
	seen := make(map[peer.ID]bool, len(t.Nodes))
	for _, n := range t.Nodes {
		m, err := s.find(roster, n)
		if err != nil {
			return proto.Selector{}, err
		}
		if !seen[m.Entry.ID] {
			seen[m.Entry.ID] = true
			sel.IDs = append(sel.IDs, m.Entry.ID)
		}
	}
	if t.Sample > 0 {
		sel.IDs = sample(&sel, roster, t.Sample, now)
	}
	return sel, nil
}

// find is the member with this name or ID.
func (s *Service) find(roster *proto.Roster, node string) (*proto.Member, *Error) {
	if m := s.named(roster, node); m != nil {
		return m, nil
	}
	if id, err := peer.Parse(node); err == nil {
		if m := roster.Get(id); m != nil {
			return m, nil
		}
	}
	if node == "" {
		return nil, s.refuse(BadRequest, "node is empty: want the name or ID of a member")
	}
	return nil, s.refuse(NodeUnknown, "no member has the name or ID %.80q%s; `starling members` lists them", node, s.nearest(node))
}

// nearest suggests a name for a misspelt one.
func (s *Service) nearest(name string) string {
	best, least := "", 3
	for _, n := range sortedKeys(s.names.by) {
		if len(s.names.by) > 1000 {
			return "" // not worth the lock
		}
		if d := distance(name, n); d < least {
			best, least = n, d
		}
	}
	if best == "" {
		return ""
	}
	return ", did you mean " + best + "?"
}

// distance is Levenshtein's, of names up to 64 bytes.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diag, row[j+1] = row[j+1], min(diag+cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// sample draws n of the members that are meant.
func sample(sel *proto.Selector, roster *proto.Roster, n int, now time.Time) []peer.ID {
	ids := []peer.ID{}
	for _, m := range roster.Members {
		asked := living(m) || m.Status == proto.StatusDown && now.Sub(m.Since) < freshlyDown
		if asked && sel.Match(m.Entry) && (!sel.NotSelf || m.Entry.ID != roster.Self) {
			ids = append(ids, m.Entry.ID)
		}
	}
	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	return ids[:min(n, len(ids), proto.MaxSelectIDs)]
}

// Owner is the living member of the group that owns the key: the one with the
// highest hash of name and key (rendezvous hashing, Thaler and Ravishankar,
// 1998), so that a member that goes moves its own keys only. All nodes with the
// same members agree. An empty group means all; nil if nobody is in it.
func Owner(roster *proto.Roster, group, key string) *proto.Member {
	sel := proto.Selector{Group: group}
	var owner *proto.Member
	var highest uint64
	for _, m := range roster.Members {
		if !living(m) || m.Entry.Draining || !sel.Match(m.Entry) {
			continue
		}
		h := fnv.New64a()
		_, _ = h.Write([]byte(m.Entry.Name)) // never fails
		_, _ = h.Write([]byte{0})
		_, _ = h.Write([]byte(key))
		if score := mix(h.Sum64()); owner == nil || score > highest {
			owner, highest = m, score
		}
	}
	return owner
}

// mix spreads FNV's weak high bits (the finalizer of MurmurHash3, Appleby).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
