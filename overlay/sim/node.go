package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/starlingmesh/starling/overlay/core"
	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// Host is a machine: an address and a clock. One process at a time listens there.
type Host struct {
	index int
	name  string // of the node that runs here
	addr  string
	skew  time.Duration
	drift int64 // millionths by which its clock runs fast
	shown time.Duration
	node  *Node // that listens; nil: nobody
	dark  bool  // powered off: not even a refusal comes back
	zone  string

	lag    time.Duration // added to every frame from and to here
	lagged time.Duration // was added until lagEnd: some of those frames are still under way
	lagEnd time.Duration
}

// Node is one process: it has an ID of its own, and a host to run on.
type Node struct {
	world    *World
	host     *Host
	core     *core.Core // nil: it has none and is hostile
	state    nodeState
	vanished bool // the host went with it: no goodbye, no refusal
	leaving  bool
	Index    int           // in World.Nodes
	freeAt   time.Duration // busy until then
	inbox    []waiting     // not yet processed: it is paused, slow or busy
	links    []linkRef     // open, oldest first
	said     *proto.Entry  // what it says of itself, as last looked at
	wakeAt   time.Time
	wakes    uint64
	stepFor  time.Duration // what one input costs; a slow node's only
	waited   time.Duration // how long the input of this step did

	Name   string
	ID     peer.ID
	script func(proto.Input) // instead of a core
	// Tap sees every message this node sends; nil: nobody looks.
	Tap func(proto.Message)

	started  time.Duration
	ended    time.Duration
	slowAt   time.Duration // last time it was no longer slow
	resumed  time.Duration // last time it went on after a pause
	lastLink proto.LinkID
	shaking  []*conn // that it dials, in the handshake
}

type linkRef struct {
	id   proto.LinkID
	conn *conn
	side int
}

// waiting is an input and since when it is there.
type waiting struct {
	in    proto.Input
	since time.Duration
}

type nodeState uint8

const (
	up nodeState = iota + 1
	paused
	dead
)

// addHost makes a machine for one more node.
func (w *World) addHost() *Host {
	i := len(w.hosts)
	h := &Host{index: i, name: fmt.Sprintf("n%d", i), addr: fmt.Sprintf("10.0.%d.%d:7946", i/250, 1+i%250), zone: string(rune('a' + i%3))}
	if w.cfg.Skew > 0 {
		h.skew = w.between(-w.cfg.Skew, w.cfg.Skew)
		h.drift = w.rng.Int64N(2*driftMost+1) - driftMost
	}
	h.shown = h.shows(w.now)
	w.hosts = append(w.hosts, h)
	w.hostOf[h.addr] = h
	return h
}

// Start starts a node on a machine of its own and gives it contacts.
func (w *World) Start(contacts ...string) *Node {
	n := w.startOn(w.addHost())
	n.Contacts(contacts...)
	return n
}

// startOn starts a process under a fresh ID. Whatever listened there is replaced.
func (w *World) startOn(h *Host) *Node {
	var seed [24]byte
	binary.BigEndian.PutUint64(seed[:], w.cfg.Seed)
	binary.BigEndian.PutUint64(seed[8:], uint64(len(w.Nodes)))
	sum := sha256.Sum256(seed[:])
	n := &Node{world: w, host: h, Index: len(w.Nodes), Name: h.name, state: up, started: w.now}
	copy(n.ID[:], sum[:])
	w.Nodes = append(w.Nodes, n)
	w.stirred++
	h.node, h.dark = n, false
	entry := proto.Entry{
		ID: n.ID, Name: n.Name, Addrs: []string{h.addr}, Zone: h.zone, Streams: 0xffff,
		Handlers: []string{method}, VersionMin: 1, VersionMax: 1,
	}
	rng := rand.New(rand.NewPCG(w.cfg.Seed, binary.BigEndian.Uint64(sum[16:])))
	if w.cfg.Directory == nil {
		n.core = core.New(w.cfg.Core, entry, rng, n.clock())
	} else {
		n.core = core.NewWith(w.cfg.Core, w.cfg.Directory(entry, n.clock()), rng, n.clock())
	}
	n.core.Share(&w.scratch)
	w.checks.started(n)
	w.say("%s starts as %s", n, n.ID.Short())
	n.arm()
	return n
}

// String is the node's name if no other process ever had it, else its ID too.
func (n *Node) String() string {
	for _, o := range n.world.Nodes {
		if o != n && o.Name == n.Name {
			return n.Name + "(" + n.ID.Short() + ")"
		}
	}
	return n.Name
}

// describe says in words what an input is.
func (n *Node) describe(in proto.Input) string {
	r, ok := in.(proto.Received)
	if !ok {
		return fmt.Sprintf("%T", in)
	}
	c, side := n.find(r.Link)
	if c == nil {
		return fmt.Sprintf("%T over a link that is gone", r.Msg)
	}
	return fmt.Sprintf("%T from %v over a %v link", r.Msg, c.ends[1-side].node, c.kind)
}

// clock is what the node's own clock shows.
func (n *Node) clock() time.Time {
	if n.world.cfg.Skew == 0 { // all clocks are right
		return epoch.Add(n.world.now)
	}
	h := n.host
	h.shown = max(h.shown, h.shows(n.world.now)) // a slow clock is set back each microsecond: it never shows that
	return epoch.Add(h.shown)
}

// driftMost is by how many millionths a clock may run fast or slow: as much as NTP slews.
const driftMost = 500

// shows is what the host's clock shows at a time of the world, since epoch.
func (h *Host) shows(now time.Duration) time.Duration {
	return now + now/1e6*time.Duration(h.drift) + h.skew
}

// when is the first moment of the world at which the host's clock shows a time.
func (h *Host) when(shown time.Duration) time.Duration {
	at := time.Duration(float64(shown-h.skew) / (1 + float64(h.drift)/1e6))
	for at -= time.Microsecond; h.shows(at) < shown; at += max(1, (shown-h.shows(at))/2) {
	}
	return at
}

// Living tells whether the process runs, paused or not.
func (n *Node) Living() bool { return n.state != dead }

// info is how the node names itself in a handshake.
func (n *Node) info() proto.PeerInfo {
	if n.core == nil {
		return proto.PeerInfo{ID: n.ID, Name: n.Name, Addrs: []string{n.host.addr}, Incarnation: 1}
	}
	return n.core.Self().Info()
}

// drop forgets a link.
func (n *Node) drop(id proto.LinkID) {
	for i := range n.links {
		if n.links[i].id == id {
			n.links = append(n.links[:i], n.links[i+1:]...)
			return
		}
	}
}

// give hands an input to the process: now, or when it gets to it.
func (n *Node) give(in proto.Input) {
	switch {
	case n.state == dead:
	case n.core == nil:
		n.script(in)
	case n.state == paused:
		n.inbox = append(n.inbox, waiting{in, n.world.now})
	case len(n.inbox) > 0 || n.freeAt > n.world.now:
		n.inbox = append(n.inbox, waiting{in, n.world.now})
		if len(n.inbox) == 1 {
			n.world.at(n.freeAt, n.drain)
		}
	default:
		n.waited = 0
		n.step(in)
	}
}

// drain processes what has piled up, as fast as the node is.
func (n *Node) drain() {
	if n.state != up || n.freeAt > n.world.now {
		return
	}
	for len(n.inbox) > 0 && n.state == up {
		first := n.inbox[0]
		n.inbox = n.inbox[1:]
		n.waited = 0
		if n.stepFor > 0 {
			n.waited = n.world.now - first.since
		}
		n.step(first.in)
		if n.freeAt > n.world.now {
			break
		}
	}
	if len(n.inbox) > 0 && n.state == up {
		n.world.at(n.freeAt, n.drain)
	}
}

// wake is the core's deadline.
func (n *Node) wake(number uint64) {
	if number != n.wakes || n.state != up {
		return
	}
	n.wakeAt = time.Time{}
	n.give(proto.Wake{})
}

// checkEvery so many steps a core is asked whether it is sound in all its
// parts, and not only in those that the step concerned: it costs as much as one.
const checkEvery = 32

// arm schedules the next wake-up.
func (n *Node) arm() {
	if n.state != up {
		return
	}
	if n.world.steps%checkEvery == 0 {
		n.core.CheckAll()
	}
	at := n.core.Deadline()
	if at.Equal(n.wakeAt) {
		return
	}
	n.wakeAt = at
	n.wakes++
	if at.IsZero() {
		return
	}
	due := at.Sub(epoch)
	if n.world.cfg.Skew != 0 {
		due = n.host.when(due)
	}
	n.world.schedule(event{at: max(due, n.world.now), kind: eventWake, node: n, n: n.wakes})
}

// step gives the core one input, has it checked, and carries out what it wants.
func (n *Node) step(in proto.Input) {
	w := n.world
	if w.failed != "" {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			w.fail("%v panics on %T: %v\n%s", n, in, r, debug.Stack())
		}
	}()
	w.steps++
	w.current, w.input = n, in
	w.mix(uint64(w.now)<<8 ^ uint64(n.Index))
	w.checks.before(n, in)
	if w.stepping {
		panic("sim: a step within a step")
	}
	w.stepping = true
	out := n.core.Step(n.clock(), in)
	w.checks.after(n, in, out)
	w.mix(uint64(len(out)))
	if n.stepFor > 0 {
		n.freeAt = max(n.freeAt, w.now) + n.stepFor
	}
	for _, o := range out {
		n.perform(o)
	}
	w.stepping = false
	n.arm()
}

// perform does what a runtime does.
func (n *Node) perform(out proto.Output) {
	w := n.world
	switch o := out.(type) {
	case proto.Send:
		w.send(n, o.Link, o.Msg)
	case proto.Dial:
		w.mix(o.Tag)
		w.dial(n, o)
	case proto.Hangup:
		w.mix(uint64(o.Link))
		w.hangup(n, o.Link, o.Flush)
	case proto.Ignored:
		w.Report.Ignored[o.Why]++
	case proto.Fatal:
		w.say("%s must end: %s", n, o.Why)
		w.Report.Fatals[fatalKind(o.Why)]++
		w.checks.fatal(n, o.Why)
		n.end(true)
	case proto.Gone:
		w.say("%s has left", n)
		n.end(true)
	case proto.ContactsWanted:
		w.Report.Wanted++
		w.wanted(n)
	case proto.Dispatch:
		w.apps.dispatch(n, o)
	case proto.CancelDispatch:
		w.apps.cancel(n, o)
	case proto.NeighborUp:
		w.say("  %s: link %d to %s is up", n, o.Link, o.Peer.Name)
	case proto.NeighborDraining:
		w.say("  %s: link %d to %s drains", n, o.Link, w.nameOf(o.Peer))
	case proto.NeighborDown:
		w.say("  %s: link %d to %s is down: %s", n, o.Link, w.nameOf(o.Peer), o.Why)
	case proto.CallStarted, proto.CallVerdict, proto.CallDone, proto.CallRefused, proto.Published, proto.Deliver, proto.Gap,
		proto.MembersChanged:
		// told to applications and events: the checkers have them
	case proto.SendTo, proto.PublishRecords, proto.LinkTiming, proto.DeliverBody:
		w.fail("%v: an internal output came out: %T", n, o)
	default:
		w.fail("%v: an output that nobody performs: %T", n, o)
	}
}

// end ends the process: its kernel closes every socket. orderly: with goodbyes.
func (n *Node) end(orderly bool) {
	if n.state == dead {
		return
	}
	w := n.world
	n.state, n.ended, n.inbox = dead, w.now, nil
	w.stirred++
	if n.host.node == n {
		n.host.node = nil
	}
	w.checks.ended(n)
	for _, l := range n.links {
		e := &l.conn.ends[l.side]
		e.state, e.held = endGone, nil
		why := proto.DownReset
		if orderly || w.chance(0.5) {
			why = proto.DownClosed
		}
		if !n.vanished {
			w.transmit(l.conn, l.side, frame{bye: why})
		}
	}
	n.links = nil
}

// nameOf is how the story calls a process; nobody hears it if there is no log.
func (w *World) nameOf(id peer.ID) string {
	if w.cfg.Log == nil {
		return ""
	}
	if n, ok := w.checks.byID[id]; ok {
		return n.String()
	}
	return id.Short()
}
