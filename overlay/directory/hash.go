package directory

import (
	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// fnv is a running FNV-1a hash of 64 bits (draft-eastlake-fnv). It is the same
// on every machine and in every version, which hash/maphash is not; nodes
// compare digests with one another. Lengths are hashed before what they count,
// so that no two different values are written alike.
type fnv uint64

const (
	fnvStart fnv = 14695981039346656037
	fnvPrime fnv = 1099511628211
)

func (h *fnv) u64(v uint64) {
	for range 8 {
		*h = (*h ^ fnv(v&0xff)) * fnvPrime
		v >>= 8
	}
}

func (h *fnv) id(id peer.ID) {
	for _, b := range id {
		*h = (*h ^ fnv(b)) * fnvPrime
	}
}

func (h *fnv) str(s string) {
	h.u64(uint64(len(s)))
	for i := range len(s) {
		*h = (*h ^ fnv(s[i])) * fnvPrime
	}
}

func (h *fnv) strs(list []string) {
	h.u64(uint64(len(list)))
	for _, s := range list {
		h.str(s)
	}
}

func (h *fnv) flag(b bool) {
	if b {
		h.u64(1)
	} else {
		h.u64(0)
	}
}

// sum spreads the bits (the finaliser of SplitMix64), so that sums of hashes of
// similar values do not cancel out.
func (h *fnv) sum() uint64 {
	x := uint64(*h)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// hashEntry covers every field of the entry.
func hashEntry(e *proto.Entry) uint64 {
	h := fnvStart
	h.id(e.ID)
	h.str(e.Name)
	h.u64(e.Birth)
	h.u64(e.Incarnation)
	h.u64(e.Version)
	h.strs(e.Addrs)
	h.str(e.Zone)
	h.u64(uint64(len(e.Tags)))
	for _, t := range e.Tags {
		h.str(t.Key)
		h.str(t.Value)
	}
	h.strs(e.Handlers)
	h.strs(e.Groups)
	h.u64(uint64(e.Streams))
	h.u64(uint64(e.VersionMin))
	h.u64(uint64(e.VersionMax))
	h.flag(e.Left)
	h.flag(e.Draining)
	return h.sum()
}

func hashOpinion(o *proto.Opinion) uint64 {
	h := fnvStart
	h.id(o.Accused)
	h.u64(o.Incarnation)
	h.u64(o.Version)
	h.id(o.Author)
	h.u64(o.Counter)
	h.flag(o.Accuse)
	h.flag(o.HalfWeight)
	return h.sum()
}

func hashDown(id peer.ID, down uint64) uint64 {
	if down == 0 {
		return 0
	}
	h := fnvStart
	h.id(id)
	h.u64(down)
	return h.sum()
}

// bucketOf says which of the buckets of anti-entropy a node belongs to.
func bucketOf(id peer.ID) uint8 {
	h := fnvStart
	h.id(id)
	return uint8(h.sum() >> 56)
}

// rankOf orders the members that may be asked about a suspect: lowest first.
// Rendezvous hashing: everybody computes the same order from the same members.
func rankOf(suspect peer.ID, incarnation uint64, member peer.ID) uint64 {
	h := fnvStart
	h.id(suspect)
	h.u64(incarnation)
	h.id(member)
	return h.sum()
}
