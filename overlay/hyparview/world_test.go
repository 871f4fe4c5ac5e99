package hyparview

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// world runs many Views against each other in virtual time. Its network keeps
// the order of messages on a link, tells both ends of a lost link at different
// times, and answers every dial once.
type world struct {
	t      testing.TB
	cfg    Config
	rng    *rand.Rand
	now    time.Time
	events events
	seq    uint64
	linkID proto.LinkID
	nodes  []*node
	byAddr map[string]*node
	ends   map[proto.LinkID]*end

	teach    bool                 // nodes learn all living members once a second, as from a directory
	delay    func() time.Duration // of one message
	after    func(*node)          // called after each step
	trace    func(format string, args ...any)
	changes  int // views changed
	messages int
	dials    int
}

type node struct {
	*Views
	w         *world
	i         int
	info      proto.PeerInfo
	dead      bool
	wakeAt    time.Time
	neighbors map[peer.ID]proto.LinkID // as its outputs tell
	draining  map[proto.LinkID]peer.ID
	wanted    int // ContactsWanted so far
	ignored   map[string]int
	downs     []string // "peer why", in order
	out       proto.Out
}

// end is one side of a connection.
type end struct {
	id     proto.LinkID
	node   *node
	other  *end
	up     bool // LinkUp told, LinkDown not yet
	hungUp bool
	cut    bool // nothing that is under way arrives
	last   time.Time
}

type event struct {
	at  time.Time
	seq uint64
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || (e[i].at.Equal(e[j].at) && e[i].seq < e[j].seq)
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{
		t: t, cfg: Default(), rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_000_000, 0),
		byAddr: map[string]*node{}, ends: map[proto.LinkID]*end{},
		after: func(*node) {}, trace: func(string, ...any) {},
	}
	w.delay = func() time.Duration {
		return 200*time.Microsecond + time.Duration(w.rng.Int64N(int64(2*time.Millisecond)))
	}
	return w
}

func (w *world) at(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.events, event{w.now.Add(d), w.seq, do})
}

// run lets the time go by.
func (w *world) run(d time.Duration) {
	until := w.now.Add(d)
	for len(w.events) > 0 && !w.events[0].at.After(until) {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
	w.now = until
}

// runUntil lets the time go by until it is so, and tells how long that took.
func (w *world) runUntil(what string, limit time.Duration, ok func() bool) time.Duration {
	w.t.Helper()
	start := w.now
	for !ok() {
		if w.now.Sub(start) > limit {
			w.t.Fatalf("not within %v: %s\n%s", limit, what, w.picture())
		}
		w.run(20 * time.Millisecond)
	}
	return w.now.Sub(start)
}

// start adds a node with a random ID.
func (w *world) start() *node {
	var id peer.ID
	for i := range id {
		id[i] = byte(w.rng.Uint32())
	}
	return w.startAs(id)
}

func (w *world) startAs(id peer.ID) *node {
	i := len(w.nodes)
	n := &node{
		w: w, i: i,
		info:      proto.PeerInfo{ID: id, Name: fmt.Sprint("node", i), Addrs: []string{addr(i)}, Incarnation: 1},
		neighbors: map[peer.ID]proto.LinkID{}, draining: map[proto.LinkID]peer.ID{}, ignored: map[string]int{},
	}
	n.Views = New(w.cfg, n.info, w.now, rand.New(rand.NewPCG(w.rng.Uint64(), 2)))
	w.nodes = append(w.nodes, n)
	w.byAddr[addr(i)] = n
	n.armWake()
	if w.teach {
		w.at(w.rngUpTo(time.Second), n.lesson)
	}
	return n
}

func (w *world) startMany(n int) []*node {
	for range n {
		w.start()
	}
	return w.nodes
}

func addr(i int) string { return fmt.Sprintf("n%d:7000", i) }

// contacts gives a node the addresses of these nodes.
func (n *node) contacts(nodes ...*node) {
	var list []proto.Contact
	for _, i := range n.w.rng.Perm(len(nodes)) {
		list = append(list, proto.Contact{Addrs: nodes[i].info.Addrs})
	}
	n.step(func(out *proto.Out) { n.Contacts(n.w.now, list, out) })
}

func (n *node) lesson() {
	if n.dead {
		return
	}
	var all []proto.PeerInfo
	for _, m := range n.w.component(n) {
		all = append(all, m.info)
	}
	n.step(func(out *proto.Out) { n.Learn(n.w.now, entries(all), out) })
	n.w.at(time.Second, n.lesson)
}

// step runs one step of a node, checks it and performs what it wants.
func (n *node) step(f func(out *proto.Out)) {
	if n.dead {
		return
	}
	n.out.List = n.out.List[:0]
	f(&n.out)
	n.Check()
	for _, o := range slices.Clone(n.out.List) {
		n.perform(o)
	}
	n.checkNews()
	n.armWake()
	n.w.after(n)
}

func (n *node) armWake() {
	at := n.Deadline()
	if at.IsZero() || at.Equal(n.wakeAt) {
		return
	}
	n.wakeAt = at
	n.w.at(max(0, at.Sub(n.w.now)), func() {
		if n.wakeAt.Equal(at) {
			n.wakeAt = time.Time{}
			n.step(func(out *proto.Out) { n.Wake(n.w.now, out) })
		}
	})
}

// checkNews: what the outputs told must be what the views hold.
func (n *node) checkNews() {
	if len(n.neighbors) != n.active.Len() {
		n.w.t.Fatalf("node %d told of %d neighbours and has %d", n.i, len(n.neighbors), n.active.Len())
	}
	for id, l := range n.active.All() {
		if n.neighbors[id] != l.id {
			n.w.t.Fatalf("node %d told of link %d to %v and has %d", n.i, n.neighbors[id], id.Short(), l.id)
		}
	}
}

func (n *node) perform(o proto.Output) {
	w := n.w
	switch o := o.(type) {
	case proto.Dial:
		w.dials++
		w.dial(n, o)
	case proto.Send:
		w.trace("%v node%d -> %T %+v", w.now.Sub(time.Unix(1_000_000, 0)), n.i, o.Msg, o.Link)
		w.send(w.ends[o.Link], o.Msg)
	case proto.SendTo:
		w.sendTo(n, o)
	case proto.Hangup:
		w.trace("%v node%d hangs up %d: %s", w.now.Sub(time.Unix(1_000_000, 0)), n.i, o.Link, o.Why)
		w.hangup(w.ends[o.Link], o.Flush)
	case proto.NeighborUp:
		w.changes++
		if _, twice := n.neighbors[o.Peer.ID]; twice {
			w.t.Fatalf("node %d: neighbour up twice", n.i)
		}
		n.neighbors[o.Peer.ID] = o.Link
	case proto.NeighborDraining:
		if n.neighbors[o.Peer] != o.Link {
			w.t.Fatalf("node %d: drains what is not up", n.i)
		}
		delete(n.neighbors, o.Peer)
		n.draining[o.Link] = o.Peer
	case proto.NeighborDown:
		w.changes++
		w.trace("%v node%d neighbour down %d: %s %v", w.now.Sub(time.Unix(1_000_000, 0)), n.i, o.Link, o.Why, o.Down)
		n.downs = append(n.downs, o.Why)
		if _, drained := n.draining[o.Link]; !drained && n.neighbors[o.Peer] != o.Link {
			w.t.Fatalf("node %d: down without up", n.i)
		}
		delete(n.draining, o.Link)
		if n.neighbors[o.Peer] == o.Link {
			delete(n.neighbors, o.Peer)
		}
	case proto.ContactsWanted:
		n.wanted++
	case proto.Ignored:
		n.ignored[o.Why]++
	default:
		w.t.Fatalf("node %d gave %T", n.i, o)
	}
}

func (w *world) living() []*node {
	return slices.DeleteFunc(slices.Clone(w.nodes), func(n *node) bool { return n.dead })
}

func (w *world) byID(id peer.ID) *node {
	i := slices.IndexFunc(w.nodes, func(n *node) bool { return n.info.ID == id })
	if i < 0 {
		return nil
	}
	return w.nodes[i]
}

// component is who is reached from a node over active links.
func (w *world) component(from *node) []*node {
	ids := map[peer.ID]*node{}
	for _, n := range w.nodes {
		ids[n.info.ID] = n
	}
	seen := map[*node]bool{from: true}
	queue := []*node{from}
	for i := 0; i < len(queue); i++ {
		for _, id := range queue[i].Active() {
			if m := ids[id]; m != nil && !m.dead && !seen[m] {
				seen[m] = true
				queue = append(queue, m)
			}
		}
	}
	return queue
}

func (w *world) connected() bool {
	all := w.living()
	return len(w.component(all[0])) == len(all)
}

// symmetric tells whether each link is a member of both its ends' views.
func (w *world) symmetric() bool {
	for _, n := range w.living() {
		for id, l := range n.active.All() {
			e := w.ends[l.id]
			m := w.byID(id)
			if e == nil || m.dead {
				return false
			}
			back, ok := m.Link(n.info.ID)
			if !ok || back != e.other.id {
				return false
			}
		}
	}
	return true
}

// smallest is the smallest active view of the living.
func (w *world) smallest() int {
	least := len(w.nodes)
	for _, n := range w.living() {
		least = min(least, n.active.Len())
	}
	return least
}

func (w *world) healthy() bool {
	return w.smallest() >= min(w.cfg.Floor, len(w.living())-1) && w.connected() && w.symmetric()
}

func (w *world) fullMesh() bool {
	return w.smallest() == len(w.living())-1 && w.symmetric()
}

func (w *world) picture() string {
	s := ""
	for _, n := range w.living() {
		s += fmt.Sprintf("node%d %v active", n.i, n.info.ID.Short())
		for _, id := range n.Active() {
			s += fmt.Sprintf(" %d", w.byID(id).i)
		}
		s += fmt.Sprintf("; passive %d, cooling %d, refusals %d\n", n.passive.Len(), n.cooling.Len(), n.refusals)
	}
	return s
}
