package hyparview

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// solo is one node, told everything by hand.
type solo struct {
	*Views
	t    *testing.T
	now  time.Time
	out  proto.Out
	link proto.LinkID
}

func newSolo(t *testing.T) *solo {
	now := time.Unix(1000, 0)
	self := person(100)
	s := &solo{t: t, now: now, Views: New(Default(), self, now, rand.New(rand.NewPCG(1, 2)))}
	s.shuffleAt = now.Add(time.Hour) // out of the way
	return s
}

// person is a peer whose ID orders by n; the solo node is 100.
func person(n byte) proto.PeerInfo {
	return proto.PeerInfo{ID: peer.ID{n}, Name: fmt.Sprint("p", n), Addrs: []string{fmt.Sprintf("p%d:1", n)}, Incarnation: 1}
}

// do runs one step and returns what came of it.
func (s *solo) do(f func(out *proto.Out)) []proto.Output {
	s.t.Helper()
	s.out.List = nil
	f(&s.out)
	s.Check()
	return s.out.List
}

func (s *solo) wait(d time.Duration) []proto.Output {
	s.t.Helper()
	var all []proto.Output
	until := s.now.Add(d)
	for at := s.Deadline(); !at.IsZero() && !at.After(until); at = s.Deadline() {
		s.now = at
		all = append(all, s.do(func(out *proto.Out) { s.Wake(s.now, out) })...)
	}
	s.now = until
	return all
}

// comes lets a peer's connection in.
func (s *solo) comes(p proto.PeerInfo) proto.LinkID {
	s.link++
	id := s.link
	s.do(func(out *proto.Out) { s.LinkUp(s.now, proto.LinkUp{Link: id, Peer: p, Kind: proto.LinkOverlay}, out) })
	return id
}

// reaches answers a dial with a connection.
func (s *solo) reaches(d proto.Dial, p proto.PeerInfo) (proto.LinkID, []proto.Output) {
	s.link++
	id := s.link
	return id, s.do(func(out *proto.Out) {
		s.LinkUp(s.now, proto.LinkUp{Link: id, Peer: p, Kind: d.Kind, Dialed: true, Tag: d.Tag}, out)
	})
}

func (s *solo) says(id proto.LinkID, p proto.PeerInfo, msg proto.Message) []proto.Output {
	s.t.Helper()
	return s.do(func(out *proto.Out) { s.Receive(s.now, id, p.ID, msg, out) })
}

func (s *solo) ends(id proto.LinkID, why proto.DownWhy) []proto.Output {
	return s.do(func(out *proto.Out) { s.LinkDown(s.now, proto.LinkDown{Link: id, Why: why}, out) })
}

// joins makes a peer a member by its own request.
func (s *solo) joins(p proto.PeerInfo) proto.LinkID {
	s.t.Helper()
	id := s.comes(p)
	s.says(id, p, proto.Neighbor{Self: p})
	if !s.active.Has(p.ID) {
		s.t.Fatalf("%s found no place", p.Name)
	}
	return id
}

// filled is a solo with members 1 to 5.
func filled(t *testing.T) (*solo, []proto.LinkID) {
	s := newSolo(t)
	var links []proto.LinkID
	for n := byte(1); n <= 5; n++ {
		links = append(links, s.joins(person(n)))
	}
	return s, links
}

func (s *solo) knows(people ...proto.PeerInfo) []proto.Output {
	return s.do(func(out *proto.Out) { s.Learn(s.now, entries(people), out) })
}

func outputs[T proto.Output](list []proto.Output) []T {
	var found []T
	for _, o := range list {
		if x, ok := o.(T); ok {
			found = append(found, x)
		}
	}
	return found
}

func sent[T proto.Message](list []proto.Output) []T {
	var found []T
	for _, o := range outputs[proto.Send](list) {
		if x, ok := o.Msg.(T); ok {
			found = append(found, x)
		}
	}
	return found
}

func one[T any](t *testing.T, list []T) T {
	t.Helper()
	if len(list) != 1 {
		t.Fatalf("want exactly one %T, got %+v", *new(T), list)
	}
	return list[0]
}

// entries are members as the directory tells of them.
func entries(people []proto.PeerInfo) []*proto.Entry {
	list := make([]*proto.Entry, len(people))
	for i, p := range people {
		list[i] = &proto.Entry{ID: p.ID, Name: p.Name, Addrs: p.Addrs, Incarnation: p.Incarnation}
	}
	return list
}
