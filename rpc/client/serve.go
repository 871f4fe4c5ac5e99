package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// Handler serves one method. ctx ends when the caller's time is over, when it
// cancels, and when the session ends. An *AppError arrives as it is, any other
// error with the code "error", a panic with the code "panic". Handlers run
// concurrently, at most Options.Handlers of them.
type Handler func(ctx context.Context, r *Request) (Payload, error)

// Handle serves the method from now on, and again after each reconnection. It
// returns when the sidecar knows. A second handler of the same method replaces
// the first. nil ends serving it: requests that the sidecar had sent before it
// knew are still handled, later ones are refused without having run.
func (c *Client) Handle(ctx context.Context, method string, h Handler) error {
	c.mu.Lock()
	before, had := c.handlers[method]
	if h == nil {
		c.ending[method] = true
	} else {
		c.handlers[method] = h
		delete(c.ending, method)
	}
	c.mu.Unlock()
	err := c.register(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil && h == nil:
		delete(c.ending, method)
	case err != nil:
		set(c.handlers, method, before, had)
	case h == nil && c.ending[method]: // and nobody has begun to serve it meanwhile
		delete(c.handlers, method)
		delete(c.ending, method)
	}
	if err != nil {
		return fmt.Errorf("handle %s: %w", method, err)
	}
	return nil
}

// JoinGroup makes this node a member of the group while the client lives.
func (c *Client) JoinGroup(ctx context.Context, group string) error {
	c.mu.Lock()
	c.groups[group] = true
	c.mu.Unlock()
	if err := c.register(ctx); err != nil {
		c.mu.Lock()
		delete(c.groups, group)
		c.mu.Unlock()
		return fmt.Errorf("join group %s: %w", group, err)
	}
	return nil
}

func set[V any](m map[string]V, key string, v V, keep bool) {
	if keep {
		m[key] = v
	} else {
		delete(m, key)
	}
}

// register tells the sidecar all that is served, and waits for its word.
func (c *Client) register(ctx context.Context) error {
	ctx, cancel, _ := bound(ctx, 0)
	defer cancel()
	s, id, err := c.standing(ctx)
	if err != nil {
		return err
	}
	ack := make(chan *starlingv1.Registered, 1)
	s.mu.Lock()
	s.acks[id] = ack
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.acks, id)
		s.mu.Unlock()
	}()
	s.send(c.registration(id))
	select {
	case r := <-ack:
		if f := r.GetFailure(); f != nil {
			return fromFailure(f)
		}
		return nil
	case <-s.broken:
		return nil // the next session registers all of it
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// serve runs the handler of a request in a goroutine of its own.
func (c *Client) serve(s *session, r *starlingv1.Request) {
	c.mu.Lock()
	h := c.handlers[r.GetMethod()]
	c.mu.Unlock()
	ctx, cancel := context.WithCancelCause(s.ctx)
	id := r.GetId()
	s.mu.Lock()
	s.running[id] = cancel
	s.mu.Unlock()
	c.workers.run(func() {
		defer cancel(context.Canceled)
		left := defaultTimeout
		if r.GetRemaining() != nil {
			left = r.GetRemaining().AsDuration()
		}
		hctx, stop := context.WithTimeout(ctx, left)
		defer stop()
		out, err := c.guard(hctx, h, r)
		if n, most := len(out.Data), c.Node().MessageMax; most > 0 && n > most {
			out, err = Payload{}, &AppError{Code: "reply_too_large", Message: tooLarge("the handler's reply", n, most).Message}
		}
		s.send(&starlingv1.ClientFrame{Frame: &starlingv1.ClientFrame_Reply{Reply: reply(id, out, err)}})
		s.mu.Lock()
		delete(s.running, id)
		s.quiet.Broadcast()
		s.mu.Unlock()
	})
}

// Finish waits until all that the sidecar has sent is handled, and the sidecar
// has the answers; for who stopped serving (Handle with nil) and is about to
// Close. It returns early, with nil, if the session ends: nobody waits for
// answers then. The error is ctx's.
func (c *Client) Finish(ctx context.Context) error {
	c.mu.Lock()
	s := c.session
	c.mu.Unlock()
	if s == nil {
		return nil
	}
	if err := s.finished(ctx); err != nil {
		return err
	}
	return c.register(ctx) // its acknowledgement comes after all that was sent before
}

// guard calls the handler and makes an error of its panic: one bad request
// must not end the application.
func (c *Client) guard(ctx context.Context, h Handler, r *starlingv1.Request) (p Payload, err error) {
	defer func() {
		if v := recover(); v != nil {
			c.log.Error("handler panicked", "method", r.GetMethod(), "why", v, "stack", string(debug.Stack()))
			err = &AppError{Code: "panic", Message: fmt.Sprintf("%v: %v", errPanicked, v)}
		}
	}()
	if h == nil {
		return Payload{}, &AppError{Code: "no_handler", Message: "the application has just stopped serving " + r.GetMethod()}
	}
	return h(ctx, &Request{
		Method: r.GetMethod(), Payload: fromPayload(r.GetPayload()), Caller: r.GetCaller(), CallerID: r.GetCallerId(),
		OneWay: r.GetOneWay(), Metadata: r.GetMetadata(),
	})
}

func reply(id uint64, p Payload, err error) *starlingv1.Reply {
	if err == nil {
		return &starlingv1.Reply{Id: id, Outcome: &starlingv1.Reply_Payload{Payload: toPayload(p)}}
	}
	app := &AppError{Code: "error", Message: err.Error()}
	_ = errors.As(err, &app)
	return &starlingv1.Reply{Id: id, Outcome: &starlingv1.Reply_Error{Error: &starlingv1.AppError{
		Code: app.Code, Message: app.Message, Details: toPayload(app.Details),
	}}}
}

// subscription is one loop over a topic.
type subscription struct {
	topic string
	wake  chan struct{} // capacity 1

	mu    sync.Mutex
	queue []*delivery // bounded by the credit that the sidecar has
}

// delivery is one event on its way to all subscriptions of its topic.
type delivery struct {
	event    Event
	size     uint32
	id       uint64 // to be confirmed, if not 0
	session  *session
	waitsFor atomic.Int32
}

func (d *delivery) consumed() {
	if d.session == nil || d.waitsFor.Add(-1) > 0 {
		return
	}
	if d.id != 0 {
		d.session.send(&starlingv1.ClientFrame{Frame: &starlingv1.ClientFrame_Reply{Reply: reply(d.id, Payload{}, nil)}})
	}
	if d.size > 0 {
		d.session.send(&starlingv1.ClientFrame{Frame: &starlingv1.ClientFrame_Credit{Credit: &starlingv1.Credit{EventBytes: d.size}}})
	}
}

func (s *subscription) push(d *delivery) {
	s.mu.Lock()
	s.queue = append(s.queue, d)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *subscription) pop() *delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil
	}
	d := s.queue[0]
	s.queue = s.queue[1:]
	return d
}

// event hands a topic's message to all loops over it.
func (c *Client) event(s *session, e *starlingv1.Event) {
	d := &delivery{
		event: Event{
			Topic: e.GetTopic(), Origin: e.GetOrigin(), OriginID: e.GetOriginId(), Payload: fromPayload(e.GetPayload()),
			Gap: e.GetGap(), Reason: e.GetReason(), Metadata: e.GetMetadata(),
		},
		size: uint32(len(e.GetPayload().GetData())), id: e.GetId(), session: s,
	}
	c.mu.Lock()
	subs := slices.Clone(c.subs[e.GetTopic()])
	c.mu.Unlock()
	d.waitsFor.Store(int32(max(len(subs), 1)))
	if len(subs) == 0 {
		d.consumed()
	}
	for _, sub := range subs {
		sub.push(d)
	}
}

// Subscribe yields the topic's messages, and gaps where some were missed, until
// ctx ends or the loop is left. A message counts as handled when the loop asks
// for the next one; a loop that is too slow gets a gap.
func (c *Client) Subscribe(ctx context.Context, topic string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		sub := &subscription{topic: topic, wake: make(chan struct{}, 1)}
		c.mu.Lock()
		c.subs[topic] = append(c.subs[topic], sub)
		c.mu.Unlock()
		defer c.unsubscribe(sub)
		if err := c.register(ctx); err != nil {
			yield(Event{}, fmt.Errorf("subscribe to %s: %w", topic, err))
			return
		}
		for {
			d := sub.pop()
			if d == nil {
				select {
				case <-sub.wake:
					continue
				case <-ctx.Done():
					return
				case <-c.done.Done():
					yield(Event{}, ErrClosed)
					return
				}
			}
			more := yield(d.event, nil)
			d.consumed()
			if !more {
				return
			}
		}
	}
}

func (c *Client) unsubscribe(sub *subscription) {
	c.mu.Lock()
	rest := slices.DeleteFunc(slices.Clone(c.subs[sub.topic]), func(s *subscription) bool { return s == sub })
	set(c.subs, sub.topic, rest, len(rest) > 0)
	s := c.session
	c.mu.Unlock()
	for d := sub.pop(); d != nil; d = sub.pop() {
		d.consumed()
	}
	if s != nil && len(rest) == 0 {
		s.send(c.registration(0))
	}
}
