package wave

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

// world runs Waves against each other in virtual time: links with delays that
// can break, a handler per node, and a directory that a test sets by hand.
type world struct {
	t      testing.TB
	rng    *rand.Rand
	now    time.Time
	nodes  []*node
	wires  map[proto.LinkID]*wire // one per link, same ID at both ends
	last   proto.LinkID
	events events
	seq    int
	hop    func() time.Duration
	cfg    Config
	sent   map[string]int // messages by type
	errs   []string
}

type node struct {
	w       *world
	id      peer.ID
	wave    *Wave
	roster  *proto.Roster
	entry   *proto.Entry
	dead    bool // crashed
	paused  bool
	queue   []func() // while paused
	handler func(proto.Dispatch) (time.Duration, proto.Result)
	runs    map[string]int // by the call's name
	running map[proto.CallID]bool
	pools   map[peer.ID]proto.LinkID
	// as a caller
	verdicts map[uint64]map[peer.ID]proto.CallVerdict
	extras   int
	done     map[uint64]time.Time
	targets  map[uint64][]peer.ID
	deadline map[uint64]time.Time
	refused  map[uint64]bool
	stalled  bool // it was paused at some time: it may end calls late
}

type wire struct {
	a, b   *node
	pool   bool
	broken bool
	at     map[*node]time.Time // earliest arrival, keeps order
}

func (w *wire) other(n *node) *node {
	if w.a == n {
		return w.b
	}
	return w.a
}

type event struct {
	at  time.Time
	seq int
	do  func()
}
type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	if !e[i].at.Equal(e[j].at) {
		return e[i].at.Before(e[j].at)
	}
	return e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	x := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return x
}

func newWorld(t testing.TB, seed uint64, n int, change ...func(*Config)) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1000, 0), cfg: Default(),
		wires: map[proto.LinkID]*wire{}, sent: map[string]int{},
	}
	for _, f := range change {
		f(&w.cfg)
	}
	w.hop = func() time.Duration { return 200*time.Microsecond + time.Duration(w.rng.IntN(600))*time.Microsecond }
	for range n {
		w.add()
	}
	w.now = w.now.Add(time.Hour)
	return w
}

// add starts a process that everybody knows at once, and that knows everybody.
func (w *world) add() *node {
	i := len(w.nodes)
	x := &node{
		w: w, id: peer.ID{byte(i >> 8), byte(i), 1}, runs: map[string]int{}, running: map[proto.CallID]bool{},
		pools: map[peer.ID]proto.LinkID{}, verdicts: map[uint64]map[peer.ID]proto.CallVerdict{},
		done: map[uint64]time.Time{}, targets: map[uint64][]peer.ID{}, deadline: map[uint64]time.Time{}, refused: map[uint64]bool{},
	}
	x.entry = &proto.Entry{ID: x.id, Name: fmt.Sprint("n", i), Incarnation: 1, Addrs: []string{fmt.Sprint(i)}}
	x.handler = func(d proto.Dispatch) (time.Duration, proto.Result) { return 50 * time.Microsecond, echoed(d) }
	x.wave = New(w.cfg, x.id, x, rand.New(rand.NewPCG(uint64(i), 2)), w.now)
	x.roster = &proto.Roster{Self: x.id}
	for _, y := range w.nodes {
		x.roster.Members = append(x.roster.Members, &proto.Member{Entry: y.entry, Status: proto.StatusAlive})
	}
	w.nodes = append(w.nodes, x)
	for _, y := range w.nodes {
		y.know(proto.ChangeUp, &proto.Member{Entry: x.entry, Status: proto.StatusAlive})
	}
	return x
}

// echoed is the reply of a handler that returns its payload.
func echoed(d proto.Dispatch) proto.Result {
	return proto.Result{Outcome: proto.Replied, Executed: proto.ExecutedYes, Stage: proto.StageFinished, Payload: d.Request.Payload}
}

// know changes what a node's directory says of a member.
func (n *node) know(kind proto.ChangeKind, m *proto.Member) {
	n.step(func(out *proto.Out) {
		r := *n.roster
		r.Members = slices.Clone(r.Members)
		i, ok := slices.BinarySearchFunc(r.Members, m.Entry.ID, func(m *proto.Member, id peer.ID) int { return m.Entry.ID.Compare(id) })
		if ok {
			r.Members[i] = m
		} else {
			r.Members = slices.Insert(r.Members, i, m)
		}
		n.roster = &r
		n.wave.MemberChanged(n.w.now, proto.MemberChange{Kind: kind, Member: m}, out)
	})
}

func (n *node) Roster() *proto.Roster           { return n.roster }
func (n *node) Member(id peer.ID) *proto.Member { return n.roster.Get(id) }
func (n *node) Self() *proto.Entry              { return n.entry }

func (w *world) at(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.events, event{w.now.Add(d), w.seq, do})
}

// link connects two nodes in each other's active view.
func (w *world) link(i, j int) proto.LinkID {
	id := w.wire(w.nodes[i], w.nodes[j], false)
	for _, p := range [][2]*node{{w.nodes[i], w.nodes[j]}, {w.nodes[j], w.nodes[i]}} {
		a, b := p[0], p[1]
		a.step(func(out *proto.Out) { a.wave.NeighborUp(w.now, id, b.entry.Info(), out) })
		a.step(func(*proto.Out) { a.wave.Timing(w.now, id, time.Millisecond, 0) })
	}
	return id
}

func (w *world) wire(a, b *node, pool bool) proto.LinkID {
	w.last++
	id := w.last
	w.wires[id] = &wire{a: a, b: b, pool: pool, at: map[*node]time.Time{}}
	up := w.now
	for _, x := range []*node{a, b} {
		x.step(func(*proto.Out) { x.wave.LinkUp(up, id) })
	}
	return id
}

// cut breaks a link: what is in flight is lost, both ends notice within 5 ms.
func (w *world) cut(id proto.LinkID) {
	l := w.wires[id]
	if l == nil || l.broken {
		return
	}
	l.broken = true
	for _, x := range []*node{l.a, l.b} {
		other := l.other(x)
		w.at(time.Duration(w.rng.IntN(5000))*time.Microsecond, func() {
			delete(x.pools, other.id)
			x.step(func(out *proto.Out) { x.wave.LinkDown(w.now, id, other.id, out) })
		})
	}
}

func (w *world) linksOf(i int) []proto.LinkID {
	var ids []proto.LinkID
	for id, l := range w.wires {
		if l.a == w.nodes[i] || l.b == w.nodes[i] {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// step runs one input of a node, now or when it resumes, and carries out the outputs.
func (n *node) step(do func(*proto.Out)) {
	if n.dead {
		return
	}
	run := func() {
		if n.dead {
			return
		}
		var out proto.Out
		do(&out)
		for _, o := range out.List {
			n.perform(o)
		}
		n.arm()
	}
	if n.paused {
		n.queue = append(n.queue, run)
		return
	}
	run()
}

func (n *node) arm() {
	at := n.wave.Deadline()
	if at.IsZero() {
		return
	}
	n.w.at(max(0, at.Sub(n.w.now)), func() {
		if d := n.wave.Deadline(); !d.IsZero() && !n.w.now.Before(d) {
			n.step(func(out *proto.Out) { n.wave.Wake(n.w.now, out) })
		}
	})
}

func (n *node) perform(o proto.Output) {
	w := n.w
	switch o := o.(type) {
	case proto.Send:
		n.send(o.Link, o.Msg)
	case proto.SendTo:
		n.sendTo(o)
	case proto.Dispatch:
		n.dispatch(o)
	case proto.CancelDispatch:
		w.at(50*time.Microsecond, func() {
			n.finish(o.ID, proto.Result{Outcome: proto.TimedOut, Executed: proto.ExecutedMaybe, Stage: proto.StageStarted})
		})
	case proto.CallStarted:
		n.verdicts[o.Ref] = map[peer.ID]proto.CallVerdict{}
		for _, m := range o.Targets {
			n.targets[o.Ref] = append(n.targets[o.Ref], m.Entry.ID)
		}
	case proto.CallVerdict:
		if o.Extra {
			if n.extras++; slices.Contains(n.targets[o.Ref], o.Node) {
				w.fail("a target counts as extra")
			}
			return
		}
		if _, twice := n.verdicts[o.Ref][o.Node]; twice {
			w.fail("two verdicts for %v", o.Node.Short())
		}
		n.verdicts[o.Ref][o.Node] = o
	case proto.CallDone:
		n.done[o.Ref] = w.now
	case proto.KeepOpen:
		for _, who := range o.Peers {
			to := w.node(who.ID)
			w.sent["KeepOpen"]++
			w.at(w.hop()*2, func() { w.pool(n, to) })
		}
	case proto.Ignored:
		w.sent["ignored "+o.Why]++
	case proto.CallRefused:
		n.refused[o.Ref] = true
	default:
		w.fail("unexpected output %T", o)
	}
}

func (w *world) fail(format string, args ...any) {
	w.errs = append(w.errs, fmt.Sprintf(format, args...))
}

func (n *node) send(id proto.LinkID, m proto.Message) {
	w := n.w
	l := w.wires[id]
	w.sent[fmt.Sprintf("%T", m)[6:]]++
	if l == nil || l.broken {
		return
	}
	to := l.other(n)
	at := w.now.Add(w.hop())
	if at.Before(l.at[to]) {
		at = l.at[to]
	}
	l.at[to] = at
	w.at(at.Sub(w.now), func() {
		if l.broken {
			return
		}
		to.step(func(out *proto.Out) { to.wave.Receive(w.now, id, n.entry.Info(), m, out) })
	})
}

// sendTo dials on demand, as the core's pool does.
func (n *node) sendTo(o proto.SendTo) {
	w := n.w
	if l := linkTo(n.wave.links, o.Peer.ID); l != nil && !o.Fresh {
		n.send(l.id, o.Msg)
		return
	}
	if id, ok := n.pools[o.Peer.ID]; ok && !w.wires[id].broken {
		n.send(id, o.Msg)
		return
	}
	to := w.node(o.Peer.ID)
	w.at(w.hop()*2, func() {
		if to.dead || to.paused || n.dead {
			n.step(func(out *proto.Out) {
				n.wave.SendFailed(w.now, o.Peer.ID, o.Msg, proto.DialRefused, false, out)
			})
			return
		}
		if id, ok := n.pools[to.id]; !ok || w.wires[id].broken {
			n.pools[to.id] = w.wire(n, to, true)
		}
		n.send(n.pools[to.id], n.wave.Restamp(w.now, o.Msg))
	})
}

// pool opens a pooled link that both sides may send on, as the core does.
func (w *world) pool(a, b *node) {
	if _, have := a.pools[b.id]; have || a.dead || b.dead || b.paused {
		return
	}
	id := w.wire(a, b, true)
	for _, p := range [][2]*node{{a, b}, {b, a}} {
		x, other := p[0], p[1]
		if _, have := x.pools[other.id]; !have {
			x.pools[other.id] = id
			x.step(func(*proto.Out) { x.wave.PoolUp(id, other.entry.Info()) })
		}
	}
}

func (w *world) node(id peer.ID) *node {
	for _, n := range w.nodes {
		if n.id == id {
			return n
		}
	}
	panic("no such node")
}

func (n *node) dispatch(d proto.Dispatch) {
	if d.Budget <= 0 {
		n.w.fail("dispatched after its budget")
	}
	name := d.Request.Meta[0].Value
	if n.runs[name]++; n.runs[name] > 1 {
		n.w.fail("%s ran twice at %s", name, n.entry.Name)
	}
	n.running[d.ID] = true
	if after, r := n.handler(d); after >= 0 { // else it hangs for ever
		n.w.at(after, func() { n.finish(d.ID, r) })
	}
}

// finish is a handler's one answer.
func (n *node) finish(id proto.CallID, r proto.Result) {
	n.step(func(out *proto.Out) {
		if n.running[id] {
			delete(n.running, id)
			n.wave.Result(n.w.now, id, r, out)
		}
	})
}
