package core

import (
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// pool holds links to nodes that are no neighbours, for what goes to one node
// directly. They are opened on demand and closed when idle.
type pool struct {
	cfg     Config
	entries peer.Map[*pooled]
	spare   []spare // links that stand beside a pooled one: both sides dialled at once
	dials   uint64
	sweepAt time.Time
}

// spare is used by the other side only, if at all.
type spare struct {
	link proto.LinkID
	used time.Time
}

// pooled is one peer's pooled link, or the dial for it.
type pooled struct {
	link  proto.LinkID // 0: still dialling
	tag   uint64
	queue []proto.SendTo
	used  time.Time
}

func newPool(cfg Config) pool { return pool{cfg: cfg} }

// sendTo turns a directed message into a Send over the peer's own link, or
// over a pooled one that is dialled if there is none.
func (c *Core) sendTo(now time.Time, o proto.SendTo) {
	p := &c.pool
	if id, ok := c.views.Link(o.Peer.ID); ok && !o.Fresh {
		c.inner.Add(proto.Send{Link: id, Msg: o.Msg})
		return
	}
	e, ok := p.entries.Get(o.Peer.ID)
	switch {
	case ok && e.link != 0:
		e.used = now
		c.inner.Add(proto.Send{Link: e.link, Msg: o.Msg})
	case ok && len(e.queue) < p.cfg.PoolQueue:
		e.queue = append(e.queue, o)
	case ok:
		c.sendFailed(now, o, proto.DialLocal)
	default:
		c.dialPooled(now, o)
	}
}

// keepOpen dials pooled links that are missing, without a message to send.
func (c *Core) keepOpen(now time.Time, o proto.KeepOpen) {
	for _, who := range o.Peers {
		_, neighbour := c.views.Link(who.ID)
		if !neighbour && !c.pool.entries.Has(who.ID) && len(who.Addrs) > 0 && c.pool.entries.Len() < c.pool.cfg.PoolMax {
			c.toPool().dial(now, who.ID, who.Addrs, nil, &c.inner)
		}
	}
}

func (c *Core) dialPooled(now time.Time, o proto.SendTo) {
	p := c.toPool()
	addrs := o.Peer.Addrs
	if m := c.dir.Member(o.Peer.ID); m != nil {
		addrs = m.Entry.Addrs
	}
	if len(addrs) == 0 {
		c.sendFailed(now, o, proto.DialNoAddress)
		return
	}
	if p.entries.Len() >= p.cfg.PoolMax && !p.evict(&c.inner) {
		c.sendFailed(now, o, proto.DialLocal)
		return
	}
	p.dial(now, o.Peer.ID, addrs, []proto.SendTo{o}, &c.inner)
}

func (p *pool) dial(now time.Time, who peer.ID, addrs []string, queue []proto.SendTo, out *proto.Out) {
	p.dials++
	e := &pooled{tag: proto.DialTag(proto.OwnerWave, p.dials), queue: queue, used: now}
	p.entries.Put(who, e)
	out.Add(proto.Dial{
		Tag: e.tag, Owner: proto.OwnerWave, Kind: proto.LinkPool, Addrs: addrs, Expect: who, Timeout: p.cfg.DialTimeout,
	})
	p.arm(now)
}

// sendFailed tells the machine that nothing of its message left this node.
func (c *Core) sendFailed(now time.Time, o proto.SendTo, why proto.DialWhy) {
	switch o.Owner {
	case proto.OwnerViews:
		c.toViews().SendFailed(now, o.Peer.ID, o.Msg, &c.inner)
	case proto.OwnerWave:
		c.toWave().SendFailed(now, o.Peer.ID, o.Msg, why, false, &c.inner)
	case proto.OwnerDirectory, proto.OwnerHeal:
	}
}

// poolFailed: the dial for a pooled link came to nothing.
func (c *Core) poolFailed(now time.Time, in proto.DialFailed) {
	for id, e := range c.pool.entries.All() {
		if e.tag != in.Tag || e.link != 0 {
			continue
		}
		c.toPool().entries.Delete(id)
		for _, o := range e.queue {
			c.sendFailed(now, o, in.Why)
		}
		return
	}
}

// up: a pooled link stands, dialled by us or by the other side. It tells
// whether it is the one to send on.
// What waited for it goes out as of now: a call's budget has gone on meanwhile.
func (p *pool) up(now time.Time, in proto.LinkUp, restamp func(time.Time, proto.Message) proto.Message, out *proto.Out) bool {
	e, ok := p.entries.Get(in.Peer.ID)
	switch {
	case ok && e.link != 0, !ok && p.entries.Len() >= p.cfg.PoolMax:
		p.addSpare(now, in.Link, out)
		return false
	case !ok:
		e = &pooled{}
		p.entries.Put(in.Peer.ID, e)
	}
	e.link, e.used = in.Link, now
	for _, o := range e.queue {
		out.Add(proto.Send{Link: in.Link, Msg: restamp(now, o.Msg)})
	}
	e.queue = nil
	p.arm(now)
	return true
}

// addSpare keeps a link that we do not send on; the oldest goes when there
// are too many.
func (p *pool) addSpare(now time.Time, id proto.LinkID, out *proto.Out) {
	if len(p.spare) >= p.cfg.PoolMax {
		out.Add(proto.Hangup{Link: p.spare[0].link, Why: "pool full", Flush: true})
		p.spare = p.spare[1:]
	}
	p.spare = append(p.spare, spare{id, now})
	p.arm(now)
}

// down forgets a pooled link. A dial of ours that is still under way will
// bring another.
func (p *pool) down(id proto.LinkID, who peer.ID) {
	if e, ok := p.entries.Get(who); ok && e.link == id {
		p.entries.Delete(who)
	}
	p.spare = slices.DeleteFunc(p.spare, func(s spare) bool { return s.link == id })
}

// touch notes that something went over a pooled link.
func (p *pool) touch(now time.Time, who peer.ID, id proto.LinkID) {
	if e, ok := p.entries.Get(who); ok && e.link == id {
		e.used = now
	}
	for i := range p.spare {
		if p.spare[i].link == id {
			p.spare[i].used = now
		}
	}
}

func (p *pool) arm(now time.Time) {
	if p.sweepAt.IsZero() {
		p.sweepAt = now.Add(p.cfg.PoolIdle / 2)
	}
}

func (p *pool) deadline() time.Time { return p.sweepAt }

// wake closes what has been idle for too long, and has the rest measured again:
// nobody pings over these links, and clocks drift.
func (p *pool) wake(now time.Time, measure func(time.Time, proto.LinkID, *proto.Out), out *proto.Out) {
	if p.sweepAt.IsZero() || now.Before(p.sweepAt) {
		return
	}
	p.sweepAt = time.Time{}
	sweep := func(id proto.LinkID, used time.Time) {
		if now.Sub(used) >= p.cfg.PoolIdle {
			out.Add(proto.Hangup{Link: id, Why: "idle", Flush: true})
		} else {
			measure(now, id, out)
		}
	}
	for _, e := range p.entries.All() {
		if e.link != 0 {
			sweep(e.link, e.used)
		}
	}
	for _, s := range p.spare {
		sweep(s.link, s.used)
	}
	if p.entries.Len()+len(p.spare) > 0 {
		p.arm(now)
	}
}

// evict closes the pooled link that was idle longest and tells whether there
// was one.
func (p *pool) evict(out *proto.Out) bool {
	var oldest peer.ID
	var found *pooled
	for id, e := range p.entries.All() {
		if e.link != 0 && (found == nil || e.used.Before(found.used)) {
			oldest, found = id, e
		}
	}
	if found == nil {
		return false
	}
	p.entries.Delete(oldest)
	out.Add(proto.Hangup{Link: found.link, Why: "pool full", Flush: true})
	return true
}
