package rpc

import (
	"slices"
	"strings"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// builtInPrefix begins the methods that the sidecar itself answers.
const builtInPrefix = "starling."

// PingMethod is answered by every sidecar, with what was sent.
const PingMethod = builtInPrefix + "ping"

func builtIn(method string) bool { return strings.HasPrefix(method, builtInPrefix) }

// dispatch takes a call that is meant for the applications here. Each gets
// exactly one LocalResult.
func (s *Service) dispatch(d *proto.Dispatch) {
	r := &d.Request
	switch {
	case s.closed || s.draining:
		s.answer(d.ID, refusal(proto.Rejected, "draining: this node takes no more calls"))
		return
	case len(r.Payload) > s.cfg.MessageMax:
		s.answer(d.ID, refusal(proto.Rejected, "size: the payload is larger than this node's message_max of "+bytesWords(s.cfg.MessageMax)))
		return
	case d.Budget <= 0:
		s.answer(d.ID, refusal(proto.Rejected, "too late: the caller's time was over"))
		return
	}
	switch r.Mode {
	case proto.ModeDeliver, proto.ModeDeliverHandler:
		s.dispatchTopic(d)
	case proto.ModeCall, proto.ModeCast:
		if builtIn(r.Method) {
			s.answer(d.ID, s.serveBuiltIn(r))
			return
		}
		t := &task{
			call: d.ID, size: len(r.Payload) + itemBytes, deadline: time.Now().Add(d.Budget),
			item: RequestItem{Request: *r, Caller: d.From, OneWay: r.Mode == proto.ModeCast},
		}
		if s.place(t) && t.item.OneWay { // the receipt is all that returns
			s.answer(d.ID, proto.Result{Outcome: proto.Replied, Executed: proto.ExecutedMaybe, Stage: proto.StageReceived})
		}
	default:
		s.answer(d.ID, refusal(proto.Rejected, "version: this node does not know the mode of the call"))
	}
}

func refusal(v proto.Verdict, why string) proto.Result {
	return proto.Result{Outcome: v, Executed: proto.ExecutedNo, Stage: proto.StageReceived, Reason: why}
}

// answer gives the overlay this node's word on a call.
func (s *Service) answer(id proto.CallID, r proto.Result) {
	s.count("served", r.Outcome.String())
	r.Reason = cutTo(r.Reason, proto.MaxValue)
	r.Size = uint32(len(r.Payload))
	s.mesh.Submit(proto.LocalResult{ID: id, Result: r})
}

func cutTo(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n-3], "") + "…"
}

func (s *Service) serveBuiltIn(r *proto.Request) proto.Result {
	if r.Method != PingMethod {
		return refusal(proto.NoHandler, "there is no built-in method "+r.Method+"; there is "+PingMethod)
	}
	return proto.Result{
		Outcome: proto.Replied, Executed: proto.ExecutedYes, Stage: proto.StageFinished,
		ContentType: r.ContentType, Payload: r.Payload,
	}
}

// place queues a task at an application that serves it. If none can take it,
// the caller is told and the result is false.
func (s *Service) place(t *task) bool {
	method := t.item.Request.Method
	serving := s.methods[method]
	if len(serving) == 0 {
		s.unplaced(t, refusal(proto.NoHandler, s.servedInstead(method)))
		return false
	}
	// The one with the fewest requests; among equals each in its turn.
	s.turn++
	var best *App
	for i := range serving {
		a := serving[(s.turn+i)%len(serving)]
		if a.held+t.size > s.cfg.QueueBytes && a.held > 0 || len(a.tasks) >= tasksMax {
			continue
		}
		if best == nil || len(a.tasks) < len(best.tasks) {
			best = a
		}
	}
	if best == nil {
		s.unplaced(t, refusal(proto.Overloaded, "the queue of the application that serves "+method+" is full ("+bytesWords(s.cfg.QueueBytes)+")"))
		return false
	}
	best.lastID++
	t.app, t.item.ID = best, best.lastID
	best.tasks[t.item.ID] = t
	best.waiting = append(best.waiting, t)
	best.held += t.size
	if !t.item.OneWay {
		s.tasks[t.call] = t
	}
	if best.open < best.credit {
		best.box.wake()
	}
	s.expireAt(t.deadline)
	return true
}

func (s *Service) unplaced(t *task, r proto.Result) {
	broadcast := t.call == proto.CallID{}
	if broadcast || t.app != nil && t.item.OneWay { // nobody waits, or its receipt is given
		s.count("dropped", "cast_"+r.Outcome.String())
		return
	}
	s.answer(t.call, r)
}

// servedInstead names what is served here, for whoever misspelt the method.
func (s *Service) servedInstead(method string) string {
	if len(s.methods) == 0 {
		return "no application here serves " + method + ", or any other method"
	}
	return "no application here serves " + method + "; served are " + strings.Join(sortedKeys(s.methods), ", ")
}

// hand gives out the oldest waiting task; nil if its time was over.
func (a *App) hand() *task {
	t := a.waiting[0]
	a.waiting[0] = nil
	if a.waiting = a.waiting[1:]; len(a.waiting) == 0 {
		a.waiting = nil
	}
	left := time.Until(t.deadline)
	if left <= 0 {
		a.svc.expire(t)
		return nil
	}
	t.item.Remaining = left
	t.taken = true
	a.open++
	return t
}

// end forgets a task.
func (s *Service) end(t *task) {
	a := t.app
	delete(a.tasks, t.item.ID)
	if s.tasks[t.call] == t {
		delete(s.tasks, t.call)
	}
	a.held -= t.size
	if t.taken {
		a.open--
	} else {
		a.waiting = slices.DeleteFunc(a.waiting, func(w *task) bool { return w == t })
	}
	if len(a.waiting) > 0 {
		a.box.wake()
	}
}

// expire ends a task that waited until its time was over: it never ran.
func (s *Service) expire(t *task) {
	s.end(t)
	if t.item.OneWay {
		s.count("dropped", "cast_too_late")
		return
	}
	s.answer(t.call, proto.Result{
		Outcome: proto.TimedOut, Executed: proto.ExecutedNo, Stage: proto.StageReceived,
		Reason: "it waited for the application " + t.app.name + " until the time was over",
	})
}

// cancelDispatch: the caller no longer waits. What has not been handed out
// never runs; what has is told.
func (s *Service) cancelDispatch(out proto.CancelDispatch) {
	t := s.tasks[out.ID]
	if t == nil {
		return
	}
	if !t.taken {
		s.end(t)
		s.answer(out.ID, proto.Result{
			Outcome: proto.TimedOut, Executed: proto.ExecutedNo, Stage: proto.StageReceived,
			Reason: "it still waited for the application " + t.app.name + " when it was cancelled: " + out.Why,
		})
		return
	}
	if !t.silent {
		t.silent = true
		t.app.box.put(CancelItem{ID: t.item.ID, Why: out.Why}, 0)
	}
}

// expireAt makes sure that waiting tasks are looked at by then.
func (s *Service) expireAt(at time.Time) {
	if !s.expires.IsZero() && !at.Before(s.expires) {
		return
	}
	s.expires = at
	wait := time.Until(at)
	if s.expiry == nil {
		s.expiry = time.AfterFunc(wait, s.sweep)
		return
	}
	s.expiry.Reset(wait)
}

// sweep ends the waiting tasks whose time is over.
func (s *Service) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expires = time.Time{}
	if s.closed {
		return
	}
	now := time.Now()
	var next time.Time
	for _, a := range s.apps {
		for _, t := range slices.Clone(a.waiting) {
			if !t.deadline.After(now) {
				s.expire(t)
			} else if next.IsZero() || t.deadline.Before(next) {
				next = t.deadline
			}
		}
	}
	if !next.IsZero() {
		s.expireAt(next)
	}
}

// result makes the overlay's result of an application's reply.
func (s *Service) result(r Reply) proto.Result {
	out := proto.Result{
		Outcome: proto.Replied, Executed: proto.ExecutedYes, Stage: proto.StageFinished,
		ContentType: cutTo(r.Payload.ContentType, proto.MaxName), Payload: r.Payload.Data,
	}
	if r.Failed {
		out.Outcome, out.Code, out.Reason = proto.AppError, cutTo(r.Code, proto.MaxName), r.Message
		if out.Code == "" {
			out.Code = "error"
		}
	}
	if len(out.Payload) > s.cfg.MessageMax {
		return proto.Result{
			Outcome: proto.ResultLost, Executed: proto.ExecutedYes, Stage: proto.StageFinished,
			Reason: "its reply was larger than a message may be (" + bytesWords(s.cfg.MessageMax) + ")",
		}
	}
	return out
}
