package rpc

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// methodTopic is the topic that carries unconfirmed abcasts to a method.
// Applications' own names never begin with a slash.
func methodTopic(method string) string { return "/" + method }

// publish sends an unconfirmed abcast to everybody.
func (s *Service) publish(c *call) {
	topic := c.ask.Topic
	if topic == "" {
		topic = methodTopic(c.ask.Method)
	}
	s.mesh.Submit(proto.Publish{Ref: c.ref, Body: proto.CastBody{
		Topic: topic, ContentType: c.ask.Payload.ContentType, Payload: c.ask.Payload.Data, Meta: c.ask.Meta,
	}})
}

// published ends an unconfirmed abcast: the overlay took it, or said why not.
func (s *Service) published(out proto.Published) {
	c := s.calls[out.Ref]
	switch {
	case c == nil: // the service was closed
	case out.Err != "":
		s.finish(c, s.refuse(CastsTooFast, "the abcast was not sent: %s", out.Err))
	default:
		delete(s.calls, c.ref)
		s.accepted(c)
	}
}

// deliver takes a broadcast.
func (s *Service) deliver(d *proto.Deliver) {
	b := &d.Body
	if b.Topic != "" && b.Topic[0] == '/' {
		if s.draining {
			s.count("dropped", "abcast_draining")
			return
		}
		s.place(&task{
			size: len(b.Payload) + itemBytes, deadline: time.Now().Add(DefaultTimeout),
			item: RequestItem{
				OneWay: true, Caller: proto.PeerInfo{ID: d.ID.Origin, Name: s.nodeName(d.ID.Origin)},
				Request: proto.Request{Mode: proto.ModeCast, Method: b.Topic[1:], ContentType: b.ContentType, Payload: b.Payload, Meta: b.Meta},
			},
		})
		return
	}
	subscribers := s.topics[b.Topic]
	if len(subscribers) == 0 {
		return
	}
	e := EventItem{
		Topic: b.Topic, Origin: d.ID.Origin, OriginName: s.nodeName(d.ID.Origin),
		Payload: Payload{Data: b.Payload, ContentType: b.ContentType}, Meta: b.Meta,
	}
	for _, a := range subscribers {
		a.pushEvent(e)
	}
}

// dispatchTopic takes a confirmed abcast to a topic.
func (s *Service) dispatchTopic(d *proto.Dispatch) {
	r := &d.Request
	subscribers := s.topics[r.Method]
	if len(subscribers) == 0 {
		s.answer(d.ID, refusal(proto.NoHandler, "no application here subscribes to "+r.Method))
		return
	}
	e := EventItem{
		Topic: r.Method, Origin: d.From.ID, OriginName: d.From.Name,
		Payload: Payload{Data: r.Payload, ContentType: r.ContentType}, Meta: r.Meta,
	}
	if r.Mode == proto.ModeDeliverHandler {
		c := &confirm{call: d.ID, open: len(subscribers)}
		for _, a := range subscribers {
			a.pushConfirmed(e, c)
		}
		return
	}
	queued := false
	for _, a := range subscribers {
		queued = a.pushEvent(e) || queued
	}
	if !queued {
		s.answer(d.ID, refusal(proto.Overloaded, "the queues of all applications that subscribe to "+r.Method+" are full"))
		return
	}
	s.answer(d.ID, proto.Result{Outcome: proto.Replied, Executed: proto.ExecutedMaybe, Stage: proto.StageReceived})
}

// confirm waits for the word of all of a node's subscribers.
type confirm struct {
	call proto.CallID
	open int
	bad  *proto.Result // the first that was not a reply
	ran  bool          // at least one did
}

// pushConfirmed queues an event that is to be confirmed.
func (a *App) pushConfirmed(e EventItem, c *confirm) {
	a.lastID++
	e.ID = a.lastID
	if len(a.confirms) >= tasksMax || !a.pushEvent(e) {
		a.svc.confirmed(c, refusal(proto.Overloaded, "the queue of the application "+a.name+" is full"))
		return
	}
	a.confirms[e.ID] = c
}

// confirmed takes one subscriber's word; the last one's ends it. The node has
// delivered when all have; one that fails is told, and nothing is "not
// executed" once another has run.
func (s *Service) confirmed(c *confirm, r proto.Result) {
	c.open--
	if r.Executed != proto.ExecutedNo {
		c.ran = true
	}
	if r.Outcome != proto.Replied && c.bad == nil {
		c.bad = &r
	}
	if c.open > 0 {
		return
	}
	out := proto.Result{Outcome: proto.Replied, Executed: proto.ExecutedYes, Stage: proto.StageFinished}
	if c.bad != nil {
		out = *c.bad
		if c.ran && out.Executed == proto.ExecutedNo {
			// A refusal may not stand for those that took it.
			out = proto.Result{
				Outcome: proto.HandlerGone, Executed: proto.ExecutedMaybe, Stage: proto.StageStarted,
				Reason: "one of several subscribers did not take it: " + c.bad.Reason,
			}
		}
	}
	s.answer(c.call, out)
}

// pushEvent queues an event; false if it was dropped and will be told as a gap.
func (a *App) pushEvent(e EventItem) bool {
	size := len(e.Payload.Data) + itemBytes
	full := a.eventsBytes > 0 && a.eventsBytes+size > a.svc.cfg.EventBytes
	if _, behind := a.missed[e.Topic]; behind || full {
		a.svc.count("dropped", "event_queue_full")
		a.missed[e.Topic] += max(e.Gap, 1)
		return false
	}
	a.events = append(a.events, e)
	a.eventsBytes += size
	a.box.wake()
	return true
}

// nextEvent gives out the oldest event within the window. Once the queue is
// empty, the gaps of what was dropped behind it follow.
func (a *App) nextEvent() (EventItem, bool) {
	if len(a.events) == 0 {
		topics := sortedKeys(a.missed)
		if len(topics) == 0 {
			return EventItem{}, false
		}
		gap := EventItem{Topic: topics[0], Gap: a.missed[topics[0]], Why: "this application was too slow: its queue was full"}
		delete(a.missed, topics[0])
		return gap, true
	}
	e := a.events[0]
	size := len(e.Payload.Data)
	if a.unacked > 0 && a.unacked+size > a.window {
		return EventItem{}, false
	}
	a.events[0] = EventItem{}
	if a.events = a.events[1:]; len(a.events) == 0 {
		a.events = nil
	}
	a.eventsBytes -= size + itemBytes
	a.unacked += size
	return e, true
}

// gap: messages of an origin are lost for good. Which topics they had nobody
// knows, so all of the stream are told.
func (s *Service) gap(g proto.Gap) {
	s.counts[Counter{"dropped", "broadcast_gap"}] += g.Count
	for _, topic := range sortedKeys(s.topics) {
		if proto.TopicStream(topic) != g.Stream {
			continue
		}
		for _, a := range slices.Clone(s.topics[topic]) {
			a.pushEvent(EventItem{
				Topic: topic, Origin: g.Origin, OriginName: s.nodeName(g.Origin), Gap: g.Count,
				Why: "messages from this node were lost; some may have been of this topic",
			})
		}
	}
}

func (s *Service) nodeName(id peer.ID) string {
	if m := s.mesh.Roster().Get(id); m != nil {
		return m.Entry.Name
	}
	return ""
}
