package core

import (
	"iter"
	"time"

	"github.com/starlingmesh/starling/overlay/directory"
	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// Directory is what the rest of the core needs of the machine that knows the
// members. Production has one, package directory's, where each method is
// described. The simulator's largest worlds have another: ten thousand nodes
// that each know ten thousand are a hundred million records, and what is
// measured there are the views, the broadcasts and the calls.
type Directory interface {
	// Who is a member.
	Self() *proto.Entry
	Member(id peer.ID) *proto.Member
	Members() iter.Seq[proto.Member]
	Ended(id peer.ID) (last uint64, over bool)
	Revision() uint64
	Roster() *proto.Roster // for those who keep it: it is made of as many values as there are members
	Len() int
	Health() int

	// What happens around it.
	Heard(now time.Time, from peer.ID)
	Admit(now time.Time, newcomer proto.PeerInfo, out *proto.Out) directory.Admission
	NeighborUp(now time.Time, id proto.LinkID, who proto.PeerInfo, out *proto.Out)
	NeighborDown(now time.Time, id proto.LinkID, who peer.ID, why proto.DownWhy, out *proto.Out)
	LinkUp(now time.Time, in proto.LinkUp, out *proto.Out)
	LinkDown(now time.Time, in proto.LinkDown, out *proto.Out)
	DialFailed(now time.Time, in proto.DialFailed, out *proto.Out)
	Receive(now time.Time, id proto.LinkID, from peer.ID, msg proto.Message, out *proto.Out)
	Delivered(now time.Time, origin peer.ID, body proto.DirectoryBody, out *proto.Out)
	Measure(now time.Time, id proto.LinkID, out *proto.Out)
	SetComponent(id peer.ID)
	UpdateSelf(now time.Time, to proto.UpdateSelf, out *proto.Out)
	Leave(now time.Time, out *proto.Out)

	// Its time.
	Wake(now time.Time, out *proto.Out)
	Deadline() time.Time
	CheckInquiries()
}
