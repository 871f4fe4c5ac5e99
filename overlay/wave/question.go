package wave

import (
	"slices"
	"sort"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/wave/alarm"
)

// question is a call as its caller sees it: whom it asked, and what is known.
type question struct {
	ref      uint64
	call     *call // the wave, or the run on this very node; nil: neither
	wave     bool  // it went out as a wave
	started  time.Time
	deadline time.Time
	targets  []target // in the order of their IDs; never grows
	open     int      // targets without a verdict
	replied  int
	enough   int  // replies that end it; 0: all
	relayed  bool // a CALL of the wave went to at least one link
	spread   bool // the whole wave has said so, once
	unsure   bool // a verdict was given that is not the target's own word
	ending   bool // the rest gets its verdicts now: nothing new is asked
	done     bool // CallDone is out
	retired  bool // and its wave has ended
	late     int
	parents  map[peer.ID]peer.ID // receipts of this round: who gave it to whom; looked up only
	cuts     map[edge]bool       // links of this round that are known to be broken; looked up only
	adopted  []*adopted
	extras   peer.Set  // who answered and was not asked
	directAt time.Time // the direct phase looks then
	statusAt time.Time // who is still silent is asked for its status then
	endAt    time.Time // verdicts are drawn from what is known; settled: the wave is called off
	askAt    time.Time // an ask needs a look, not before
	asking   []*target // with an ask in flight or to be tried again
	fetches  []*target // large replies that wait to be fetched
	fetching int       // and that are being fetched
	alarm    alarm.Alarm[sleeper]
}

// edge is a link of the wave, from parent to child.
type edge struct{ parent, child peer.ID }

// adopted is an orphan that reports straight to us.
type adopted struct {
	node          peer.ID
	round         uint8
	final, spread bool
	broken        bool
}

// target is one member that was asked.
type target struct {
	node      peer.ID
	q         *question
	member    *proto.Member
	id        proto.CallID // under which it is asked directly
	given     bool         // it has its verdict
	received  bool         // a receipt was seen, by anybody
	answered  bool         // it has said that it has an answer, too large to come by itself
	fetching  bool         // which is being fetched
	stage     proto.Stage
	witnesses []proto.Testimony
	handed    int // asks that may have left this node
	attempts  int
	ask       ask
	reason    string // why the last way failed
}

// target finds the target that is a node; nil: it was not asked.
func (q *question) target(id peer.ID) *target {
	i, ok := sort.Find(len(q.targets), func(i int) int { return id.Compare(q.targets[i].node) })
	if !ok {
		return nil
	}
	return &q.targets[i]
}

// isGone: known to be down, or to have left.
func (t *target) isGone() bool {
	return t.member.Status == proto.StatusDown || t.member.Status == proto.StatusLeft
}

// asks tells whether a node is a target that still lacks its verdict.
func (q *question) asks(id peer.ID) bool {
	t := q.target(id)
	return t != nil && !t.given
}

// adoptedClosed: no orphan of this round owes us anything more.
func (q *question) adoptedClosed() bool {
	return !slices.ContainsFunc(q.adopted, func(a *adopted) bool { return a.round == q.call.part.round && !a.final && !a.broken })
}

// Start begins a call: it draws the targets from the directory, tells them, and
// asks in the form that fits: a star, a wave, or each directly.
func (w *Wave) Start(now time.Time, in proto.StartCall, out *proto.Out) {
	if len(w.byRef) >= w.cfg.OpenMax {
		out.Add(proto.CallRefused{Ref: in.Ref, Why: "too many open calls"})
		return
	}
	q := &question{ref: in.Ref, started: now, deadline: now.Add(min(in.Budget, proto.MaxBudget)), enough: in.MinReplies}
	q.endAt = q.deadline.Add(w.cfg.Flush) // our own application has a moment for its word
	q.alarm.Of = q
	roster := w.members.Roster()
	listed := w.draw(now, q, roster, in.Select)
	w.questions.add(q)
	w.byRef[in.Ref] = q
	live := 0
	for i := range q.targets {
		if t := &q.targets[i]; t.node != w.self && !t.isGone() {
			live++
		}
	}
	q.wave = live > 0 && (in.Select.Everybody() || live > w.cfg.DirectMax && live >= min(64, len(roster.Members)/10))
	started := proto.CallStarted{Ref: in.Ref, Roster: roster, Targets: listed}
	if q.wave {
		started.ID = proto.CallID{Caller: w.self, Seq: w.waveSeq.Next()}
	}
	out.Add(started)
	excluded := w.exclude(now, q, out)
	switch {
	case q.wave:
		w.startWave(now, q, started.ID, in, excluded, out)
	case !q.done:
		w.startDirect(now, q, in, out)
	}
	w.arm(q)
}

// draw fills the targets: alive, suspect, and down for so short a time that a
// fresh death is told rather than passed over, unless a newer process of its
// name answers for it. A node named by its ID is a target whatever its status.
func (w *Wave) draw(now time.Time, q *question, roster *proto.Roster, sel proto.Selector) []*proto.Member {
	listed := make([]*proto.Member, 0, len(roster.Members))
	for _, m := range roster.Members {
		named := sel.IDs != nil
		fresh := m.Status == proto.StatusDown && !m.Superseded && now.Sub(m.Since) < w.cfg.DownFor
		switch {
		case m.Entry.ID == w.self && sel.NotSelf, !sel.Match(m.Entry):
			continue
		case m.Status == proto.StatusAlive, m.Status == proto.StatusSuspect, fresh, named:
			listed = append(listed, m)
		}
	}
	q.targets = make([]target, len(listed))
	for i, m := range listed {
		q.targets[i] = target{node: m.Entry.ID, q: q, member: m, stage: proto.StageNotSent}
	}
	q.open = len(listed)
	return listed
}

// exclude gives those who are known to be down or gone their verdict: nothing
// is sent to them, and a wave names them so that they do not run it either.
// Whom it cannot name is asked like everybody.
func (w *Wave) exclude(now time.Time, q *question, out *proto.Out) []peer.ID {
	var ids []peer.ID
	for i := range q.targets {
		if t := &q.targets[i]; t.isGone() && (!q.wave || len(ids) < proto.MaxExcluded) {
			ids = append(ids, t.node)
			w.giveStatus(now, t, proto.ExecutedNo, out)
		}
	}
	return ids
}

// asked is what all copies of a call say alike.
func (w *Wave) asked(in proto.StartCall, excluded []peer.ID) *proto.Asked {
	in.Request.Payload = nil
	return &proto.Asked{From: w.members.Self().Info(), Select: in.Select, Excluded: excluded, Request: in.Request}
}

func callOf(asked *proto.Asked, payload []byte) proto.Call {
	return proto.Call{Asked: asked, Payload: payload, Size: uint32(len(payload))}
}

// startWave: everybody, or so many that asking each would cost more.
func (w *Wave) startWave(now time.Time, q *question, id proto.CallID, in proto.StartCall, excluded []peer.ID, out *proto.Out) {
	msg := callOf(w.asked(in, excluded), in.Request.Payload)
	msg.ID, msg.Oldest, msg.Remaining = id, w.waveSeq.Oldest(), q.deadline.Sub(now)
	c := w.enter(now, w.window(now, id, id.Seq, 0), msg)
	c.question, q.call = q, c
	for i := range q.targets {
		t := &q.targets[i]
		t.id = id
		if t.node != w.self && !t.given {
			t.stage = proto.StageSent
		}
	}
	q.statusAt = q.started.Add(q.deadline.Sub(q.started) * 4 / 5)
	if links := w.starLinks(q); links != nil { // every target but ourselves is at the other end of an open link
		w.stats.Stars++
		w.openRound(now, q, 0, links, out)
		return
	}
	w.stats.Waves++
	if in.Select.Everybody() {
		w.warm(now, q, out)
	}
	w.openRound(now, q, 1, w.links, out)
}

// openRound sends CALL on our links; the caller is the wave's root.
func (w *Wave) openRound(now time.Time, q *question, round uint8, links []link, out *proto.Out) {
	c := q.call
	c.part = &part{round: round}
	w.forward(now, c, links, 0, out)
	q.relayed = q.relayed || len(c.part.spokes) > 0
	w.decide(now, c, out)
	w.progress(now, c, out)
}

// widen turns a star into the full wave: under the same ID, so that nobody runs
// twice. What was known of the star's links says nothing of the wave's.
func (w *Wave) widen(now time.Time, q *question, out *proto.Out) {
	w.stats.StarsWidened++
	clear(q.parents)
	clear(q.cuts)
	q.directAt = time.Time{}
	w.openRound(now, q, 1, w.links, out)
}

// startDirect asks each target by itself, under an ID of its own.
func (w *Wave) startDirect(now time.Time, q *question, in proto.StartCall, out *proto.Out) {
	w.stats.Directs++
	asked := w.asked(in, nil)
	for i := range q.targets {
		t := &q.targets[i]
		if t.given {
			continue
		}
		seq := w.sequenceTo(t.node)
		t.id = proto.CallID{Caller: w.self, Target: t.node, Seq: seq.Next()}
		msg := callOf(asked, in.Request.Payload)
		msg.ID, msg.Oldest, msg.Remaining = t.id, seq.Oldest(), q.deadline.Sub(now)
		if t.node == w.self {
			c := w.enter(now, w.window(now, t.id, t.id.Seq, 0), msg)
			c.question, q.call = q, c
			continue
		}
		w.direct[t.id] = t
		t.ask.msg = &msg
		w.ask(now, t, out)
	}
	if q.call != nil {
		w.decide(now, q.call, out)
		w.progress(now, q.call, out)
	}
	if q.open == 0 {
		w.settle(now, q, out)
	}
}

// hear takes what an echo tells the caller.
func (w *Wave) hear(now time.Time, q *question, from peer.ID, m proto.Echo, out *proto.Out) {
	current := m.Round == q.call.part.round
	for _, r := range m.Receipts {
		if current {
			q.receipt(r)
		} else {
			q.hasIt(r.Node)
		}
	}
	silent, broken := false, false
	for _, t := range m.Testimony {
		q.hearTestimony(t)
		silent = silent || t.Kind == proto.TestifySilent
		broken = broken || t.Kind == proto.TestifyReset
	}
	for i := range m.Results {
		w.heardResult(now, q, from, m.Results[i], out)
	}
	if q.done {
		return
	}
	if silent && current && m.Round > 0 {
		w.askUnheard(now, q, out)
	}
	if broken {
		w.brokeNow(now, q)
	}
	w.progressQuestion(now, q, out)
}

// receipt notes that a node has the call, and from whom. An orphan that reports
// to us has no other parent, whatever late news says.
func (q *question) receipt(r proto.Receipt) {
	q.hasIt(r.Node)
	switch {
	case r.Round == 0:
		return // a star has one hop: it leads nowhere
	case q.parents == nil:
		q.parents = map[peer.ID]peer.ID{}
	}
	reports := func(a *adopted) bool { return a.node == r.Node && a.round == r.Round && !a.broken }
	if r.Parent == q.call.msg.ID.Caller || !slices.ContainsFunc(q.adopted, reports) {
		q.parents[r.Node] = r.Parent
	}
}

func (q *question) hasIt(id peer.ID) {
	if t := q.target(id); t != nil {
		t.received, t.stage = true, max(t.stage, proto.StageReceived)
	}
}

// witnessesMax bounds the testimony that one verdict carries.
const witnessesMax = 16

// hearTestimony notes what a witness says of a silent neighbour.
func (q *question) hearTestimony(t proto.Testimony) {
	if t.Kind == proto.TestifyReset {
		q.cut(edge{t.Witness, t.Node})
	}
	if target := q.target(t.Node); target != nil && !target.given {
		if t.Received {
			q.hasIt(t.Node)
		}
		if len(target.witnesses) < witnessesMax {
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
