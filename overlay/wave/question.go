package wave

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// question is a call as its caller sees it: whom it asked, and what is known.
type question struct {
	ref      uint64
	call     *call // the wave, or the run on this very node; nil: neither
	wave     bool  // it went out as a wave
	started  time.Time
	deadline time.Time
	targets  peer.Map[*target]
	open     int // targets without a verdict
	replied  int
	enough   int  // replies that end it; 0: all
	relayed  bool // a CALL of the wave went to at least one link
	spread   bool // the whole wave has said so, once
	unsure   bool // a verdict was given that is not the target's own word
	done     bool // CallDone is out
	late     int
	parents  peer.Map[peer.ID] // receipts: who gave it to whom
	cuts     map[edge]bool     // links of the wave that are known to be broken
	adopted  []*adopted
	directAt time.Time // the direct phase looks then
	statusAt time.Time // who is still silent is asked for its status then
	asking   []*target // with an ask in flight or to be tried again
	pulls    int
	alarm    alarm
}

type edge struct{ witness, node peer.ID }

// adopted is an orphan that reports straight to us.
type adopted struct {
	node          peer.ID
	final, spread bool
	broken        bool
}

// target is one member that was asked.
type target struct {
	q         *question
	member    *proto.Member
	id        proto.CallID // under which it is asked directly
	given     bool         // it has its verdict
	received  bool         // a receipt was seen, by anybody
	stage     proto.Stage
	witnesses []proto.Testimony
	handed    int // messages of this call for it that may have left this node
	attempts  int
	ask       ask
	reason    string // why the last way failed
	fetching  bool   // it has answered, and the reply is fetched
}

// asks tells whether a node is a target that still lacks its verdict.
func (q *question) asks(id peer.ID) bool {
	t, ok := q.targets.Get(id)
	return ok && !t.given
}

// adoptedClosed: no orphan owes us anything more.
func (q *question) adoptedClosed() bool {
	for _, a := range q.adopted {
		if !a.final && !a.broken {
			return false
		}
	}
	return true
}

// Start begins a call: it draws the targets from the directory, tells them, and
// asks in the form that fits: a star, a wave, or each directly.
func (w *Wave) Start(now time.Time, in proto.StartCall, out *proto.Out) {
	if len(w.byRef) >= w.cfg.OpenMax {
		out.Add(proto.CallRefused{Ref: in.Ref, Why: "too many open calls"})
		return
	}
	q := &question{ref: in.Ref, started: now, deadline: now.Add(min(in.Budget, proto.MaxBudget)), enough: in.MinReplies}
	q.alarm = alarm{index: -1, question: q}
	roster := w.members.Roster()
	listed := w.draw(now, q, roster, in.Select)
	w.questions = append(w.questions, q)
	w.byRef[in.Ref] = q
	excluded := w.exclude(q)
	live := 0
	for id := range q.targets.All() {
		if id != w.self && !slices.Contains(excluded, id) {
			live++
		}
	}
	q.wave = live > 0 && (in.Select.Everybody() || live > w.cfg.DirectMax && live >= min(64, len(roster.Members)/10))
	started := proto.CallStarted{Ref: in.Ref, Roster: roster, Targets: listed}
	if q.wave {
		started.ID = proto.CallID{Caller: w.self, Seq: w.waveSeq.next()}
	}
	out.Add(started)
	for _, id := range excluded {
		t, _ := q.targets.Get(id)
		w.giveStatus(now, t, proto.ExecutedNo, out)
	}
	if q.done {
		if q.wave {
			w.waveSeq.close(started.ID.Seq)
		}
		return
	}
	if q.wave {
		w.startWave(now, q, started.ID, in, excluded, out)
	} else {
		w.startDirect(now, q, in, out)
	}
	w.arm(q)
}

// draw fills the targets: alive, suspect, and down for so short a time that a
// fresh death is told rather than passed over, unless a newer process of its
// name answers for it. A node named by its ID is a target whatever its status.
func (w *Wave) draw(now time.Time, q *question, roster *proto.Roster, sel proto.Selector) []*proto.Member {
	var listed []*proto.Member
	for _, m := range roster.Members {
		named := sel.IDs != nil
		fresh := m.Status == proto.StatusDown && !m.Superseded && now.Sub(m.Since) < w.cfg.DownFor
		switch {
		case m.Entry.ID == w.self && sel.NotSelf, !sel.Match(m.Entry):
			continue
		case m.Status == proto.StatusAlive, m.Status == proto.StatusSuspect, fresh, named:
			q.targets.Put(m.Entry.ID, &target{q: q, member: m, stage: proto.StageNotSent})
			listed = append(listed, m)
		}
	}
	q.open = q.targets.Len()
	return listed
}

// exclude is who is known down or gone: nothing is sent to them, and a wave
// names them so that they do not run it either.
func (w *Wave) exclude(q *question) []peer.ID {
	var ids []peer.ID
	for id, t := range q.targets.All() {
		if s := t.member.Status; (s == proto.StatusDown || s == proto.StatusLeft) && len(ids) < proto.MaxExcluded {
			ids = append(ids, id)
		}
	}
	return ids
}

// startWave: everybody, or so many that asking each would cost more.
func (w *Wave) startWave(now time.Time, q *question, id proto.CallID, in proto.StartCall, excluded []peer.ID, out *proto.Out) {
	msg := proto.Call{
		ID: id, Oldest: w.waveSeq.oldest(), From: w.members.Self().Info(), Select: in.Select, Excluded: excluded,
		Request: in.Request, Size: uint32(len(in.Request.Payload)), Remaining: q.deadline.Sub(now),
	}
	c := w.enter(now, w.window(id, id.Seq), msg)
	c.question, q.call = q, c
	for node, t := range q.targets.All() {
		t.id = id
		if node != w.self && !t.given {
			t.stage = proto.StageSent
		}
	}
	round := uint8(1)
	if w.isStar(q) {
		round = 0
		w.stats.Stars++
	} else {
		w.stats.Waves++
	}
	q.statusAt = q.started.Add(q.deadline.Sub(q.started) * 4 / 5)
	w.openRound(now, q, round, out)
}

// isStar: every target but ourselves is at the other end of an open link.
func (w *Wave) isStar(q *question) bool {
	for id, t := range q.targets.All() {
		if id != w.self && !t.given && w.linkTo(id) == nil {
			return false
		}
	}
	return true
}

// openRound sends CALL on our links; the caller is the wave's root.
func (w *Wave) openRound(now time.Time, q *question, round uint8, out *proto.Out) {
	c := q.call
	c.part = &part{round: round}
	w.forward(now, c, 0, out)
	q.relayed = q.relayed || len(c.part.spokes) > 0
	w.decide(now, c, out)
	w.progress(now, c, out)
}

// widen turns a star into the full wave: under the same ID, nobody runs twice.
func (w *Wave) widen(now time.Time, q *question, out *proto.Out) {
	w.stats.StarsWidened++
	q.parents.Clear()
	w.openRound(now, q, 1, out)
}

// startDirect asks each target by itself, under an ID of its own.
func (w *Wave) startDirect(now time.Time, q *question, in proto.StartCall, out *proto.Out) {
	w.stats.Directs++
	self := w.members.Self().Info()
	for node, t := range q.targets.All() {
		if t.given {
			continue
		}
		seq := w.directSeq[node]
		if seq == nil {
			seq = &sequence{}
			w.directSeq[node] = seq
		}
		t.id = proto.CallID{Caller: w.self, Target: node, Seq: seq.next()}
		msg := proto.Call{
			ID: t.id, Oldest: seq.oldest(), From: self, Select: in.Select,
			Request: in.Request, Size: uint32(len(in.Request.Payload)), Remaining: q.deadline.Sub(now),
		}
		if node == w.self {
			c := w.enter(now, w.window(t.id, t.id.Seq), msg)
			c.question, q.call = q, c
			continue
		}
		w.direct[t.id] = t
		t.ask.msg = msg
		w.ask(now, t, out)
	}
	if q.call != nil {
		w.decide(now, q.call, out)
		w.progress(now, q.call, out)
	}
	if q.open == 0 && !q.done {
		w.settle(now, q, out)
	}
}

// hear takes what an echo tells the caller.
func (w *Wave) hear(now time.Time, q *question, m proto.Echo, out *proto.Out) {
	for _, r := range m.Receipts {
		if m.Round == q.call.part.round {
			q.receipt(r)
		} else if t, ok := q.targets.Get(r.Node); ok {
			t.received = true
		}
	}
	for _, t := range m.Testimony {
		w.hearTestimony(now, q, t)
	}
	for _, r := range m.Results {
		w.verdictOf(now, q, r, out)
	}
	w.progressQuestion(now, q, out)
}

// receipt notes that a node has the call, and from whom.
func (q *question) receipt(r proto.Receipt) {
	q.parents.Put(r.Node, r.Parent)
	if t, ok := q.targets.Get(r.Node); ok {
		t.received = true
		t.stage = max(t.stage, proto.StageReceived)
	}
}

// hearTestimony notes what a witness says of a silent neighbour.
func (w *Wave) hearTestimony(now time.Time, q *question, t proto.Testimony) {
	if t.Kind == proto.TestifyReset {
		q.cut(edge{t.Witness, t.Node})
		w.brokeAt(now, q)
	}
	if target, ok := q.targets.Get(t.Node); ok && !target.given {
		target.received = target.received || t.Received
		if len(target.witnesses) < 16 {
			target.witnesses = append(target.witnesses, t)
		}
	}
}

func (q *question) cut(e edge) {
	if q.cuts == nil {
		q.cuts = map[edge]bool{}
	}
	q.cuts[e] = true
}
