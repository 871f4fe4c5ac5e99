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
	// What nearly every step reads stands together, and first.
	links   links       // every open connection
	called  [parts]bool // by this step
	running int         // dispatches without a local result
	views   *hyparview.Views
	tree    *plumtree.Tree
	dir     Directory
	wave    *wave.Wave
	*Scratch
	held []held           // requests that wait for the directory's word on their name
	next time.Time        // the Deadline
	due  [parts]time.Time // the deadline of each part

	heal    *heal
	pool    pool
	learnAt time.Time // the views are told the living members then
	leave   leaving
	self    peer.ID
	twin    peer.ID // the last process of our own name that we refused
	cfg     Config
}

// Scratch is what a step writes into.
type Scratch struct {
	inner proto.Out      // what the machines want, not yet routed
	outer []proto.Output // what the caller must do
}

// New makes a node that is alone. self is its first entry: ID, name, birth,
// addresses and tags. Chance comes from rng alone.
func New(cfg Config, self proto.Entry, rng *rand.Rand, now time.Time) *Core {
	return NewWith(cfg, directory.New(cfg.Directory, self, rng, now), rng, now)
}

// NewWith makes a node with another directory than the one that New makes.
func NewWith(cfg Config, dir Directory, rng *rand.Rand, now time.Time) *Core {
	self := dir.Self().ID
	c := &Core{cfg: cfg, self: self, dir: dir, Scratch: new(Scratch)}
	c.views = hyparview.New(cfg.Views, c.dir.Self().Info(), now, rng)
	c.tree = plumtree.New(self, cfg.Broadcast)
	c.wave = wave.New(cfg.Wave, self, c.dir, rng, now)
	c.heal = newHeal(self, rng, now)
	c.dir.SetComponent(c.heal.Component())
	c.pool = newPool(cfg)
	c.called = [parts]bool{true, true, true, true, true}
	c.ask()
	return c
}

// Step advances the node by one input at the given time and returns what the
// caller must now do, in order. The slice is valid until the next Step.
func (c *Core) Step(now time.Time, in proto.Input) []proto.Output {
	clear(c.outer)
	c.outer, c.called = c.outer[:0], [parts]bool{}
	c.take(now, in)
	c.route(now)
	if len(c.held) > 0 {
		c.retryHeld(now)
		c.route(now)
	}
	c.wake(now)
	c.check()
	return c.outer
}

// Share makes the core write into the same memory as others whose steps do not
// overlap with its own. What Step returns is then valid until any of them steps.
func (c *Core) Share(s *Scratch) { c.Scratch = s }

// Deadline is the next time the core wants a Wake; zero means never.
func (c *Core) Deadline() time.Time { return c.next }

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
		c.toViews().Contacts(now, in.Contacts, out)
		c.toHeal().Contacts(in.Contacts)
	case proto.Publish:
		c.publish(now, in)
	case proto.StartCall:
		c.toWave().Start(now, in, out)
	case proto.CancelCall:
		c.toWave().Cancel(now, in.Ref, out)
	case proto.LocalResult:
		c.running--
		c.toWave().Result(now, in.ID, in.Result, out)
	case proto.UpdateSelf:
		c.toDir().UpdateSelf(now, in, out)
		c.toViews().SetSelf(c.dir.Self().Info())
	case proto.Leave:
		c.startLeaving(now)
	case proto.Wake:
	default:
		panic("core: an input that nobody takes")
	}
}

func (c *Core) linkUp(now time.Time, in proto.LinkUp) {
	l := &link{id: in.Link, peer: in.Peer, kind: in.Kind, owner: proto.DialOwner(in.Tag)}
	c.links.add(l)
	if in.At.IsZero() {
		in.At = now
	}
	c.toWave().LinkUp(in.At, in.Link)
	out := &c.inner
	switch {
	case in.Kind == proto.LinkOverlay || l.owner == proto.OwnerViews: // the views probe too
		c.toViews().LinkUp(now, in, out)
	case in.Kind == proto.LinkPool:
		if c.toPool().up(now, in, c.toWave().Restamp, out) {
			c.toWave().PoolUp(in.Link, in.Peer)
		}
		c.toDir().Measure(now, in.Link, out)
	case in.Kind == proto.LinkProbe && l.owner == proto.OwnerDirectory:
		c.toDir().LinkUp(now, in, out)
	case in.Kind == proto.LinkProbe && l.owner == proto.OwnerHeal:
		c.toHeal().LinkUp(now, in, out)
	case in.Kind == proto.LinkProbe: // accepted: its ping will come
	default:
		panic("core: a link of a kind that the core never sees")
	}
}

func (c *Core) linkDown(now time.Time, in proto.LinkDown) {
	l := c.links.get(in.Link)
	if l == nil {
		panic("core: the end of a link that never was")
	}
	c.links.remove(in.Link)
	out := &c.inner
	switch {
	case l.kind == proto.LinkOverlay || l.owner == proto.OwnerViews:
		c.toViews().LinkDown(now, in, out)
	case l.kind == proto.LinkPool:
		c.toPool().down(in.Link, l.peer.ID)
	case l.owner == proto.OwnerDirectory:
		c.toDir().LinkDown(now, in, out)
	case l.owner == proto.OwnerHeal:
		c.toHeal().LinkDown(in.Link)
	}
	c.route(now) // NeighborDown first: nothing new goes over it
	c.toWave().LinkDown(now, in.Link, l.peer.ID, out)
}

func (c *Core) dialFailed(now time.Time, in proto.DialFailed) {
	out := &c.inner
	switch proto.DialOwner(in.Tag) {
	case proto.OwnerViews:
		c.toViews().DialFailed(now, in, out)
	case proto.OwnerDirectory:
		c.toDir().DialFailed(now, in, out)
	case proto.OwnerHeal:
		c.toHeal().DialFailed(in)
	case proto.OwnerWave:
		c.poolFailed(now, in)
	default:
		panic("core: the end of a dial that nobody owns")
	}
}

// publish hands an application's broadcast to the tree.
func (c *Core) publish(now time.Time, in proto.Publish) {
	id, refused := c.toTree().Publish(now, proto.TopicStream(in.Body.Topic), in.Body, &c.inner)
	c.inner.Add(proto.Published{Ref: in.Ref, ID: id, Err: refused})
}

// wants does what healing can not do by itself.
func (c *Core) wants(now time.Time, w healWants) {
	if w.Beacon && len(c.views.Active()) > 0 {
		if _, refused := c.toTree().Publish(now, proto.DirStream, proto.BeaconBody{}, &c.inner); refused != "" {
			c.inner.Add(proto.Ignored{Why: "own_beacon_refused"})
		}
	}
	if !w.Bridge.ID.IsZero() {
		c.toViews().Bridge(now, w.Bridge, &c.inner)
	}
	if !w.Swap.ID.IsZero() {
		c.toViews().Swap(now, w.Swap, &c.inner)
	}
	c.toDir().SetComponent(c.heal.Component())
}

// learn tells the views whom the directory knows alive.
func (c *Core) learn(now time.Time) {
	c.stirRest()
	c.learnAt = time.Time{}
	living := make([]*proto.Entry, 0, c.dir.Len())
	for m := range c.dir.Members() {
		if (m.Status == proto.StatusAlive || m.Status == proto.StatusSuspect) && m.Entry.ID != c.self {
			living = append(living, m.Entry)
		}
	}
	c.toTree().SetSize(len(living) + 1)
	c.toViews().Learn(now, living, &c.inner)
	c.forgetDead(now)
}
