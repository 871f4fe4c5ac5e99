package rpc

import (
	"context"
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// call is a call of a local application that has not ended.
type call struct {
	ref     uint64
	id      uint64 // the application's own
	ask     *Ask
	app     *App   // nil: a unary call
	box     *inbox // nil: nobody listens
	roster  *proto.Roster
	started time.Time
	heard   int // targets that gave a sign of life
	bytes   int // of replies
	answer  Answer
}

// inbox is where the ends of calls wait for whoever made them.
type inbox struct {
	ready chan struct{} // capacity 1
	items []Item
	bytes int
}

func newInbox() inbox { return inbox{ready: make(chan struct{}, 1)} }

func (b *inbox) put(it Item, size int) {
	b.items = append(b.items, it)
	b.bytes += size + itemBytes
	b.wake()
}

func (b *inbox) wake() {
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// Do makes a call and waits for its end. When ctx ends first the call is
// cancelled and ctx's error returned. An answer whose Err is set could not be made.
func (s *Service) Do(ctx context.Context, ask *Ask) (*Answer, error) {
	return s.Each(ctx, ask, nil)
}

// Each is Do that hands the verdicts of a Stream to each, in the caller's
// goroutine, as they come. An error of each cancels the call and is returned.
func (s *Service) Each(ctx context.Context, ask *Ask, each func(*NodeVerdict) error) (*Answer, error) {
	if end, ok := ctx.Deadline(); ok {
		if left := time.Until(end); ask.Timeout <= 0 || left < ask.Timeout {
			ask.Timeout = max(left, time.Nanosecond)
		}
	}
	box := newInbox()
	s.mu.Lock()
	c, refused := s.start(ask, nil, 0, &box)
	s.mu.Unlock()
	if refused != nil {
		return nil, refused
	}
	for {
		select {
		case <-box.ready:
		case <-ctx.Done():
			s.abandon(c)
			return nil, context.Cause(ctx)
		}
		s.mu.Lock()
		items := box.items
		box.items = nil
		s.mu.Unlock()
		for _, it := range items {
			switch it := it.(type) {
			case VerdictItem:
				if err := each(&it.Verdict); err != nil {
					s.abandon(c)
					return nil, err
				}
			case DoneItem:
				if it.Answer.Err != nil {
					return nil, it.Answer.Err
				}
				it.Answer.sort()
				return it.Answer, nil
			case RequestItem, CancelItem, EventItem:
				panic("rpc: a call's inbox holds something else")
			}
		}
	}
}

// abandon cancels a call nobody listens to any more.
func (s *Service) abandon(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.box, c.app = nil, nil
	if s.calls[c.ref] == c {
		s.mesh.Submit(proto.CancelCall{Ref: c.ref})
	}
}

// sort puts verdicts in the order of names, for people and tests.
func (a *Answer) sort() {
	by := func(x, y NodeVerdict) int {
		if x.Name != y.Name {
			return cmpString(x.Name, y.Name)
		}
		return x.Node.Compare(y.Node)
	}
	slices.SortFunc(a.Verdicts, by)
	slices.SortFunc(a.Extra, by)
}

// start admits a call and hands it to the overlay. An unconfirmed tell ends
// here, save a broadcast: the overlay says whether it takes it.
func (s *Service) start(ask *Ask, app *App, id uint64, box *inbox) (*call, *Error) {
	now := time.Now()
	if err := s.admit(ask); err != nil {
		return nil, err
	}
	oneWay := ask.Kind == Cast || ask.Kind == Abcast && ask.Confirm == ConfirmNone
	if oneWay && !s.casts.take(now) {
		return nil, s.refuse(CastsTooFast, "more than %d casts a second: slow down", s.cfg.CastsPerSecond)
	}
	roster := s.mesh.Roster()
	sel, err := s.resolve(&ask.Targets, roster, now)
	if err != nil {
		return nil, err
	}
	s.lastRef++
	c := &call{ref: s.lastRef, id: id, ask: ask, app: app, box: box, roster: roster, started: now}
	c.answer.Snapshot = s.snapshot(roster, now)
	if len(sel.IDs) == 1 {
		c.answer.Node = sel.IDs[0]
	}
	s.count("started", kindName(ask.Kind))
	s.calls[c.ref] = c
	if ask.Kind == Abcast && oneWay && sel.Everybody() && !sel.NotSelf {
		s.publish(c)
		return c, nil
	}
	if oneWay {
		defer s.accepted(c)
	}
	s.mesh.Submit(proto.StartCall{
		Ref: c.ref, Select: sel, Budget: ask.Timeout - margin(ask.Timeout), MinReplies: ask.MinReplies,
		Request: proto.Request{
			Mode: mode(ask), Method: ask.target(), ContentType: ask.Payload.ContentType, Payload: ask.Payload.Data, Meta: ask.Meta,
		},
	})
	return c, nil
}

// accepted ends a call for its caller while the overlay still works on it.
func (s *Service) accepted(c *call) {
	s.tell(c, DoneItem{Call: c.id, Kind: c.ask.Kind, Answer: &Answer{Snapshot: c.answer.Snapshot, Node: c.answer.Node}}, 0)
	s.release(c)
}

func (a *Ask) target() string {
	if a.Topic != "" {
		return a.Topic
	}
	return a.Method
}

func mode(ask *Ask) proto.Mode {
	switch {
	case ask.Kind == Cast, ask.Kind == Abcast && ask.Topic == "" && ask.Confirm != ConfirmHandler:
		return proto.ModeCast
	case ask.Kind == Abcast && ask.Topic != "" && ask.Confirm != ConfirmHandler:
		return proto.ModeDeliver
	case ask.Kind == Abcast && ask.Topic != "":
		return proto.ModeDeliverHandler
	default:
		return proto.ModeCall
	}
}

func kindName(k Kind) string {
	return [...]string{"", "multicall", "multicall_stream", "call", "cast", "abcast"}[k]
}

func (s *Service) callStarted(out proto.CallStarted) {
	c := s.calls[out.Ref]
	if c == nil {
		return
	}
	c.roster = out.Roster
	c.answer.Snapshot = s.snapshot(out.Roster, c.started)
	c.answer.Summary.Asked = len(out.Targets)
	if c.ask.Kind != Stream {
		c.answer.Verdicts = make([]NodeVerdict, 0, len(out.Targets))
	}
}

func (s *Service) callVerdict(v *proto.CallVerdict) {
	s.count("verdict", v.Verdict.String())
	c := s.calls[v.Ref]
	if c == nil {
		s.count("dropped", "verdict_of_ended_call")
		return
	}
	if c.box == nil {
		return
	}
	nv := NodeVerdict{
		Node: v.Node, Verdict: v.Verdict, Executed: v.Executed, Stage: v.Stage, Elapsed: v.Elapsed,
		Attempts: v.Attempts, Reason: v.Reason, Extra: v.Extra,
	}
	m := c.roster.Get(v.Node)
	if m == nil { // it joined after the call's start
		m = s.mesh.Roster().Get(v.Node)
	}
	if m != nil {
		nv.Name = m.Entry.Name
	}
	s.takeResult(c, v, &nv)
	c.tally(&nv)
	size := len(nv.Payload.Data)
	switch {
	case c.ask.Kind == Stream:
		s.tell(c, VerdictItem{Call: c.id, Verdict: nv}, size)
	case nv.Extra:
		c.answer.Extra = append(c.answer.Extra, nv)
	default:
		c.answer.Verdicts = append(c.answer.Verdicts, nv)
	}
}

// takeResult fills in what the target said, within the call's bound.
func (s *Service) takeResult(c *call, v *proto.CallVerdict, nv *NodeVerdict) {
	switch v.Verdict {
	case proto.Replied:
		nv.Reason = ""
		if c.ask.Kind == Abcast {
			nv.Verdict = Delivered
			if c.ask.Confirm != ConfirmHandler {
				nv.Executed = proto.ExecutedMaybe
			}
			return
		}
	case proto.AppError:
		nv.Code, nv.Message = v.Result.Code, v.Result.Reason
	default:
		return
	}
	if c.bytes+len(v.Result.Payload) > s.cfg.AnswerBytes {
		s.count("dropped", "reply_beyond_answer_bytes")
		nv.Verdict, nv.Executed = proto.ResultLost, proto.ExecutedYes
		nv.Code, nv.Message = "", ""
		nv.Reason = "it answered, but the replies to this call exceed " + bytesWords(s.cfg.AnswerBytes) + "; ask fewer nodes or for less"
		return
	}
	c.bytes += len(v.Result.Payload)
	nv.Payload = Payload{Data: v.Result.Payload, ContentType: v.Result.ContentType}
}

func (c *call) tally(v *NodeVerdict) {
	if v.Extra {
		return
	}
	t := &c.answer.Summary
	if v.Stage >= proto.StageReceived {
		c.heard++
	}
	if v.Verdict == proto.Replied || v.Verdict == Delivered {
		t.Replied++
	}
	switch v.Executed {
	case proto.ExecutedYes:
		t.Yes++
	case proto.ExecutedNo:
		t.No++
	case proto.ExecutedMaybe:
		t.Maybe++
	default:
		panic("rpc: a verdict without executed")
	}
}

func (s *Service) callDone(out proto.CallDone) {
	if out.Late > 0 {
		s.counts[Counter{"dropped", "late_answer"}] += uint64(out.Late)
	}
	if c := s.calls[out.Ref]; c != nil {
		s.finish(c, nil)
	}
}

func (s *Service) callRefused(out proto.CallRefused) {
	if c := s.calls[out.Ref]; c != nil {
		s.finish(c, s.refuse(CallRefused, "the call was not started: %s; nothing was sent", out.Why))
	}
}

// finish ends a call, once.
func (s *Service) finish(c *call, err *Error) {
	delete(s.calls, c.ref)
	if err == nil && c.ask.Kind == Call && len(c.answer.Verdicts) == 0 {
		err = s.refuse(NodeUnknown, "the node is no member any more; `starling members` lists them")
	}
	c.answer.Err = err
	c.answer.Summary.Elapsed = time.Since(c.started)
	c.answer.Snapshot.Coverage = 1
	if asked := c.answer.Summary.Asked; asked > 0 {
		c.answer.Snapshot.Coverage = float64(c.heard) / float64(asked)
	}
	size := c.bytes
	if c.ask.Kind == Stream { // its verdicts were told before
		size = 0
	}
	s.tell(c, DoneItem{Call: c.id, Kind: c.ask.Kind, Answer: &c.answer}, size)
	s.release(c)
}

// release forgets who listens to the call.
func (s *Service) release(c *call) {
	if c.app != nil {
		delete(c.app.calls, c.id)
	}
	c.app, c.box = nil, nil
}

// tell queues an item for whoever made the call. An application that does not
// read its answers is ended: they were asked for and must not be lost in silence.
func (s *Service) tell(c *call, it Item, size int) {
	if c.box == nil {
		return
	}
	if c.app != nil && c.box.bytes > 0 && c.box.bytes+size+itemBytes > s.cfg.AnswerBytes {
		s.detach(c.app, s.refuse(TooSlow, "%s of answers wait and are not read: the connection is closed", bytesWords(c.box.bytes)))
		return
	}
	c.box.put(it, size)
}
