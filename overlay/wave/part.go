package wave

import (
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// part is a node's part in one round of a wave: who gave it the call, whom it
// passed it on to, and what it gathers for its parent. The caller's own part
// has no parent.
type part struct {
	round    uint8
	parent   proto.LinkID // 0: the caller itself
	parentID peer.ID
	orphan   bool    // the parent's link broke: news goes straight to the caller
	spokes   []spoke // the set of links, frozen at first receipt
	closed   bool    // the final echo is out, or the call was cancelled
	tookAt   time.Time
	flushAt  time.Time // news goes up then
	aliveAt  time.Time // an empty PART goes up then
	quietAt  time.Time // a spoke may have fallen silent by then
	alive    time.Duration
	spread   bool // told the parent so
	fresh    news // not told yet
	all      news // everything, for an adoption
}

// news is what goes up: results, receipts and testimony.
type news struct {
	results   []proto.NodeResult
	receipts  []proto.Receipt
	testimony []proto.Testimony
	bytes     int // of payload
}

func (n *news) empty() bool {
	return len(n.results) == 0 && len(n.receipts) == 0 && len(n.testimony) == 0
}

// spoke is one link of the frozen set.
type spoke struct {
	link     proto.LinkID
	peer     proto.PeerInfo
	state    spokeState
	spread   bool // a child that said so
	broken   bool
	quiet    bool // testified silent
	heard    time.Time
	interval time.Duration // between the child's PARTs, as it doubles it
}

type spokeState uint8

const (
	spokeAsked    spokeState = iota // CALL is out, nothing came back
	spokeChild                      // TOOK: it owes an ECHO
	spokeResolved                   // crossed, SEEN, ECHO, or down
)

func (p *part) spoke(id proto.LinkID) *spoke {
	for i := range p.spokes {
		if p.spokes[i].link == id {
			return &p.spokes[i]
		}
	}
	return nil
}

func (p *part) resolved() bool {
	for i := range p.spokes {
		if p.spokes[i].state != spokeResolved {
			return false
		}
	}
	return true
}

// hasSpread: every other link is resolved, or is a child's that has spread.
func (p *part) hasSpread() bool {
	for i := range p.spokes {
		if s := &p.spokes[i]; s.state != spokeResolved && !s.spread {
			return false
		}
	}
	return true
}

func (p *part) addResult(r proto.NodeResult) {
	p.fresh.results = append(p.fresh.results, r)
	p.fresh.bytes += len(r.Result.Payload)
}

// receiveCall: a CALL on a link. It gets exactly one answer on that link: the
// crossing CALL that is already out, TOOK (and ECHO), or SEEN.
func (w *Wave) receiveCall(now time.Time, on proto.LinkID, from proto.PeerInfo, m proto.Call, out *proto.Out) {
	c, how := w.admit(now, on, m, out)
	seen := proto.Send{Link: on, Msg: proto.Seen{ID: m.ID, Round: m.Round}}
	switch {
	case how == admitFull:
		w.refuseFull(on, m, out)
	case how == admitOld || how == admitJump:
		out.Add(seen)
	case how == admitKnown && c.part != nil && m.Round <= c.part.round:
		w.receiveCrossing(now, c, on, m, seen, out)
	case how == admitKnown && c.exec.state == execDropped:
		out.Add(seen) // cancelled
	default:
		w.takePart(now, c, on, from, m.Round, out)
	}
}

// overloaded is this node's word that it has no room, and never will for this call.
func (w *Wave) overloaded() *proto.NodeResult {
	return &proto.NodeResult{Node: w.self, Result: proto.Result{
		Outcome: proto.Overloaded, Executed: proto.ExecutedNo, Stage: proto.StageFinished, Reason: "too_many_open_calls",
	}}
}

// refuseFull answers a CALL for which there is no room: a receipt and a
// refusal, and it is not relayed.
func (w *Wave) refuseFull(on proto.LinkID, m proto.Call, out *proto.Out) {
	out.Add(proto.Send{Link: on, Msg: proto.Took{ID: m.ID, Round: m.Round}})
	out.Add(proto.Send{Link: on, Msg: proto.Echo{
		ID: m.ID, Round: m.Round, Final: true, Spread: true, Results: []proto.NodeResult{*w.overloaded()},
	}})
}

// receiveCrossing: the call is in the table with a part. A CALL that crosses
// ours on a link of the frozen set resolves it for both; any other gets SEEN.
func (w *Wave) receiveCrossing(now time.Time, c *call, on proto.LinkID, m proto.Call, seen proto.Send, out *proto.Out) {
	c.bodyFrom = append(c.bodyFrom, on)
	s := c.part.spoke(on)
	if m.Round < c.part.round || s == nil || c.part.closed && s.state == spokeResolved {
		out.Add(seen)
		return
	}
	if s.state == spokeAsked {
		s.state = spokeResolved
		w.progress(now, c, out)
	}
}

// takePart is the first receipt of a call, or of its next round: the sender
// becomes the parent, the set of links is frozen, CALL goes out on them, and
// only then the handler is asked.
func (w *Wave) takePart(now time.Time, c *call, on proto.LinkID, from proto.PeerInfo, round uint8, out *proto.Out) {
	again := c.part
	p := &part{round: round, parent: on, parentID: from.ID, alive: w.cfg.AliveMin, spread: round == 0}
	c.part, c.open = p, c.open || w.reopen(c)
	c.bodyFrom = append(c.bodyFrom, on)
	late := !now.Before(c.deadline)
	if round > 0 || late {
		out.Add(proto.Send{Link: on, Msg: proto.Took{ID: c.msg.ID, Round: round}})
	} else {
		p.tookAt = now.Add(w.cfg.StarReceipt)
	}
	if round > 0 {
		p.fresh.receipts = append(p.fresh.receipts, proto.Receipt{Node: w.self, Parent: from.ID, Round: round})
		if !late {
			w.forward(now, c, on, out)
		}
	}
	if !c.whole() {
		out.Add(proto.Send{Link: on, Msg: proto.Pull{ID: c.msg.ID}})
	}
	p.aliveAt = now.Add(p.alive)
	switch c.exec.state {
	case execDone: // reached directly, or in the round before: the kept result goes up
		p.addResult(*w.nodeResult(c, round == 0))
	case execNone:
		w.decide(now, c, out)
	}
	if again != nil {
		p.fresh.results = append(p.fresh.results, othersOf(again, w.self)...)
	}
	w.progress(now, c, out)
}

// reopen counts a call that was reached directly, and finished, as open again.
func (w *Wave) reopen(c *call) bool {
	w.openOf[c.msg.ID.Caller]++
	return true
}

// othersOf are the results that a part had gathered from other nodes.
func othersOf(p *part, self peer.ID) []proto.NodeResult {
	var rest []proto.NodeResult
	for _, list := range [][]proto.NodeResult{p.all.results, p.fresh.results} {
		for _, r := range list {
			if r.Node != self {
				rest = append(rest, r)
			}
		}
	}
	return rest
}

// forward writes CALL on every link but the parent's. A child is given less
// time than we have, so that children close before their parents.
func (w *Wave) forward(now time.Time, c *call, except proto.LinkID, out *proto.Out) {
	p := c.part
	remaining := c.deadline.Sub(now)
	for _, l := range w.links {
		if l.id == except || l.draining {
			continue
		}
		left := remaining - 2*l.rtt - 2*w.cfg.Flush
		if left <= 0 {
			continue
		}
		p.spokes = append(p.spokes, spoke{link: l.id, peer: l.peer, heard: now, interval: w.cfg.AliveMin})
		m := c.msg
		m.Round = p.round
		m.Elapsed = c.msg.Elapsed + c.msg.Remaining - remaining
		m.Remaining, m.Stamp = left, w.clock(now)
		m.Size = c.msg.Size
		if p.round > 0 && int(m.Size) > w.cfg.InlineRequest {
			m.Request.Payload = nil
		}
		out.Add(proto.Send{Link: l.id, Msg: m})
		w.stats.Relayed++
	}
	p.quietAt = now.Add(w.quietAfter(p.round, w.cfg.AliveMin, 0))
}

// quietAfter is how long a child may say nothing before that is told: four of
// its intervals and four hops.
func (w *Wave) quietAfter(round uint8, interval, rtt time.Duration) time.Duration {
	if round == 0 {
		return w.cfg.StarSilence
	}
	return 4*interval + 4*max(rtt, 2*time.Millisecond)
}

// receiveTook: the other side is our child now.
func (w *Wave) receiveTook(now time.Time, on proto.LinkID, m proto.Took, out *proto.Out) {
	c := w.calls[m.ID]
	if c == nil || c.part == nil || m.Round != c.part.round {
		return
	}
	s := c.part.spoke(on)
	if s == nil || s.state != spokeAsked {
		return // ECHO implied it
	}
	s.state, s.heard = spokeChild, now
	if c.part.round == 0 {
		s.spread = true
	}
	if c.question != nil {
		c.question.receipt(proto.Receipt{Node: s.peer.ID, Parent: w.self, Round: m.Round})
		w.progressQuestion(now, c.question, out)
	}
	w.progress(now, c, out)
}

// receiveSeen: the link is resolved; the other side belongs elsewhere.
func (w *Wave) receiveSeen(now time.Time, on proto.LinkID, m proto.Seen, out *proto.Out) {
	c := w.calls[m.ID]
	if c == nil || c.part == nil || m.Round != c.part.round || c.part.closed {
		return
	}
	if s := c.part.spoke(on); s != nil && s.state == spokeAsked {
		s.state, s.heard = spokeResolved, now
		w.progress(now, c, out)
	}
}

// receiveEcho: a child's news. What an older round brings still counts.
func (w *Wave) receiveEcho(now time.Time, on proto.LinkID, from proto.PeerInfo, m proto.Echo, out *proto.Out) {
	c := w.calls[m.ID]
	if c == nil || c.part == nil || c.part.closed && c.question == nil {
		out.Add(proto.Ignored{Why: "echo_of_no_call", Peer: from.ID})
		if c == nil && !m.Final {
			out.Add(proto.Send{Link: on, Msg: proto.Cancel{ID: m.ID}})
		}
		return
	}
	if s := c.part.spoke(on); s != nil && m.Round == c.part.round {
		s.heardFrom(now, m, w.cfg)
	}
	w.absorb(now, c, m, out)
	w.progress(now, c, out)
}

// heardFrom notes a child's PART or ECHO.
func (s *spoke) heardFrom(now time.Time, m proto.Echo, cfg Config) {
	s.heard = now
	if len(m.Results)+len(m.Receipts)+len(m.Testimony) == 0 {
		s.interval = min(2*s.interval, cfg.AliveMax)
	} else {
		s.interval = cfg.AliveMin
	}
	if s.state == spokeAsked {
		s.state = spokeChild
	}
	s.spread = s.spread || m.Spread
	if m.Final {
		s.state = spokeResolved
	}
}

// absorb takes a child's news: the caller draws verdicts from it, a relay
// gathers it, without bodies once it carries too many bytes.
func (w *Wave) absorb(now time.Time, c *call, m proto.Echo, out *proto.Out) {
	if c.question != nil {
		w.hear(now, c.question, m, out)
		return
	}
	f := &c.part.fresh
	for _, r := range m.Results {
		if f.bytes+c.part.all.bytes+len(r.Result.Payload) > w.cfg.RelayBytes {
			r.Result.Payload = nil
		}
		c.part.addResult(r)
	}
	f.receipts = append(f.receipts, m.Receipts...)
	f.testimony = append(f.testimony, m.Testimony...)
}

// progressPart echoes when all is in, and otherwise arranges for a PART.
func (w *Wave) progressPart(now time.Time, c *call, out *proto.Out) {
	p := c.part
	if c.question != nil {
		if p.resolved() && c.exec.settled() && c.question.adoptedClosed() {
			p.closed = true
			w.waveClosed(now, c.question, out)
		} else {
			w.progressQuestion(now, c.question, out)
		}
		return
	}
	if p.resolved() && c.exec.settled() {
		p.closed = true
		w.report(c, true, out)
		return
	}
	if p.fresh.empty() && p.spread == p.hasSpread() {
		return
	}
	if p.fresh.bytes >= w.cfg.FlushBytes || len(p.fresh.results) >= w.cfg.FlushResults {
		w.flush(now, c, out)
	} else if p.flushAt.IsZero() {
		p.flushAt = now.Add(w.cfg.Flush)
	}
}

// flush sends PART.
func (w *Wave) flush(now time.Time, c *call, out *proto.Out) {
	p := c.part
	p.alive = w.cfg.AliveMin
	p.flushAt, p.aliveAt = time.Time{}, now.Add(p.alive)
	w.report(c, false, out)
}

// report sends what is new to the parent, or to the caller if we are an
// orphan; in several frames where one would be too large.
func (w *Wave) report(c *call, final bool, out *proto.Out) {
	p := c.part
	p.tookAt, p.spread = time.Time{}, p.hasSpread()
	receipts := p.fresh.receipts
	if final {
		receipts = withoutResult(receipts, p.fresh.results, p.all.results)
	}
	for rest := p.fresh.results; ; {
		m := proto.Echo{ID: c.msg.ID, Round: p.round, Spread: p.spread}
		m.Results, rest = splitResults(rest)
		m.Receipts, receipts = split(receipts)
		m.Testimony, p.fresh.testimony = split(p.fresh.testimony)
		last := len(rest) == 0 && len(receipts) == 0 && len(p.fresh.testimony) == 0
		m.Final = final && last
		w.sendUp(c, m, out)
		p.all.results = append(p.all.results, m.Results...)
		p.all.testimony = append(p.all.testimony, m.Testimony...)
		if last {
			break
		}
	}
	p.all.receipts = append(p.all.receipts, p.fresh.receipts...)
	p.all.bytes += p.fresh.bytes
	p.fresh = news{}
}

func (w *Wave) sendUp(c *call, m proto.Echo, out *proto.Out) {
	if c.part.orphan {
		w.stats.Adopts++
		out.Add(proto.SendTo{Owner: proto.OwnerWave, Peer: c.msg.From, Msg: proto.Adopt{Echo: m}})
		return
	}
	out.Add(proto.Send{Link: c.part.parent, Msg: m})
}

// split cuts a list where a frame's bound demands it.
func split[T any](list []T) (now, later []T) {
	if len(list) <= proto.MaxResults {
		return list, nil
	}
	return list[:proto.MaxResults:proto.MaxResults], list[proto.MaxResults:]
}

// splitResults cuts by count and by bytes, with room for what else a result carries.
func splitResults(list []proto.NodeResult) (now, later []proto.NodeResult) {
	bytes := 0
	for i := range list {
		bytes += len(list[i].Result.Payload) + len(list[i].Result.Reason) + 128
		if i > 0 && (i == proto.MaxResults || bytes > proto.MaxFrame/2) {
			return list[:i:i], list[i:]
		}
	}
	return list, nil
}

// withoutResult drops the receipts of nodes whose result is told: with the
// final echo nobody below is open, so no chain of receipts runs through them.
func withoutResult(receipts []proto.Receipt, told ...[]proto.NodeResult) []proto.Receipt {
	if len(receipts) == 0 {
		return nil
	}
	var done peer.Set
	for _, list := range told {
		for _, r := range list {
			done.Add(r.Node)
		}
	}
	var rest []proto.Receipt
	for _, r := range receipts {
		if !done.Has(r.Node) {
			rest = append(rest, r)
		}
	}
	return rest
}

// wakePart does what is due: the star's late receipt, PART, an empty one, and
// testimony about children that fell silent.
func (w *Wave) wakePart(now time.Time, c *call, out *proto.Out) {
	p := c.part
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	if c.question == nil {
		if due(p.tookAt) {
			p.tookAt = time.Time{}
			out.Add(proto.Send{Link: p.parent, Msg: proto.Took{ID: c.msg.ID, Round: p.round}})
		}
		if due(p.flushAt) {
			w.flush(now, c, out)
		}
		if due(p.aliveAt) {
			p.alive = min(2*p.alive, w.cfg.AliveMax)
			p.aliveAt = now.Add(p.alive)
			w.report(c, false, out)
		}
	} else {
		p.flushAt, p.aliveAt, p.tookAt = time.Time{}, time.Time{}, time.Time{}
	}
	if due(p.quietAt) {
		w.lookForQuiet(now, c, out)
	}
}

// lookForQuiet testifies about spokes that owe something and say nothing.
func (w *Wave) lookForQuiet(now time.Time, c *call, out *proto.Out) {
	p := c.part
	p.quietAt = time.Time{}
	for i := range p.spokes {
		s := &p.spokes[i]
		if s.state == spokeResolved || s.quiet {
			continue
		}
		if p.round == 0 && s.state == spokeChild {
			continue // its handler is slow; the budget ends that
		}
		var rtt time.Duration
		if l := w.link(s.link); l != nil {
			rtt = l.rtt
		}
		at := s.heard.Add(w.quietAfter(p.round, s.interval, rtt))
		if now.Before(at) {
			p.quietAt = earliest(p.quietAt, at)
			continue
		}
		s.quiet = true
		t := proto.Testimony{
			Witness: w.self, Node: s.peer.ID, Kind: proto.TestifySilent,
			Received: s.state == spokeChild, Ago: now.Sub(s.heard),
		}
		if c.question != nil {
			w.spokeQuiet(now, c.question, t, out)
		} else {
			p.fresh.testimony = append(p.fresh.testimony, t)
		}
	}
}

// partLinkDown: a link of this call's part is gone.
func (w *Wave) partLinkDown(now time.Time, c *call, id proto.LinkID, out *proto.Out) {
	p := c.part
	if p.parent == id && id != 0 && !p.orphan {
		w.orphaned(now, c, out)
		return
	}
	s := p.spoke(id)
	if s == nil || s.broken {
		return
	}
	s.broken = true
	if s.state == spokeResolved {
		return
	}
	t := proto.Testimony{
		Witness: w.self, Node: s.peer.ID, Kind: proto.TestifyReset,
		Received: s.state == spokeChild, Ago: now.Sub(s.heard),
	}
	s.state = spokeResolved
	if c.question != nil {
		w.spokeBroke(now, c.question, t, out)
	} else {
		p.fresh.testimony = append(p.fresh.testimony, t)
	}
	w.progress(now, c, out)
}

// orphaned: the parent's link broke before our final echo. Everything we know
// and all that follows goes straight to the caller.
func (w *Wave) orphaned(now time.Time, c *call, out *proto.Out) {
	p := c.part
	p.orphan = true
	p.fresh = news{
		results:   append(p.all.results, p.fresh.results...),
		receipts:  append(p.all.receipts, p.fresh.receipts...),
		testimony: append(p.all.testimony, p.fresh.testimony...),
		bytes:     p.all.bytes + p.fresh.bytes,
	}
	p.all = news{}
	if c.exec.state == execBody {
		out.Add(proto.SendTo{Owner: proto.OwnerWave, Peer: c.msg.From, Msg: proto.Pull{ID: c.msg.ID}})
	}
	if p.resolved() && c.exec.settled() {
		p.closed = true
		w.report(c, true, out)
	} else {
		w.flush(now, c, out)
	}
	w.progress(now, c, out)
}

// closeLate: the budget is over here. What is open is told as pending.
func (w *Wave) closeLate(now time.Time, c *call, out *proto.Out) {
	p := c.part
	if c.question != nil {
		p.closed = true
		return // the question has its own deadline
	}
	for i := range p.spokes {
		if s := &p.spokes[i]; s.state != spokeResolved {
			p.fresh.testimony = append(p.fresh.testimony, proto.Testimony{
				Witness: w.self, Node: s.peer.ID, Kind: proto.TestifyPending,
				Received: s.state == spokeChild, Ago: now.Sub(s.heard),
			})
		}
	}
	if !c.exec.settled() {
		p.fresh.testimony = append(p.fresh.testimony, proto.Testimony{
			Witness: w.self, Node: w.self, Kind: proto.TestifyPending, Received: true,
		})
	}
	p.closed = true
	w.report(c, true, out)
}
