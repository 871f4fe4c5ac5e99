package local

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/starlingmesh/starling/rpc"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

const (
	pollWait    = 30 * time.Second
	pollWaitMax = 5 * time.Minute
	leaseKeep   = time.Minute
	leaseMax    = 10 * time.Minute
	// pollRequests is how many requests pollers of one lease may work on at once.
	pollRequests = 64
)

// lease is an application that has no stream: it lives while it polls or
// answers now and then.
type lease struct {
	token string
	app   *rpc.App
	keep  time.Duration

	// guarded by leases.mu
	polls int         // that wait at this moment
	end   *time.Timer // runs while none does
}

// leases are all applications that poll.
type leases struct {
	svc *rpc.Service

	mu     sync.Mutex // guards the rest
	by     map[string]*lease
	closed bool
}

func newLeases(svc *rpc.Service) *leases { return &leases{svc: svc, by: map[string]*lease{}} }

// close ends all leases: their timers are all that runs.
func (l *leases) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, le := range l.by {
		l.drop(le, rpc.Errorf(rpc.ShuttingDown, "the sidecar is shutting down"))
	}
}

func (l *leases) drop(le *lease, why *rpc.Error) {
	delete(l.by, le.token)
	le.end.Stop()
	le.app.Detach(why)
}

// poll waits for one request or event.
func (l *leases) poll(ctx context.Context, r *starlingv1.PollRequest, people bool) (*starlingv1.PollResponse, error) {
	wait, err := orDefault("wait", r.GetWait(), pollWait, pollWaitMax)
	if err != nil {
		return nil, l.svc.Refuse(err.Reason, "%s", err.Text)
	}
	le, err := l.begin(ctx, r)
	if err != nil {
		return nil, err
	}
	defer l.rest(le)
	over := time.NewTimer(wait)
	defer over.Stop()
	out := &starlingv1.PollResponse{Lease: le.token}
	for {
		// What is taken for a poller that has gone would be lost.
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		items, gone := le.app.Take(nil, 1)
		if gone != nil {
			return nil, gone
		}
		if len(items) == 1 && take(le.app, items[0], out, people) {
			return out, nil
		}
		if len(items) == 1 {
			continue
		}
		select {
		case <-le.app.Ready():
		case <-over.C:
			return out, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// take fills in the answer; false if the item is none for a poller.
func take(app *rpc.App, it rpc.Item, out *starlingv1.PollResponse, people bool) bool {
	switch it := it.(type) {
	case rpc.RequestItem:
		if it.OneWay {
			app.Reply(it.ID, rpc.Reply{})
		}
		out.Work = &starlingv1.PollResponse_Request{Request: request(&it, people)}
		return true
	case rpc.EventItem:
		app.Consumed(len(it.Payload.Data))
		out.Work = &starlingv1.PollResponse_Event{Event: event(&it, people)}
		return true
	default: // a cancel: its request is out already, the answer will be told late
		return false
	}
}

// begin finds the lease or makes one, and keeps it from ending.
func (l *leases) begin(ctx context.Context, r *starlingv1.PollRequest) (*lease, *rpc.Error) {
	if r.GetLease() != "" {
		le, err := l.hold(r.GetLease())
		if err == nil && len(r.GetMethods())+len(r.GetTopics())+len(r.GetGroups()) > 0 {
			// Repeating the first request with the lease added is natural in a loop.
			err = le.app.Register(r.GetMethods(), r.GetTopics(), r.GetGroups())
			if err != nil {
				l.rest(le)
			}
		}
		return le, err
	}
	if len(r.GetMethods())+len(r.GetTopics()) == 0 {
		return nil, l.svc.Refuse(rpc.BadRequest, "the first poll serves nothing: set methods or topics; later ones repeat the lease")
	}
	keep, err := orDefault("keep", r.GetKeep(), leaseKeep, leaseMax)
	if err != nil {
		return nil, l.svc.Refuse(err.Reason, "%s", err.Text)
	}
	app, err := l.svc.Attach("poll", credOf(ctx).UID, pollRequests, 0)
	if err != nil {
		return nil, err
	}
	if err := app.Register(r.GetMethods(), r.GetTopics(), r.GetGroups()); err != nil {
		app.Detach(err)
		return nil, err
	}
	le := &lease{token: rand.Text(), app: app, keep: keep, polls: 1}
	le.end = time.AfterFunc(keep, func() { l.expire(le) })
	le.end.Stop() // it polls
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		gone := rpc.Errorf(rpc.ShuttingDown, "the sidecar is shutting down")
		app.Detach(gone)
		return nil, gone
	}
	l.by[le.token] = le
	return le, nil
}

// hold finds a lease and keeps it from ending.
func (l *leases) hold(token string) (*lease, *rpc.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	le := l.by[token]
	if le == nil {
		return nil, l.svc.Refuse(rpc.LeaseUnknown, "the lease %.40q has expired or never was: poll without a lease to begin anew", token)
	}
	le.polls++
	le.end.Stop()
	return le, nil
}

// rest lets the lease end after its time.
func (l *leases) rest(le *lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if le.polls--; le.polls == 0 && l.by[le.token] == le {
		le.end.Reset(le.keep)
	}
}

func (l *leases) expire(le *lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if le.polls == 0 && l.by[le.token] == le {
		l.drop(le, l.svc.Refuse(rpc.LeaseUnknown, "nobody polled for %v", le.keep))
	}
}

// respond answers what a poll gave out.
func (l *leases) respond(r *starlingv1.RespondRequest) (*starlingv1.RespondResponse, error) {
	if r.GetReply().GetId() == 0 {
		return nil, l.svc.Refuse(rpc.BadRequest, "reply.id is missing: repeat the id of the request that Poll gave")
	}
	answer, err := reply(r.GetReply())
	if err != nil {
		return nil, l.svc.Refuse(err.Reason, "%s", err.Text)
	}
	le, err := l.hold(r.GetLease())
	if err != nil {
		return nil, err
	}
	defer l.rest(le)
	return &starlingv1.RespondResponse{Late: le.app.Reply(r.GetReply().GetId(), answer)}, nil
}

func orDefault(what string, d *durationpb.Duration, def, atMost time.Duration) (time.Duration, *rpc.Error) {
	v, err := span(what, d, atMost)
	if v == 0 {
		v = def
	}
	return v, err
}
