package core

import (
	"slices"

	"github.com/starlingmesh/starling/overlay/proto"
)

// link is what the core knows of a connection.
type link struct {
	id     proto.LinkID
	kind   proto.LinkKind
	owner  proto.Owner // of the dial; 0: accepted
	active bool        // in the active view
	peer   proto.PeerInfo
}

// links are the open connections, in the order they came up. There are mostly a
// dozen, and every message looks for its own: their numbers side by side are
// found sooner than in a map.
type links []numbered

type numbered struct {
	id proto.LinkID
	*link
}

func (s links) find(id proto.LinkID) int {
	return slices.IndexFunc(s, func(n numbered) bool { return n.id == id })
}

// get is the link of this number, or nil.
func (s links) get(id proto.LinkID) *link {
	if i := s.find(id); i >= 0 {
		return s[i].link
	}
	return nil
}

func (s *links) add(l *link) { *s = append(*s, numbered{l.id, l}) }

func (s *links) remove(id proto.LinkID) {
	if i := s.find(id); i >= 0 {
		*s = slices.Delete(*s, i, i+1)
	}
}
