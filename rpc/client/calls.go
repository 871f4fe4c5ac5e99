package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// Multicall asks the method of every member, or of those the options select,
// and returns one verdict for each as soon as all are accounted for. The
// context's deadline, else Timeout, else 5 s bounds it; the sidecar answers a
// little before, so that what is known is not lost.
func (c *Client) Multicall(ctx context.Context, method string, payload Payload, opts ...CallOption) (*Answer, error) {
	o := gather(opts)
	ctx, cancel, timeout := bound(ctx, o.timeout)
	defer cancel()
	done, err := c.call(ctx, &starlingv1.StartCall{What: &starlingv1.StartCall_Multicall{
		Multicall: multicallRequest(method, payload, &o, timeout),
	}})
	if err != nil {
		return nil, fmt.Errorf("multicall %s: %w", method, err)
	}
	r := done.GetMulticall()
	return &Answer{
		Verdicts: verdicts(r.GetVerdicts(), false), Extra: verdicts(r.GetExtra(), true),
		Snapshot: snapshot(r.GetSnapshot()), Summary: summary(r.GetSummary()),
	}, nil
}

// MulticallStream is Multicall that yields each verdict as it arrives. An error
// ends it. Breaking out of the loop cancels the call at the nodes that have not
// answered.
func (c *Client) MulticallStream(ctx context.Context, method string, payload Payload, opts ...CallOption) iter.Seq2[NodeVerdict, error] {
	return func(yield func(NodeVerdict, error) bool) {
		o := gather(opts)
		ctx, cancel, timeout := bound(ctx, o.timeout)
		defer cancel()
		s, id, p, err := c.start(ctx, &starlingv1.StartCall{What: &starlingv1.StartCall_MulticallStream{
			MulticallStream: multicallRequest(method, payload, &o, timeout),
		}})
		if err != nil {
			yield(NodeVerdict{}, fmt.Errorf("multicall %s: %w", method, err))
			return
		}
		for {
			list, done, err := s.next(ctx, id, p)
			for _, v := range list {
				if !yield(verdict(v.GetVerdict(), v.GetExtra()), nil) {
					s.forget(id, "the caller has seen enough")
					return
				}
			}
			if err == nil && done.GetFailure() != nil {
				err = fromFailure(done.GetFailure())
			}
			if err != nil {
				yield(NodeVerdict{}, fmt.Errorf("multicall %s: %w", method, err))
				return
			}
			if done != nil {
				return
			}
		}
	}
}

// Call asks one node, by name or ID, and returns its verdict. With OwnerOf the
// node may be empty.
func (c *Client) Call(ctx context.Context, node, method string, payload Payload, opts ...CallOption) (*NodeVerdict, error) {
	o := gather(opts)
	ctx, cancel, timeout := bound(ctx, o.timeout)
	defer cancel()
	r := &starlingv1.CallRequest{
		Target: &starlingv1.CallRequest_Node{Node: node}, Method: method, Payload: toPayload(payload),
		Timeout: seconds(timeout), Metadata: o.metadata,
	}
	if o.key != nil {
		r.Target = &starlingv1.CallRequest_Key{Key: o.key}
		node = "the owner of " + o.key.GetKey()
	}
	done, err := c.call(ctx, &starlingv1.StartCall{What: &starlingv1.StartCall_Call{Call: r}})
	if err != nil {
		return nil, fmt.Errorf("call %s at %s: %w", method, node, err)
	}
	v := verdict(done.GetCall().GetVerdict(), false)
	return &v, nil
}

// Cast tells one node and does not wait: accepted here is not delivered.
func (c *Client) Cast(ctx context.Context, node, method string, payload Payload, opts ...CallOption) error {
	o := gather(opts)
	ctx, cancel, _ := bound(ctx, o.timeout)
	defer cancel()
	r := &starlingv1.CastRequest{
		Target: &starlingv1.CastRequest_Node{Node: node}, Method: method, Payload: toPayload(payload), Metadata: o.metadata,
	}
	if o.key != nil {
		r.Target = &starlingv1.CastRequest_Key{Key: o.key}
	}
	if _, err := c.call(ctx, &starlingv1.StartCall{What: &starlingv1.StartCall_Cast{Cast: r}}); err != nil {
		return fmt.Errorf("cast %s to %s: %w", method, node, err)
	}
	return nil
}

// Abcast tells the method's handlers on all nodes, one application each. It
// returns when the message is accepted here, unless ConfirmNode or
// ConfirmHandler asks for a verdict per node.
func (c *Client) Abcast(ctx context.Context, method string, payload Payload, opts ...CallOption) (*Answer, error) {
	return c.abcast(ctx, &starlingv1.AbcastRequest{Method: method}, payload, opts)
}

// Publish is Abcast to all applications that subscribed to the topic.
func (c *Client) Publish(ctx context.Context, topic string, payload Payload, opts ...CallOption) (*Answer, error) {
	return c.abcast(ctx, &starlingv1.AbcastRequest{Topic: topic}, payload, opts)
}

func (c *Client) abcast(ctx context.Context, r *starlingv1.AbcastRequest, payload Payload, opts []CallOption) (*Answer, error) {
	o := gather(opts)
	ctx, cancel, timeout := bound(ctx, o.timeout)
	defer cancel()
	r.Payload, r.Targets, r.Confirm, r.Timeout, r.Metadata = toPayload(payload), o.selector, o.confirm, seconds(timeout), o.metadata
	done, err := c.call(ctx, &starlingv1.StartCall{What: &starlingv1.StartCall_Abcast{Abcast: r}})
	if err != nil {
		return nil, fmt.Errorf("abcast %s%s: %w", r.GetMethod(), r.GetTopic(), err)
	}
	a := done.GetAbcast()
	return &Answer{
		Verdicts: verdicts(a.GetVerdicts(), false), Snapshot: snapshot(a.GetSnapshot()), Summary: summary(a.GetSummary()),
	}, nil
}

func multicallRequest(method string, payload Payload, o *callOptions, timeout time.Duration) *starlingv1.MulticallRequest {
	return &starlingv1.MulticallRequest{
		Method: method, Payload: toPayload(payload), Targets: o.selector, Timeout: seconds(timeout),
		MinReplies: o.minReplies, Metadata: o.metadata,
	}
}

// grace is how much longer than the call's own time its answer may take, when
// the context sets no end: the sidecar answers before, or is not there.
const grace = 2 * time.Second

// bound returns the time the call has, and a context that ends with it.
func bound(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc, time.Duration) {
	if end, ok := ctx.Deadline(); ok {
		left := time.Until(end)
		if timeout <= 0 || left < timeout {
			timeout = left
		}
		return ctx, func() {}, max(timeout, 0)
	}
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout+grace)
	return ctx, cancel, timeout
}

// call starts a call and waits for its end.
func (c *Client) call(ctx context.Context, call *starlingv1.StartCall) (*starlingv1.CallDone, error) {
	s, id, p, err := c.start(ctx, call)
	if err != nil {
		return nil, err
	}
	_, done, err := s.next(ctx, id, p)
	if err != nil {
		return nil, err
	}
	if f := done.GetFailure(); f != nil {
		return nil, fromFailure(f)
	}
	return done, nil
}

// start sends a call over the session, waiting for one while there is none:
// nothing has been sent then.
func (c *Client) start(ctx context.Context, call *starlingv1.StartCall) (*session, uint64, *pendingCall, error) {
	s, id, err := c.standing(ctx)
	if err != nil {
		return nil, 0, nil, err
	}
	call.Id = id
	f := &starlingv1.ClientFrame{Frame: &starlingv1.ClientFrame_Start{Start: call}}
	if n, most := payloadSize(f), c.Node().MessageMax; most > 0 && n > most {
		return nil, 0, nil, tooLarge("the payload", n, most) // it would cost the whole session
	}
	p := &pendingCall{wake: make(chan struct{}, 1)}
	s.mu.Lock()
	s.pending[id] = p
	s.mu.Unlock()
	s.send(f)
	return s, id, p, nil
}

// standing waits for a session and gives a fresh ID with it.
func (c *Client) standing(ctx context.Context) (*session, uint64, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		if c.done.Err() != nil {
			return nil, 0, ErrClosed
		}
		c.mu.Lock()
		s, changed := c.session, c.changed
		c.lastID++
		id := c.lastID
		c.mu.Unlock()
		if s != nil {
			return s, id, nil
		}
		select {
		case <-changed:
		case <-c.done.Done():
		case <-ctx.Done():
			return nil, 0, fmt.Errorf("no sidecar at %s, nothing was sent: %w", c.socket, context.Cause(ctx))
		}
	}
}

// next waits for verdicts or the end of a call.
func (s *session) next(ctx context.Context, id uint64, p *pendingCall) ([]*starlingv1.CallVerdict, *starlingv1.CallDone, error) {
	for {
		select {
		case <-p.wake:
		case <-ctx.Done():
			s.forget(id, "the caller gave up")
			return nil, nil, context.Cause(ctx)
		case <-s.broken:
			s.mu.Lock()
			done := p.done
			s.mu.Unlock()
			if done == nil {
				return nil, nil, ErrConnectionLost
			}
		}
		s.mu.Lock()
		list, done := p.verdicts, p.done
		p.verdicts = nil
		if done != nil {
			delete(s.pending, id)
		}
		s.mu.Unlock()
		if done != nil || len(list) > 0 {
			return list, done, nil
		}
	}
}

// forget cancels a call whose end nobody waits for any more.
func (s *session) forget(id uint64, why string) {
	s.mu.Lock()
	p, open := s.pending[id]
	open = open && p.done == nil
	delete(s.pending, id)
	s.mu.Unlock()
	if open {
		s.send(&starlingv1.ClientFrame{Frame: &starlingv1.ClientFrame_Cancel{Cancel: &starlingv1.Cancel{Id: id, Reason: why}}})
	}
}

// errPanicked is what a handler's panic becomes.
var errPanicked = errors.New("the handler panicked")
