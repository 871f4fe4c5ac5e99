package core

import (
	"iter"
	"math/rand/v2"
	"time"

	"github.com/starlingmesh/starling/overlay/directory"
	"github.com/starlingmesh/starling/overlay/hyparview"
	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/plumtree"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/wave"
)

// Core is one node. Its methods belong to one goroutine.
type Core struct {
	cfg  Config
	self peer.ID

	views *hyparview.Views
	tree  *plumtree.Tree
	dir   Directory
	wave  *wave.Wave
	heal  *heal
	pool  pool

	links   map[proto.LinkID]*link // every open connection; looked up only
	learnAt time.Time              // the views are told the living members then
	leave   leaving
	running int     // dispatches without a local result
	held    []held  // requests that wait for the directory's word on their name
	twin    peer.ID // the last process of our own name that we refused

	next   time.Time // the Deadline
	others time.Time // the deadline of all but the wave
	same   bool      // this step has touched none of them, and so not that

	inner proto.Out      // what the machines want, not yet routed
	outer []proto.Output // what the caller must do
}

// link is what the core knows of a connection.
type link struct {
	id     proto.LinkID
	peer   proto.PeerInfo
	kind   proto.LinkKind
	owner  proto.Owner // of the dial; 0: accepted
	active bool        // in the active view
}

// New makes a node that is alone. self is its first entry: ID, name, birth,
// addresses and tags. Chance comes from rng alone.
func New(cfg Config, self proto.Entry, rng *rand.Rand, now time.Time) *Core {
	return NewWith(cfg, directory.New(cfg.Directory, self, rng, now), rng, now)
}

// NewWith makes a node with another directory than the one that New makes.
func NewWith(cfg Config, dir Directory, rng *rand.Rand, now time.Time) *Core {
	self := dir.Self().ID
	c := &Core{cfg: cfg, self: self, links: map[proto.LinkID]*link{}, dir: dir}
	c.views = hyparview.New(cfg.Views, c.dir.Self().Info(), now, rng)
	c.tree = plumtree.New(self, cfg.Broadcast)
	c.wave = wave.New(cfg.Wave, self, c.dir, rng, now)
	c.heal = newHeal(self, rng, now)
	c.pool = newPool(cfg)
	c.others = c.othersDeadline()
	c.next = c.others
	return c
}

// Step advances the node by one input at the given time and returns what the
// caller must now do, in order. The slice is valid until the next Step.
func (c *Core) Step(now time.Time, in proto.Input) []proto.Output {
	clear(c.outer)
	c.outer, c.same = c.outer[:0], false
	c.take(now, in)
	c.route(now)
	if len(c.held) > 0 {
		c.same = false
		c.retryHeld(now)
		c.route(now)
	}
	c.wake(now)
	c.check()
	return c.outer
}

// Deadline is the next time the core wants a Wake; zero means never.
func (c *Core) Deadline() time.Time { return c.next }

func (c *Core) othersDeadline() time.Time {
	return proto.Sooner(c.views.Deadline(), c.tree.Deadline(), c.dir.Deadline(),
		c.heal.Deadline(), c.pool.deadline(), c.learnAt, c.leave.at, c.holdDeadline())
}

// CheckAll panics if a machine wants to be woken before Deadline, or waits for
// nothing: for tests, because it asks all of them.
func (c *Core) CheckAll() {
	if first := proto.Sooner(c.othersDeadline(), c.wave.Deadline()); !first.Equal(c.next) {
		panic("core: the deadline is " + c.next.String() + ", and a machine wants " + first.String())
	}
	c.dir.CheckInquiries()
}

// Roster is everybody known, immutable, the same until something changes.
func (c *Core) Roster() *proto.Roster { return c.dir.Roster() }

// Members are everybody known, in the order of the IDs, kept nowhere.
func (c *Core) Members() iter.Seq[proto.Member] { return c.dir.Members() }

// Member is what is known of one node, or nil.
func (c *Core) Member(id peer.ID) *proto.Member { return c.dir.Member(id) }

// Revision is that of the roster, without making one.
func (c *Core) Revision() uint64 { return c.dir.Revision() }

// Self is what this node says of itself now. It must not be changed.
func (c *Core) Self() *proto.Entry { return c.dir.Self() }

// Active is the active view in the order of the IDs.
func (c *Core) Active() []peer.ID { return c.views.Active() }

// Passive is the passive view in the order of the IDs.
func (c *Core) Passive() []peer.ID { return c.views.Passive() }

// take hands an input to the machine it is for.
func (c *Core) take(now time.Time, in proto.Input) {
	out := &c.inner
	switch in := in.(type) {
	case proto.Received:
		c.receive(now, in)
	case proto.LinkUp:
		c.linkUp(now, in)
	case proto.LinkDown:
		c.linkDown(now, in)
	case proto.DialFailed:
		c.dialFailed(now, in)
	case proto.Contacts:
		c.views.Contacts(now, in.Contacts, out)
		c.heal.Contacts(in.Contacts)
	case proto.Publish:
		c.publish(now, in)
	case proto.StartCall:
		c.same = true
		c.wave.Start(now, in, out)
	case proto.CancelCall:
		c.same = true
		c.wave.Cancel(now, in.Ref, out)
	case proto.LocalResult:
		c.running--
		c.same = true
		c.wave.Result(now, in.ID, in.Result, out)
	case proto.UpdateSelf:
		c.dir.UpdateSelf(now, in, out)
		c.views.SetSelf(c.dir.Self().Info())
	case proto.Leave:
		c.startLeaving(now)
	case proto.Wake:
	default:
		panic("core: an input that nobody takes")
	}
}

// wake runs whatever has come due, until nothing is.
func (c *Core) wake(now time.Time) {
	for range 64 {
		if !c.same { // most steps are messages of calls, and asking everybody takes as long as they do
			c.others = c.othersDeadline()
		}
		c.next = proto.Sooner(c.others, c.wave.Deadline())
		if !proto.Due(now, c.next) {
			return
		}
		c.same = false
		out := &c.inner
		c.views.Wake(now, out)
		c.tree.Wake(now, out)
		c.dir.Wake(now, out)
		c.wave.Wake(now, out)
		c.wants(now, c.heal.Wake(now, c.dir, out))
		c.pool.wake(now, c.dir.Measure, out)
		if proto.Due(now, c.learnAt) {
			c.learn(now)
		}
		c.route(now)
		c.retryHeld(now)
		c.progressLeave(now)
		c.route(now)
	}
	panic("core: a deadline that its machine does not act on")
}

func (c *Core) linkUp(now time.Time, in proto.LinkUp) {
	l := &link{id: in.Link, peer: in.Peer, kind: in.Kind, owner: proto.DialOwner(in.Tag)}
	c.links[in.Link] = l
	if in.At.IsZero() {
		in.At = now
	}
	c.wave.LinkUp(in.At, in.Link)
	out := &c.inner
	switch {
	case in.Kind == proto.LinkOverlay || l.owner == proto.OwnerViews: // the views probe too
		c.views.LinkUp(now, in, out)
	case in.Kind == proto.LinkPool:
		if c.pool.up(now, in, c.wave.Restamp, out) {
			c.wave.PoolUp(in.Link, in.Peer)
		}
		c.dir.Measure(now, in.Link, out)
	case in.Kind == proto.LinkProbe && l.owner == proto.OwnerDirectory:
		c.dir.LinkUp(now, in, out)
	case in.Kind == proto.LinkProbe && l.owner == proto.OwnerHeal:
		c.heal.LinkUp(now, in, out)
	case in.Kind == proto.LinkProbe: // accepted: its ping will come
	default:
		panic("core: a link of a kind that the core never sees")
	}
}

func (c *Core) linkDown(now time.Time, in proto.LinkDown) {
	l := c.links[in.Link]
	if l == nil {
		panic("core: the end of a link that never was")
	}
	delete(c.links, in.Link)
	out := &c.inner
	switch {
	case l.kind == proto.LinkOverlay || l.owner == proto.OwnerViews:
		c.views.LinkDown(now, in, out)
	case l.kind == proto.LinkPool:
		c.pool.down(in.Link, l.peer.ID)
	case l.owner == proto.OwnerDirectory:
		c.dir.LinkDown(now, in, out)
	case l.owner == proto.OwnerHeal:
		c.heal.LinkDown(in.Link)
	}
	c.route(now) // NeighborDown first: nothing new goes over it
	c.wave.LinkDown(now, in.Link, l.peer.ID, out)
}

func (c *Core) dialFailed(now time.Time, in proto.DialFailed) {
	out := &c.inner
	switch proto.DialOwner(in.Tag) {
	case proto.OwnerViews:
		c.views.DialFailed(now, in, out)
	case proto.OwnerDirectory:
		c.dir.DialFailed(now, in, out)
	case proto.OwnerHeal:
		c.heal.DialFailed(in)
	case proto.OwnerWave:
		c.poolFailed(now, in)
	default:
		panic("core: the end of a dial that nobody owns")
	}
}

// publish hands an application's broadcast to the tree.
func (c *Core) publish(now time.Time, in proto.Publish) {
	id, refused := c.tree.Publish(now, proto.TopicStream(in.Body.Topic), in.Body, &c.inner)
	c.inner.Add(proto.Published{Ref: in.Ref, ID: id, Err: refused})
}

// wants does what healing can not do by itself.
func (c *Core) wants(now time.Time, w healWants) {
	if w.Beacon && len(c.views.Active()) > 0 {
		if _, refused := c.tree.Publish(now, proto.DirStream, proto.BeaconBody{}, &c.inner); refused != "" {
			c.inner.Add(proto.Ignored{Why: "own_beacon_refused"})
		}
	}
	if !w.Bridge.ID.IsZero() {
		c.views.Bridge(now, w.Bridge, &c.inner)
	}
	if !w.Swap.ID.IsZero() {
		c.views.Swap(now, w.Swap, &c.inner)
	}
	c.dir.SetComponent(c.heal.Component())
}

// learn tells the views whom the directory knows alive.
func (c *Core) learn(now time.Time) {
	c.learnAt = time.Time{}
	living := make([]*proto.Entry, 0, c.dir.Len())
	for m := range c.dir.Members() {
		if (m.Status == proto.StatusAlive || m.Status == proto.StatusSuspect) && m.Entry.ID != c.self {
			living = append(living, m.Entry)
		}
	}
	c.tree.SetSize(len(living) + 1)
	c.views.Learn(now, living, &c.inner)
	c.forgetDead(now)
}
