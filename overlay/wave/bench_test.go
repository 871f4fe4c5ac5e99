package wave

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// fixed is a directory that never changes.
type fixed struct {
	roster *proto.Roster
	entry  *proto.Entry
}

func (f fixed) Roster() *proto.Roster           { return f.roster }
func (f fixed) Member(id peer.ID) *proto.Member { return f.roster.Get(id) }
func (f fixed) Self() *proto.Entry              { return f.entry }

// post is one message under way in a mesh.
type post struct {
	to   int
	link proto.LinkID
	from proto.PeerInfo
	msg  proto.Message
}

// mesh is n waves, all linked, whose messages arrive in the order they were
// sent and whose handlers answer at once: nothing but the machines.
type mesh struct {
	waves []*Wave
	infos []proto.PeerInfo
	mail  []post
	done  int
	outs  proto.Out
}

func newMesh(n int, now time.Time) *mesh {
	m := &mesh{}
	roster := &proto.Roster{}
	for i := range n {
		e := &proto.Entry{ID: peer.ID{byte(i + 1)}, Incarnation: 1, Name: "n"}
		roster.Members = append(roster.Members, &proto.Member{Entry: e, Status: proto.StatusAlive})
		m.infos = append(m.infos, e.Info())
	}
	for i := range n {
		w := New(Default(), m.infos[i].ID, fixed{roster, roster.Members[i].Entry}, rand.New(rand.NewPCG(1, uint64(i))), now)
		for j := range n {
			if i != j {
				id := m.linkOf(i, j)
				w.LinkUp(now, id)
				w.NeighborUp(now, id, m.infos[j], nil)
				w.Timing(now, id, time.Millisecond, 0)
			}
		}
		m.waves = append(m.waves, w)
	}
	return m
}

// linkOf numbers the link between two nodes the same at both ends.
func (m *mesh) linkOf(i, j int) proto.LinkID { return proto.LinkID(1 + 100*min(i, j) + max(i, j)) }

func (m *mesh) step(now time.Time, i int, do func(*proto.Out)) {
	m.outs.List = m.outs.List[:0]
	do(&m.outs)
	list := m.outs.List
	m.outs.List = nil
	for _, o := range list {
		switch o := o.(type) {
		case proto.Send:
			a, b := int(o.Link-1)/100, int(o.Link-1)%100
			m.mail = append(m.mail, post{a + b - i, o.Link, m.infos[i], o.Msg})
		case proto.SendTo:
			to := int(o.Peer.ID[0]) - 1
			m.mail = append(m.mail, post{to, m.linkOf(i, to), m.infos[i], o.Msg})
		case proto.Dispatch:
			m.step(now, i, func(out *proto.Out) {
				m.waves[i].Result(now, o.ID, proto.Result{Outcome: proto.Replied, Executed: proto.ExecutedYes, Payload: o.Request.Payload}, out)
			})
		case proto.CallDone:
			m.done++
		}
	}
	if m.outs.List == nil {
		m.outs.List = list
	}
}

// call runs one call of node 0 to its end.
func (m *mesh) call(now time.Time, ref uint64, sel proto.Selector, payload []byte) {
	m.step(now, 0, func(out *proto.Out) {
		m.waves[0].Start(now, proto.StartCall{
			Ref: ref, Select: sel, Budget: time.Second, Request: proto.Request{Mode: proto.ModeCall, Method: "m", Payload: payload},
		}, out)
	})
	for len(m.mail) > 0 {
		p := m.mail[0]
		m.mail = m.mail[1:]
		m.step(now, p.to, func(out *proto.Out) { m.waves[p.to].Receive(now, p.link, p.from, p.msg, out) })
	}
	m.mail = m.mail[:0:cap(m.mail)]
}

// BenchmarkStar is one call to five nodes that all know each other, all five
// machines together: the commonest call, and what it costs beside the network.
func BenchmarkStar(b *testing.B) {
	now := time.Unix(1000, 0)
	m := newMesh(5, now)
	now = now.Add(time.Hour)
	payload := make([]byte, 32)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		now = now.Add(100 * time.Microsecond)
		m.call(now, uint64(i), proto.Selector{}, payload)
	}
	if m.done == 0 {
		b.Fatal("no call ended")
	}
}
