// Package rpctest has a mesh for tests: one node whose other members answer from
// a function. It keeps the overlay's promises to package rpc (one loop, one
// verdict per target, the budget's end), and no other: nothing in it travels.
package rpctest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// Upper is the layer above; rpc.Service is one.
type Upper interface{ Handle(out proto.Output) }

// Others answers for a member that is not the own node. ok is false when it
// stays silent.
type Others func(m *proto.Member, r *proto.Request) (v proto.CallVerdict, ok bool)

// Mesh is a fake of the overlay.
type Mesh struct {
	mu     sync.Mutex
	inbox  []proto.Input
	wake   chan struct{}
	roster *proto.Roster

	// owned by the loop
	others Others
	calls  map[uint64]*call
	seq    uint64
	sent   uint64 // broadcasts
}

type call struct {
	id    proto.CallID
	start proto.StartCall
	at    time.Time
	open  map[peer.ID]bool
	oks   int
	over  bool // its time is
}

// ID is a node ID for tests.
func ID(n byte) peer.ID { return peer.ID{0: n, 15: n} }

// Member is a living member for tests.
func Member(n byte, name string) *proto.Member {
	return &proto.Member{Status: proto.StatusAlive, Entry: &proto.Entry{ID: ID(n), Name: name, Birth: 1, Incarnation: 1, Version: 1}}
}

// Echo is an Others that replies with what it got.
func Echo(_ *proto.Member, r *proto.Request) (proto.CallVerdict, bool) {
	return proto.CallVerdict{
		Verdict: proto.Replied, Executed: proto.ExecutedYes, Stage: proto.StageFinished, Attempts: 1,
		Result: proto.Result{Outcome: proto.Replied, ContentType: r.ContentType, Payload: r.Payload},
	}, true
}

// New makes a mesh; the first name is the own node's.
func New(others Others, names ...string) *Mesh {
	m := &Mesh{wake: make(chan struct{}, 1), others: others, calls: map[uint64]*call{}}
	r := &proto.Roster{Self: ID(1), Revision: 1}
	for i, n := range names {
		r.Members = append(r.Members, Member(byte(i+1), n))
	}
	m.roster = r
	return m
}

// Submit queues an input.
func (m *Mesh) Submit(in proto.Input) {
	m.mu.Lock()
	m.inbox = append(m.inbox, in)
	m.mu.Unlock()
	m.poke()
}

func (m *Mesh) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Roster is everybody.
func (m *Mesh) Roster() *proto.Roster {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.roster
}

// Change replaces members by ID, or adds them; the loop tells the layer above.
func (m *Mesh) Change(kind proto.ChangeKind, members ...*proto.Member) {
	m.mu.Lock()
	r := &proto.Roster{Self: m.roster.Self, Revision: m.roster.Revision + 1, Members: slices.Clone(m.roster.Members)}
	var changed proto.MembersChanged
	for _, n := range members {
		r.Members = slices.DeleteFunc(r.Members, func(o *proto.Member) bool { return o.Entry.ID == n.Entry.ID })
		r.Members = append(r.Members, n)
		changed.Changes = append(changed.Changes, proto.MemberChange{Kind: kind, Member: n})
	}
	slices.SortFunc(r.Members, func(a, b *proto.Member) int { return a.Entry.ID.Compare(b.Entry.ID) })
	m.roster = r
	m.inbox = append(m.inbox, told{out: changed})
	m.mu.Unlock()
	m.poke()
}

// Tell hands an output to the layer above, on the loop.
func (m *Mesh) Tell(out proto.Output) { m.Submit(told{out: out}) }

// told is an output to be told on the loop.
type told struct {
	proto.Input // makes it one
	out         proto.Output
}

// closing is the end of a call whose time is over, once the layer above has said whether it had started.
type closing struct {
	proto.Input // makes it one
	call        *call
}

// Run is the loop; it ends with ctx.
func (m *Mesh) Run(ctx context.Context, up Upper) {
	tick := time.NewTimer(time.Hour)
	defer tick.Stop()
	for {
		m.mu.Lock()
		inputs := m.inbox
		m.inbox = nil
		m.mu.Unlock()
		for _, in := range inputs {
			m.step(in, up)
		}
		tick.Reset(m.expire(time.Now(), up))
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-tick.C:
		}
	}
}

func (m *Mesh) step(in proto.Input, up Upper) {
	switch in := in.(type) {
	case told:
		up.Handle(in.out)
	case closing:
		if m.calls[in.call.start.Ref] == in.call {
			m.close(in.call, up, proto.TimedOut, "the time is over")
		}
	case proto.StartCall:
		m.start(in, up)
	case proto.CancelCall:
		if c := m.calls[in.Ref]; c != nil {
			m.close(c, up, proto.Abandoned, "the caller cancelled")
		}
	case proto.LocalResult:
		for _, c := range m.calls {
			if c.id == in.ID {
				r := in.Result
				m.verdict(c, up, proto.CallVerdict{Node: ID(1), Verdict: r.Outcome, Executed: r.Executed, Stage: r.Stage, Reason: r.Reason, Result: r, Attempts: 1})
			}
		}
	case proto.Publish:
		m.sent++
		id := proto.MsgID{Origin: ID(1), Stream: proto.TopicStream(in.Body.Topic), Seq: m.sent}
		up.Handle(proto.Published{Ref: in.Ref, ID: id})
		up.Handle(proto.Deliver{ID: id, Body: in.Body, Local: true})
	case proto.UpdateSelf:
		self := *m.Roster().Get(ID(1))
		entry := *self.Entry
		entry.Version++
		entry.Handlers, entry.Groups, entry.Draining, entry.Streams = in.Handlers, in.Groups, in.Draining, in.Streams
		self.Entry = &entry
		m.Change(proto.ChangeUpdated, &self)
	case proto.Contacts, proto.DialFailed, proto.Leave, proto.LinkDown, proto.LinkUp, proto.Received, proto.Wake:
		panic("rpctest: an input that rpc does not give")
	}
}

func (m *Mesh) start(in proto.StartCall, up Upper) {
	m.seq++
	c := &call{id: proto.CallID{Caller: ID(1), Seq: m.seq}, start: in, at: time.Now(), open: map[peer.ID]bool{}}
	m.calls[in.Ref] = c
	r := m.Roster()
	started := proto.CallStarted{Ref: in.Ref, ID: c.id, Roster: r}
	for _, t := range r.Members {
		if t.Status != proto.StatusLeft && in.Select.Match(t.Entry) && (!in.Select.NotSelf || t.Entry.ID != r.Self) {
			started.Targets = append(started.Targets, t)
			c.open[t.Entry.ID] = true
		}
	}
	up.Handle(started)
	for _, t := range started.Targets {
		switch {
		case t.Entry.ID == r.Self:
			up.Handle(proto.Dispatch{ID: c.id, From: t.Entry.Info(), Request: in.Request, Budget: in.Budget})
		case t.Status == proto.StatusDown:
			m.verdict(c, up, proto.CallVerdict{Node: t.Entry.ID, Verdict: proto.Down, Executed: proto.ExecutedNo, Stage: proto.StageNotSent, Reason: "down"})
		default:
			if v, ok := m.others(t, &in.Request); ok {
				v.Node = t.Entry.ID
				m.verdict(c, up, v)
			}
		}
	}
	if len(started.Targets) == 0 {
		m.close(c, up, proto.Abandoned, "")
	}
}

func (m *Mesh) verdict(c *call, up Upper, v proto.CallVerdict) {
	if !c.open[v.Node] {
		return
	}
	delete(c.open, v.Node)
	v.Ref, v.Elapsed = c.start.Ref, time.Since(c.at)
	up.Handle(v)
	if v.Verdict == proto.Replied {
		c.oks++
	}
	if len(c.open) == 0 || c.start.MinReplies > 0 && c.oks >= c.start.MinReplies {
		m.close(c, up, proto.Abandoned, "enough replied")
	}
}

// close gives the rest its verdict and ends the call.
func (m *Mesh) close(c *call, up Upper, v proto.Verdict, why string) {
	delete(m.calls, c.start.Ref)
	for _, t := range m.Roster().Members {
		if !c.open[t.Entry.ID] {
			continue
		}
		out := proto.CallVerdict{
			Ref: c.start.Ref, Node: t.Entry.ID, Verdict: v, Executed: proto.ExecutedMaybe, Stage: proto.StageSent,
			Elapsed: time.Since(c.at), Attempts: 1, Reason: why,
		}
		if t.Entry.ID == ID(1) {
			out.Stage = proto.StageStarted
			if !c.over { // it was told
				up.Handle(proto.CancelDispatch{ID: c.id, Why: why})
			}
		} else if v == proto.TimedOut {
			out.Verdict = proto.Unreachable
		}
		up.Handle(out)
	}
	up.Handle(proto.CallDone{Ref: c.start.Ref})
}

// expire ends calls whose budget is over and tells when the next one is.
func (m *Mesh) expire(now time.Time, up Upper) time.Duration {
	next := time.Hour
	for _, c := range m.calls {
		left := c.at.Add(c.start.Budget).Sub(now)
		switch {
		case c.over:
		case left > 0:
			next = min(next, left)
		default:
			c.over = true
			if c.open[ID(1)] {
				up.Handle(proto.CancelDispatch{ID: c.id, Why: "the time is over"})
			}
			m.Submit(closing{call: c})
		}
	}
	return next
}
