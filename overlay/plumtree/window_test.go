package plumtree

import (
	"testing"
	"time"
	"unsafe"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

func TestTheOldestMarkIsForgottenFirst(t *testing.T) {
	var m marks
	for i := range uint8(5) {
		m.set(key{stream: i}, uint64(i)+1, 3)
	}
	m.set(key{stream: 4}, 2, 3) // never back
	if _, known := m.get(key{stream: 1}); known {
		t.Fatal("the second of five is still known")
	}
	if base, known := m.get(key{stream: 4}); !known || base != 5 || m.count != 3 {
		t.Fatalf("the last is %d, %v; %d kept", base, known, m.count)
	}
	for i := range uint64(100) { // an eighth at once, never more
		m.set(key{origin: nodeID(int(i)), stream: 1}, 1, 40)
		if kept := m.of[1].Len() + m.of[2].Len() + m.of[3].Len() + m.of[4].Len(); kept != m.count || kept > 40 || i >= 40 && kept < 35 {
			t.Fatalf("after %d: %d kept, %d counted", i, kept, m.count)
		}
	}
	for i := range uint64(100) {
		if _, known := m.get(key{origin: nodeID(int(i)), stream: 1}); known != (i >= 100-uint64(m.of[1].Len())) {
			t.Fatalf("%d is known: %v, of %d", i, known, m.of[1].Len())
		}
	}
}

func TestAnOriginThatWasHeardOfTakesLittle(t *testing.T) {
	if w, m := unsafe.Sizeof(window{}), unsafe.Sizeof(mark{}); w > 96 || m+unsafe.Sizeof(peer.ID{}) > 32 {
		t.Errorf("a window takes %d bytes and a mark %d, want 96 and 16", w, m)
	}
	now := time.Unix(1000, 0)
	tree, out := New(peer.ID{9}, Default()), &proto.Out{}
	tree.NeighborUp(now, 1, peer.ID{8}, out)
	for _, seq := range []uint64{1, 3, 2} {
		id := proto.MsgID{Origin: peer.ID{7}, Stream: 3, Seq: seq}
		tree.Receive(now, 1, peer.ID{8}, proto.Gossip{ID: id, Body: proto.CastBody{Topic: "t"}}, out)
		if w := tree.windows[key{id.Origin, id.Stream}]; (w.work != &none) != (seq == 3) {
			t.Errorf("after %d the window has work: %v", seq, w.work != &none)
		}
	}
}
