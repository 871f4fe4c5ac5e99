package kubernetes

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/strategies/kubernetes/delegate"
)

// Relay is the way to the other nodes of the cluster that have this source.
type Relay interface {
	// Self is this node's ID.
	Self() string
	// Members are the IDs of the nodes that live, in any order.
	Members() []string
	// Join has hear called for what the others say in a channel, until leave is
	// called. hear does not block. say tells all others; it does not block, and
	// what it says may be lost.
	Join(channel string, hear func(from string, data []byte)) (say func(data []byte), leave func())
}

// inboxMax is how many messages wait for us; beyond it they are lost, which the
// digests of later ones show.
const inboxMax = 256

// among is this node's part among those that share the watching.
type among struct {
	inbox chan letter
	wake  chan struct{} // capacity 1

	mu   sync.Mutex // guards node
	node *delegate.Node
}

type letter struct {
	from string
	data []byte
}

// Nodes that would offer different candidates must not tell each other any.
func (k *Kubernetes) channel(namespaces []scope) string {
	h := fnv.New64a()
	c := k.cfg
	c.Kubeconfig, c.Context, c.ServiceAccount, c.QPS, c.Burst, c.Resync = "", "", "", 0, 0, 0
	_, _ = fmt.Fprintf(h, "%+v", c)
	for i := range namespaces {
		_, _ = fmt.Fprintf(h, "/%s", namespaces[i].namespace)
	}
	return fmt.Sprintf("kubernetes/%016x", h.Sum64())
}

// runAmong watches, listens to who watches, or lists now and then, as the number
// of nodes demands, until ctx ends.
func (k *Kubernetes) runAmong(ctx context.Context, look func() (*watcher, error), sink discovery.Sink) error {
	w, err := look()
	if err != nil {
		return err
	}
	watchers, err := k.cfg.watchers()
	if err != nil {
		return err
	}
	a := &among{
		inbox: make(chan letter, inboxMax), wake: make(chan struct{}, 1),
		node: delegate.New(k.relay.Self(), watchers, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))),
	}
	say, leave := k.relay.Join(k.channel(w.scopes), a.hear)
	defer leave()
	r := &rounds{k: k, a: a, look: look, sink: sink, say: say, mode: delegate.List, listed: make(chan listed, 1)}
	defer r.stop()
	return r.run(ctx)
}

func (a *among) hear(from string, data []byte) {
	select {
	case a.inbox <- letter{from, data}:
	default:
	}
}

// changed, saw and stale take what our own watch shows. A nil among is nobody.

func (a *among) changed(w *watcher, upserts []discovery.Candidate) {
	a.do(func(now time.Time) { a.node.Watched(now, w.reachedVersion(), clones(upserts), nil) })
}

func (a *among) saw(w *watcher, cands []discovery.Candidate) {
	a.do(func(now time.Time) { a.node.WatchedAll(now, w.reachedVersion(), clones(cands)) })
}

func (a *among) stale(err error) {
	a.do(func(time.Time) { a.node.Stale(err.Error()) })
}

func (a *among) do(f func(now time.Time)) {
	if a == nil {
		return
	}
	a.mu.Lock()
	f(time.Now())
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// clones: a sink owns what it is given.
func clones(cands []discovery.Candidate) []discovery.Candidate {
	own := make([]discovery.Candidate, len(cands))
	for i := range cands {
		own[i] = cands[i].Clone()
	}
	return own
}

// rounds is the loop around a delegate.Node.
type rounds struct {
	k    *Kubernetes
	a    *among
	look func() (*watcher, error)
	sink discovery.Sink
	say  func([]byte)

	mode     delegate.Mode
	watching sync.WaitGroup
	cancel   context.CancelFunc // of the watch or the list that runs; nil: none does
	listed   chan listed        // capacity 1
	failed   string             // the last failure of others that was told
}

// listed is the outcome of a list.
type listed struct {
	w       *watcher
	cands   []discovery.Candidate
	skipped []discovery.Skipped
	err     error
}

func (r *rounds) stop() {
	if r.cancel != nil {
		r.cancel()
		r.cancel = nil
	}
	r.watching.Wait()
	select {
	case <-r.listed: // nobody wants it any more
	default:
	}
}

func (r *rounds) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		ask := r.k.ask
		if r.mode == delegate.Watch {
			ask = nil // the teller's
		}
		select {
		case <-ctx.Done():
			return nil
		case l := <-r.a.inbox:
			r.receive(l)
		case l := <-r.listed:
			r.took(l)
		case <-ask:
			r.again()
		case <-r.a.wake:
		case <-timer.C:
		}
		next, err := r.turn(ctx)
		if err != nil {
			return err
		}
		timer.Reset(time.Until(next))
	}
}

// receive takes a letter and those behind it: a turn for all costs what one does.
func (r *rounds) receive(l letter) {
	for range inboxMax {
		if m, err := delegate.Decode(l.data); err == nil {
			r.a.mu.Lock()
			r.a.node.Receive(time.Now(), l.from, m)
			r.a.mu.Unlock()
		}
		select {
		case l = <-r.a.inbox:
		default:
			return
		}
	}
}

// again tells the whole picture once more, if somebody watches.
func (r *rounds) again() {
	if r.mode == delegate.Follow && r.failed == "" {
		r.a.mu.Lock()
		picture := r.a.node.Picture()
		r.a.mu.Unlock()
		r.sink.Observe(discovery.Complete{Candidates: clones(picture.Candidates)})
	}
}

// turn does what is due, and returns when it wants to be called again.
func (r *rounds) turn(ctx context.Context) (time.Time, error) {
	members := r.k.relay.Members()
	r.a.mu.Lock()
	now := time.Now()
	r.a.node.Members(now, members)
	mode, due := r.a.node.Mode(now), r.a.node.Due(now)
	out := r.a.node.Tick(now)
	next := r.a.node.Deadline(now)
	r.a.mu.Unlock()
	if mode != r.mode {
		r.k.log.Info("kubernetes: this node's part in watching changes", "part", mode.String(), "members", len(members))
		r.stop()
		r.mode = mode
		if mode == delegate.Watch {
			return next, r.start(ctx, func(ctx context.Context, w *watcher) { r.k.watch(ctx, w, r.a, r.sink) })
		}
	}
	for _, m := range out.Publish {
		if data, err := m.Encode(); err == nil { // it is ours, and can be encoded
			r.say(data)
		}
	}
	for _, o := range out.Observe {
		r.observe(o)
	}
	r.fail(out.Fail)
	if due && r.cancel == nil {
		return next, r.start(ctx, r.list)
	}
	return next, nil
}

// observe hands on what the watchers told; it stays theirs.
func (r *rounds) observe(o discovery.Observation) {
	switch o := o.(type) {
	case discovery.Complete:
		r.sink.Observe(discovery.Complete{Candidates: clones(o.Candidates)})
	case discovery.Delta:
		r.sink.Observe(discovery.Delta{Upserts: clones(o.Upserts), Withdrawn: o.Withdrawn})
	case discovery.Partial: // delegate speaks of wholes and changes only
		panic("kubernetes: the watchers told a part")
	default:
		panic(fmt.Sprintf("kubernetes: the watchers told a %T", o))
	}
}

// fail tells a failure of the watchers once, and its end.
func (r *rounds) fail(err error) {
	if r.mode != delegate.Follow {
		r.failed = ""
		return
	}
	why := ""
	if err != nil {
		why = err.Error()
	}
	if why == r.failed {
		return
	}
	r.failed = why
	if err != nil {
		r.sink.Fail(err)
	} else {
		r.again()
	}
}

func (r *rounds) start(ctx context.Context, do func(context.Context, *watcher)) error {
	w, err := r.look()
	if err != nil {
		return err
	}
	ctx, r.cancel = context.WithCancel(ctx)
	r.watching.Go(func() { do(ctx, w) })
	return nil
}

func (r *rounds) list(ctx context.Context, w *watcher) {
	l := listed{w: w, err: w.list(ctx)}
	if l.err == nil {
		l.cands, l.skipped, _ = w.all()
	}
	r.listed <- l // there is room: one list at a time
}

// took takes the outcome of a list of our own.
func (r *rounds) took(l listed) {
	if r.cancel != nil {
		r.cancel()
		r.cancel = nil
	}
	if l.err != nil {
		err := r.k.explained(l.err, l.w)
		r.a.do(func(time.Time) { r.a.node.Failed() })
		r.sink.Fail(err)
		return
	}
	r.a.do(func(time.Time) { r.a.node.Listed(l.w.reachedVersion(), clones(l.cands)) })
	r.sink.Observe(discovery.Complete{Candidates: l.cands, Skipped: l.skipped})
}
