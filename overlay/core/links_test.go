package core

import (
	"testing"

	"github.com/starlingmesh/starling/overlay/proto"
)

func TestALinkIsFoundFromItsBeginningToItsEnd(t *testing.T) {
	var s links
	for id := range proto.LinkID(5) {
		s.add(&link{id: id})
	}
	s.remove(2)
	s.remove(7) // never was
	for id := range proto.LinkID(8) {
		if l := s.get(id); (l != nil) != (id < 5 && id != 2) || l != nil && l.id != id {
			t.Errorf("link %d is found as %v", id, l)
		}
	}
}
