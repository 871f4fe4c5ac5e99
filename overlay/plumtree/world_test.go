package plumtree

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// failer is what a test and a property have in common.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// world is many Trees, links between them and a clock. Messages are lost only
// with the link that carries them.
type world struct {
	t        failer
	rng      *rand.Rand
	now      time.Time
	nodes    []*node
	links    map[proto.LinkID]*link
	queue    events
	count    int
	last     proto.LinkID
	accounts bool                 // keep node.from: a walk over all links for each sequence and node
	delay    func() time.Duration // of one message

	said    map[proto.MsgID]proto.Body
	payload int // broadcasts received, copies too
	control int // all other messages received
}

type node struct {
	tree *Tree
	id   peer.ID
	got  map[proto.MsgID]delivery
	list []proto.MsgID      // in the order of delivery
	next map[key]uint64     // number expected next, per sequence
	gaps map[key]uint64     // broadcasts told as lost
	why  map[string]int     // ignored
	sent map[direction]bool // broadcasts that left, per link
	wake time.Time          // a Wake is planned for then
	from map[key]uint64     // number from which on it owes an account of what it did not get
}

type delivery struct {
	at   time.Time
	hops uint16
}

type direction struct {
	link proto.LinkID
	id   proto.MsgID
}

type link struct {
	id    proto.LinkID
	ends  [2]int
	up    bool
	since time.Time
	ready [2]time.Time // arrival of the last message towards ends[i]: links keep order
}

type event struct {
	at time.Time
	n  int
	do func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].n < e[j].n
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

var birth = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newWorld(t failer, seed uint64, n int, cfg Config) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 7)), now: birth,
		links: map[proto.LinkID]*link{}, said: map[proto.MsgID]proto.Body{},
	}
	w.delay = func() time.Duration { return 200*time.Microsecond + time.Duration(w.rng.Int64N(600))*time.Microsecond }
	for range n {
		w.join(cfg)
	}
	return w
}

func nodeID(i int) peer.ID { return peer.ID{byte(i >> 8), byte(i), 1} }

func (w *world) join(cfg Config) int {
	i := len(w.nodes)
	id := nodeID(i)
	w.nodes = append(w.nodes, &node{
		tree: New(id, cfg), id: id, got: map[proto.MsgID]delivery{}, next: map[key]uint64{},
		gaps: map[key]uint64{}, why: map[string]int{}, sent: map[direction]bool{}, from: map[key]uint64{},
	})
	return i
}

func (w *world) after(d time.Duration, do func()) {
	w.count++
	heap.Push(&w.queue, event{w.now.Add(d), w.count, do})
}

// step runs one node and performs its outputs.
func (w *world) step(i int, do func(tree *Tree, out *proto.Out)) {
	n := w.nodes[i]
	var out proto.Out
	do(n.tree, &out)
	n.tree.Check()
	for _, o := range out.List {
		w.perform(i, n, o)
	}
	w.plan(i)
}

func (w *world) perform(i int, n *node, o proto.Output) {
	w.t.Helper()
	switch o := o.(type) {
	case proto.Send:
		if g, ok := o.Msg.(proto.Gossip); ok {
			d := direction{o.Link, g.ID}
			if n.sent[d] {
				w.t.Fatalf("P9: node %d sent %v twice over link %d", i, g.ID, o.Link)
			}
			n.sent[d] = true
		}
		w.carry(i, o)
	case proto.DeliverBody:
		w.deliver(i, n, o)
	case proto.Gap:
		k := key{o.Origin, o.Stream}
		if o.Count == 0 || o.Stream == proto.DirStream {
			w.t.Fatalf("node %d: a gap of %d in stream %d", i, o.Count, o.Stream)
		}
		if n.next[k] == 0 {
			n.next[k] = 1
		}
		n.next[k] += o.Count
		n.gaps[k] += o.Count
	case proto.Ignored:
		n.why[o.Why]++
	default:
		w.t.Fatalf("node %d: an output %T", i, o)
	}
}

func (w *world) deliver(i int, n *node, o proto.DeliverBody) {
	w.t.Helper()
	if _, twice := n.got[o.ID]; twice {
		w.t.Fatalf("P2: node %d delivers %v twice", i, o.ID)
	}
	if o.Local != (o.ID.Origin == n.id) || o.Local != (o.Hops == 0) {
		w.t.Fatalf("node %d: %v is local %v after %d hops", i, o.ID, o.Local, o.Hops)
	}
	if want, ok := w.said[o.ID]; ok && !sameBody(want, o.Body) {
		w.t.Fatalf("P3: node %d delivers %v with another body", i, o.ID)
	} else if !ok && !o.Local {
		w.t.Fatalf("P3: node %d delivers %v that nobody said", i, o.ID)
	}
	n.got[o.ID] = delivery{w.now, o.Hops}
	n.list = append(n.list, o.ID)
	k := key{o.ID.Origin, o.ID.Stream}
	if want := n.next[k]; o.ID.Stream != proto.DirStream && want != 0 && want != o.ID.Seq {
		w.t.Fatalf("P10: node %d delivers %v, want number %d or a gap", i, o.ID, want)
	}
	if w.accounts && n.next[k] == 0 {
		n.from[k] = w.begins(i, k, o.ID.Seq)
	}
	n.next[k] = o.ID.Seq + 1
}

// begins: a node that hears its first word of an origin cannot know whether what came before was said before its own time.
// It may begin there if nobody had any of it with whom it was connected for longer than T1 and T2.
func (w *world) begins(i int, k key, seq uint64) uint64 {
	long := func(since time.Time) bool { return w.now.Sub(since) > 100*time.Millisecond }
	part := []int{i}
	for at := 0; at < len(part); at++ {
		for _, l := range w.links {
			for e, end := range l.ends {
				if l.up && long(l.since) && l.ends[1-e] == part[at] && !slices.Contains(part, end) {
					part = append(part, end)
				}
			}
		}
	}
	for before := uint64(1); before < seq; before++ {
		id := proto.MsgID{Origin: k.origin, Stream: k.stream, Seq: before}
		if slices.ContainsFunc(part, func(j int) bool { d, ok := w.nodes[j].got[id]; return ok && long(d.at) }) {
			return before
		}
	}
	return seq
}

func sameBody(a, b proto.Body) bool {
	return a.(proto.CastBody).Topic == b.(proto.CastBody).Topic
}

// carry takes a message over a link.
func (w *world) carry(from int, o proto.Send) {
	l := w.links[o.Link]
	if l == nil || !l.up {
		return
	}
	end := 1
	if l.ends[1] == from {
		end = 0
	}
	at := w.now.Add(w.delay())
	if at.Before(l.ready[end]) {
		at = l.ready[end]
	}
	l.ready[end] = at
	w.after(at.Sub(w.now), func() {
		if !l.up {
			return
		}
		if _, ok := o.Msg.(proto.Gossip); ok {
			w.payload++
		} else {
			w.control++
		}
		to := l.ends[end]
		w.step(to, func(tree *Tree, out *proto.Out) { tree.Receive(w.now, o.Link, w.nodes[from].id, o.Msg, out) })
	})
}

func (w *world) connect(a, b int) proto.LinkID {
	w.last++
	l := &link{id: w.last, ends: [2]int{a, b}, up: true, since: w.now}
	w.links[l.id] = l
	for i, end := range l.ends {
		other := w.nodes[l.ends[1-i]].id
		w.step(end, func(tree *Tree, out *proto.Out) { tree.NeighborUp(w.now, l.id, other, out) })
	}
	return l.id
}

// cut breaks a link; what it carried is lost, the ends notice at different times.
func (w *world) cut(id proto.LinkID) {
	l := w.links[id]
	l.up = false
	for _, end := range l.ends {
		w.after(time.Duration(w.rng.Int64N(int64(3*time.Millisecond))), func() {
			w.step(end, func(tree *Tree, out *proto.Out) { tree.NeighborDown(w.now, id, out) })
		})
	}
}

// say broadcasts from a node; the body tells its name.
func (w *world) say(i int, stream uint8) proto.MsgID {
	w.t.Helper()
	n := w.nodes[i]
	var id proto.MsgID
	body := proto.CastBody{Topic: fmt.Sprint(i, "/", stream, "/", n.tree.streams[stream].own+1)}
	w.step(i, func(tree *Tree, out *proto.Out) {
		var refused string
		if id, refused = tree.Publish(w.now, stream, body, out); refused != "" {
			w.t.Fatalf("node %d: publish refused: %s", i, refused)
		}
	})
	w.said[id] = body
	return id
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	end := w.now.Add(d)
	for len(w.queue) > 0 && !w.queue[0].at.After(end) {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
	}
	w.now = end
}

// plan has a node woken when it wants to be.
func (w *world) plan(i int) {
	n := w.nodes[i]
	at := n.tree.Deadline()
	if at.IsZero() || !n.wake.IsZero() && !n.wake.After(at) {
		return
	}
	n.wake = at
	w.after(max(at.Sub(w.now), 0), func() {
		if n.wake.Equal(at) {
			n.wake = time.Time{}
			w.step(i, func(tree *Tree, out *proto.Out) { tree.Wake(w.now, out) })
		}
	})
}

func (w *world) wantEverywhere(ids ...proto.MsgID) {
	w.t.Helper()
	for i, n := range w.nodes {
		for _, id := range ids {
			if _, ok := n.got[id]; !ok {
				w.t.Fatalf("P4: node %d misses %v (gaps %v, ignored %v)", i, id, n.gaps, n.why)
			}
		}
	}
}

func (w *world) wantNoGaps() {
	w.t.Helper()
	for i, n := range w.nodes {
		if len(n.gaps) > 0 {
			w.t.Fatalf("node %d was told of gaps: %v", i, n.gaps)
		}
	}
}

func (w *world) checkAll() {
	for _, n := range w.nodes {
		n.tree.checkAll()
	}
}
