package plumtree

import (
	"cmp"
	"math"
	"slices"

	"github.com/starlingmesh/starling/overlay/proto"
)

// named is a broadcast and the hops at which it came.
type named struct {
	id    proto.MsgID
	round uint16
}

// ranges sorts ids and joins neighbouring numbers, per stream, into lists that
// each fit one message. It reorders ids.
func ranges(ids []named, emit func(stream uint8, list []proto.Range)) {
	slices.SortFunc(ids, func(a, b named) int {
		return cmp.Or(cmp.Compare(a.id.Stream, b.id.Stream), a.id.Origin.Compare(b.id.Origin), cmp.Compare(a.id.Seq, b.id.Seq))
	})
	var list []proto.Range
	for i, n := range ids {
		if i > 0 && ids[i-1].id == n.id {
			continue
		}
		if i > 0 && ids[i-1].id.Stream == n.id.Stream && len(list) > 0 {
			last := &list[len(list)-1]
			if last.Origin == n.id.Origin && last.To+1 == n.id.Seq {
				last.To, last.Round = n.id.Seq, n.round
				continue
			}
		}
		if len(list) > 0 && (ids[i-1].id.Stream != n.id.Stream || len(list) == proto.MaxRanges) {
			emit(ids[i-1].id.Stream, list)
			list = nil
		}
		list = append(list, proto.Range{Origin: n.id.Origin, From: n.id.Seq, To: n.id.Seq, Round: n.round})
	}
	if len(list) > 0 {
		emit(ids[len(ids)-1].id.Stream, list)
	}
}

// sane tells whether a range that came over a link says anything.
func sane(r proto.Range) bool {
	return !r.Origin.IsZero() && r.From >= 1 && r.From <= r.To && r.To < math.MaxUint64
}

// wellFormed tells whether a list of ranges may be worked on. It is asked before
// the first of them is, so that no message is done by half.
func wellFormed(stream uint8, list []proto.Range) bool {
	return stream < proto.Streams && len(list) <= proto.MaxRanges && !slices.ContainsFunc(list, func(r proto.Range) bool { return !sane(r) })
}

// further is one hop more, without running over.
func further(round uint16) uint16 { return min(round, proto.RoundHistory-2) + 1 }
