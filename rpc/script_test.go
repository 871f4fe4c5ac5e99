package rpc

import (
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// script is a service whose overlay is the test.
type script struct {
	*Service
	t      *testing.T
	inputs []proto.Input
	seq    uint64

	rosterMu sync.Mutex
	roster   *proto.Roster
}

func (s *script) Submit(in proto.Input) { s.inputs = append(s.inputs, in) }

func (s *script) Roster() *proto.Roster {
	s.rosterMu.Lock()
	defer s.rosterMu.Unlock()
	return s.roster
}

func (s *script) setRoster(members []*proto.Member) {
	s.rosterMu.Lock()
	defer s.rosterMu.Unlock()
	s.roster = &proto.Roster{Self: nodeID(1), Revision: s.roster.Revision + 1, Members: members}
}

func nodeID(n byte) peer.ID { return peer.ID{0: n} }

func aMember(n byte, name string, change ...func(*proto.Member)) *proto.Member {
	m := &proto.Member{Status: proto.StatusAlive, Entry: &proto.Entry{ID: nodeID(n), Name: name, Birth: 1, Incarnation: 1}}
	for _, f := range change {
		f(m)
	}
	return m
}

// newScript makes a node "a" that knows "b" and "c".
func newScript(t *testing.T, change ...func(*Config)) *script {
	t.Helper()
	s := bareScript(t, change...)
	t.Cleanup(s.Close)
	return s
}

// bareScript is newScript's, to be closed by whoever made it.
func bareScript(t *testing.T, change ...func(*Config)) *script {
	t.Helper()
	s := &script{t: t, roster: &proto.Roster{Self: nodeID(1), Revision: 1, Members: []*proto.Member{aMember(1, "a"), aMember(2, "b"), aMember(3, "c")}}}
	cfg := Defaults()
	for _, f := range change {
		f(&cfg)
	}
	svc, err := New(s, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Service = svc
	return s
}

// app attaches an application that serves the methods.
func (s *script) app(name string, methods ...string) *App {
	s.t.Helper()
	a, err := s.Attach(name, 0, 0, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := a.Register(methods, nil, nil); err != nil {
		s.t.Fatal(err)
	}
	return a
}

func (s *script) subscriber(name string, topics ...string) *App {
	s.t.Helper()
	a := s.app(name)
	if err := a.Register(nil, topics, nil); err != nil {
		s.t.Fatal(err)
	}
	return a
}

// arrives is a call from b for an application here.
func (s *script) arrives(mode proto.Mode, method string, budget time.Duration) proto.CallID {
	s.seq++
	id := proto.CallID{Caller: nodeID(2), Seq: s.seq}
	s.Handle(proto.Dispatch{
		ID: id, From: proto.PeerInfo{ID: nodeID(2), Name: "b"}, Budget: budget,
		Request: proto.Request{Mode: mode, Method: method, Payload: []byte("hi")},
	})
	return id
}

// take is all that waits for the application.
func (s *script) take(a *App) []Item {
	s.t.Helper()
	items, _ := a.Take(nil, 1000)
	return items
}

// gets takes exactly one request.
func (s *script) gets(a *App) RequestItem {
	s.t.Helper()
	items := s.take(a)
	if len(items) != 1 {
		s.t.Fatalf("%s got %d items, want one request: %v", a.name, len(items), items)
	}
	r, ok := items[0].(RequestItem)
	if !ok {
		s.t.Fatalf("%s got %T, want a request", a.name, items[0])
	}
	return r
}

// answered is the one result that the overlay was given for the call.
func (s *script) answered(id proto.CallID) proto.Result {
	s.t.Helper()
	var found []proto.Result
	for _, in := range s.inputs {
		if r, ok := in.(proto.LocalResult); ok && r.ID == id {
			found = append(found, r.Result)
		}
	}
	if len(found) != 1 {
		s.t.Fatalf("call %v has %d results, want one: %v", id, len(found), found)
	}
	return found[0]
}

func (s *script) wantResult(id proto.CallID, v proto.Verdict, e proto.Executed) {
	s.t.Helper()
	if r := s.answered(id); r.Outcome != v || r.Executed != e {
		s.t.Errorf("result %v, executed %v (%s): want %v, %v", r.Outcome, r.Executed, r.Reason, v, e)
	}
}

func (s *script) wantNoResult(id proto.CallID) {
	s.t.Helper()
	for _, in := range s.inputs {
		if r, ok := in.(proto.LocalResult); ok && r.ID == id {
			s.t.Fatalf("call %v has a result already: %+v", id, r.Result)
		}
	}
}

// starts makes a call of the application and is what the overlay was given.
func (s *script) starts(a *App, id uint64, ask *Ask) proto.StartCall {
	s.t.Helper()
	if err := a.Start(id, ask); err != nil {
		s.t.Fatal(err)
	}
	return s.started()
}

func (s *script) started() proto.StartCall {
	s.t.Helper()
	call, ok := s.inputs[len(s.inputs)-1].(proto.StartCall)
	if !ok {
		s.t.Fatalf("the overlay was given %T, want a call", s.inputs[len(s.inputs)-1])
	}
	s.Handle(proto.CallStarted{Ref: call.Ref, Roster: s.roster, Targets: s.roster.Members})
	return call
}

// says gives a verdict of a node.
func (s *script) says(ref uint64, node byte, v proto.Verdict, e proto.Executed, payload string) {
	s.Handle(proto.CallVerdict{
		Ref: ref, Node: nodeID(node), Verdict: v, Executed: e, Stage: proto.StageReceived, Reason: "because",
		Result: proto.Result{Outcome: v, Payload: []byte(payload)},
	})
}

func (s *script) counted(name, label string) uint64 {
	for _, c := range s.Counters() {
		if c.Counter == (Counter{name, label}) {
			return c.Value
		}
	}
	return 0
}
