package wave

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// solo is one machine, node 0, whose surroundings a test plays by hand: what
// comes over its links, and the time.
type solo struct {
	t      *testing.T
	w      *Wave
	now    time.Time
	roster *proto.Roster
	ref    uint64
	out    []proto.Output // since the last look
}

func newSolo(t *testing.T, members int, change ...func(*Config)) *solo {
	s := &solo{t: t, now: time.Unix(5000, 0), roster: &proto.Roster{}}
	for i := range members {
		e := &proto.Entry{ID: who(i), Name: fmt.Sprint("n", i), Incarnation: 1, Addrs: []string{"a"}}
		s.roster.Members = append(s.roster.Members, &proto.Member{Entry: e, Status: proto.StatusAlive})
	}
	cfg := Default()
	for _, f := range change {
		f(&cfg)
	}
	s.w = New(cfg, who(0), s, rand.New(rand.NewPCG(1, 2)), s.now)
	s.now = s.now.Add(time.Hour)
	return s
}

func who(i int) peer.ID { return peer.ID{0, byte(i >> 8), byte(i), 1} }

func (s *solo) Roster() *proto.Roster           { return s.roster }
func (s *solo) Member(id peer.ID) *proto.Member { return s.roster.Get(id) }
func (s *solo) Self() *proto.Entry              { return s.roster.Members[0].Entry }

func (s *solo) info(i int) proto.PeerInfo { return s.roster.Members[i].Entry.Info() }

// do runs an input and keeps what comes of it.
func (s *solo) do(f func(*proto.Out)) {
	var out proto.Out
	f(&out)
	s.out = append(s.out, out.List...)
	if c := s.w.found; c != nil && s.w.calls[c.msg.ID] != c {
		s.t.Fatal("the call found last is not in the table")
	}
}

// linked: node i is a neighbour, over the link of its number.
func (s *solo) linked(nodes ...int) {
	for _, i := range nodes {
		id := proto.LinkID(i)
		s.w.LinkUp(s.now, id)
		s.do(func(out *proto.Out) { s.w.NeighborUp(s.now, id, s.info(i), out) })
		s.w.Timing(s.now, id, time.Millisecond, 0)
	}
}

// pooled opens a link that is no neighbour's, with the number 1000+i.
func (s *solo) pooled(i int) proto.LinkID {
	id := proto.LinkID(1000 + i)
	s.w.LinkUp(s.now, id)
	s.w.Timing(s.now, id, time.Millisecond, 0)
	return id
}

// from takes a message of node i over its link.
func (s *solo) from(i int, m proto.Message) { s.on(proto.LinkID(i), i, m) }

func (s *solo) on(id proto.LinkID, i int, m proto.Message) {
	s.do(func(out *proto.Out) { s.w.Receive(s.now, id, s.info(i), m, out) })
}

func (s *solo) down(id proto.LinkID, i int) {
	s.do(func(out *proto.Out) { s.w.LinkDown(s.now, id, who(i), out) })
}

func (s *solo) result(id proto.CallID, r proto.Result) {
	s.do(func(out *proto.Out) { s.w.Result(s.now, id, r, out) })
}

func (s *solo) failed(i int, m proto.Message) {
	s.do(func(out *proto.Out) { s.w.SendFailed(s.now, who(i), m, proto.DialRefused, false, out) })
}

// ask starts a call here.
func (s *solo) ask(in proto.StartCall) uint64 {
	s.ref++
	in.Ref = s.ref
	if in.Budget == 0 {
		in.Budget = 10 * time.Second
	}
	in.Request.Mode, in.Request.Method = proto.ModeCall, "m"
	s.do(func(out *proto.Out) { s.w.Start(s.now, in, out) })
	return in.Ref
}

// pass lets time go by, deadline by deadline.
func (s *solo) pass(d time.Duration) {
	end := s.now.Add(d)
	for range 100000 {
		at := s.w.Deadline()
		if at.IsZero() || at.After(end) {
			s.now = end
			return
		}
		if at.After(s.now) {
			s.now = at
		}
		s.do(func(out *proto.Out) { s.w.Wake(s.now, out) })
	}
	s.t.Fatal("a deadline that Wake does not act on")
}

// look takes what came out since the last look: everything of one kind.
func look[T any](s *solo) []T {
	var found []T
	for _, o := range s.out {
		switch o := o.(type) {
		case T:
			found = append(found, o)
		case proto.Send:
			if m, ok := o.Msg.(T); ok {
				found = append(found, m)
			}
		case proto.SendTo:
			if m, ok := o.Msg.(T); ok {
				found = append(found, m)
			}
		}
	}
	return found
}

// said lists what went out as words, and forgets it: "Took>1" is a message over
// link 1, "Ask=>7" one straight to node 7, "Dispatch" an output of its own.
func (s *solo) said() string {
	var words []string
	for _, o := range s.out {
		kind := func(x any) string { return reflect.TypeOf(x).Name() }
		switch o := o.(type) {
		case proto.Send:
			word := kind(o.Msg)
			if e, ok := o.Msg.(proto.Echo); ok && !e.Final {
				word = "Part"
			}
			words = append(words, fmt.Sprintf("%s>%d", word, o.Link))
		case proto.SendTo:
			words = append(words, fmt.Sprintf("%s=>%d", kind(o.Msg), int(o.Peer.ID[1])<<8|int(o.Peer.ID[2])))
		case proto.Ignored, proto.CallStarted:
		case proto.CallVerdict:
			words = append(words, o.Verdict.String()+"/"+o.Executed.String())
		default:
			words = append(words, kind(o))
		}
	}
	s.out = nil
	return strings.Join(words, " ")
}

func (s *solo) wants(what string) {
	s.t.Helper()
	if got := s.said(); got != what {
		s.t.Fatalf("it did\n\t%s\nwant\n\t%s", got, what)
	}
}

// call is a CALL of node i's wave number seq.
func (s *solo) call(i int, seq uint64, change ...func(*proto.Call)) proto.Call {
	m := proto.Call{
		ID: proto.CallID{Caller: who(i), Seq: seq}, Round: 1, Oldest: 1, Remaining: 10 * time.Second, Stamp: s.w.clock(s.now),
		Asked: &proto.Asked{From: s.info(i), Request: proto.Request{Mode: proto.ModeCall, Method: "m"}},
	}
	for _, f := range change {
		f(&m)
	}
	m.Size = max(m.Size, uint32(len(m.Payload)))
	return m
}

// direct is an Ask under an ID of its own.
func (s *solo) direct(i int, seq uint64, change ...func(*proto.Call)) proto.Ask {
	m := s.call(i, seq, change...)
	m.ID.Target = who(0)
	return proto.Ask{Call: m}
}

func reply(payload string) proto.Result {
	return proto.Result{Outcome: proto.Replied, Executed: proto.ExecutedYes, Stage: proto.StageFinished, Payload: []byte(payload), Size: uint32(len(payload))}
}

// echo is what node i says of the call: its own reply, and that it has it from node 0.
func echo(id proto.CallID, round uint8, final bool, i int) proto.Echo {
	return proto.Echo{
		ID: id, Round: round, Final: final, Spread: true,
		Results: []proto.NodeResult{{Node: who(i), Incarnation: 1, Result: reply("x")}},
	}
}
