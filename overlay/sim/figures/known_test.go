package figures

import (
	"iter"
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/core"
	"github.com/starlingmesh/starling/overlay/directory"
	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// census is a directory that all nodes of a large world share: each knows whom the experiment says, and nobody is watched.
// The nodes are whole but for that: their views, broadcasts, calls, links and healing are production's.
type census struct {
	roster *proto.Roster
	byID   map[peer.ID]*proto.Member // the same; looked up only
}

// shared makes the Directory of sim.Config.
func (c *census) shared(self proto.Entry, now time.Time) core.Directory {
	self.Birth, self.Incarnation, self.Version = 1, 1, 1
	return &known{census: c, self: self, start: now}
}

// list says that exactly these live.
func (c *census) list(living []*proto.Entry) {
	r := &proto.Roster{Revision: c.roster.Revision + 1}
	c.byID = make(map[peer.ID]*proto.Member, len(living))
	for _, e := range living {
		m := &proto.Member{Entry: e, Status: proto.StatusAlive}
		r.Members, c.byID[e.ID] = append(r.Members, m), m
	}
	slices.SortFunc(r.Members, func(a, b *proto.Member) int { return a.Entry.ID.Compare(b.Entry.ID) })
	c.roster = r
}

// known is one node's share of the census. It pings each link once, so that calls know how its ends' clocks differ.
type known struct {
	*census
	self  proto.Entry
	start time.Time
	pings uint64
}

func (k *known) Self() *proto.Entry              { return &k.self }
func (k *known) Member(id peer.ID) *proto.Member { return k.byID[id] }

func (k *known) Ended(id peer.ID) (last uint64, over bool) {
	m := k.byID[id]
	if m == nil || m.Status != proto.StatusDown && m.Status != proto.StatusLeft {
		return 0, false
	}
	return max(m.Down, m.Entry.Incarnation), true
}
func (k *known) Roster() *proto.Roster { return k.roster }
func (k *known) Revision() uint64      { return k.roster.Revision }
func (k *known) Len() int              { return len(k.roster.Members) }
func (k *known) Health() int           { return 0 }

func (k *known) Members() iter.Seq[proto.Member] {
	return func(yield func(proto.Member) bool) {
		for _, m := range k.roster.Members {
			if !yield(*m) {
				return
			}
		}
	}
}

func (k *known) NeighborUp(now time.Time, id proto.LinkID, _ proto.PeerInfo, out *proto.Out) {
	k.Measure(now, id, out)
}

func (k *known) Measure(now time.Time, id proto.LinkID, out *proto.Out) {
	k.pings++
	out.Add(proto.Send{Link: id, Msg: proto.Ping{Seq: k.pings, Sent: now.Sub(k.start)}})
}

func (k *known) Receive(now time.Time, id proto.LinkID, _ peer.ID, msg proto.Message, out *proto.Out) {
	at := now.Sub(k.start)
	switch m := msg.(type) {
	case proto.Ping:
		out.Add(proto.Send{Link: id, Msg: proto.Pong{Seq: m.Seq, Echo: m.Sent, Received: at, Sent: at}})
	case proto.Pong:
		rtt := at - m.Echo
		out.Add(proto.LinkTiming{Link: id, RTT: rtt, Offset: m.Echo + rtt/2 - m.Received})
	default:
		panic("figures: nobody here says that")
	}
}

func (k *known) Admit(time.Time, proto.PeerInfo, *proto.Out) directory.Admission {
	return directory.Admitted
}

func (k *known) Heard(time.Time, peer.ID)                                                 {}
func (k *known) NeighborDown(time.Time, proto.LinkID, peer.ID, proto.DownWhy, *proto.Out) {}
func (k *known) LinkUp(time.Time, proto.LinkUp, *proto.Out)                               {}
func (k *known) LinkDown(time.Time, proto.LinkDown, *proto.Out)                           {}
func (k *known) DialFailed(time.Time, proto.DialFailed, *proto.Out)                       {}
func (k *known) Delivered(time.Time, peer.ID, proto.DirectoryBody, *proto.Out)            {}
func (k *known) SetComponent(peer.ID)                                                     {}
func (k *known) UpdateSelf(time.Time, proto.UpdateSelf, *proto.Out)                       {}
func (k *known) Leave(time.Time, *proto.Out)                                              {}
func (k *known) Wake(time.Time, *proto.Out)                                               {}
func (k *known) Deadline() time.Time                                                      { return time.Time{} }
func (k *known) CheckInquiries()                                                          {}
