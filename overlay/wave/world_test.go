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
	runs    map[proto.CallID]int
	began   map[proto.CallID]bool
	pools   map[peer.ID]proto.LinkID
	// as a caller
	verdicts map[uint64]map[peer.ID]proto.CallVerdict
	extras   int
	done     map[uint64]time.Time
	targets  map[uint64][]peer.ID
	ids      map[uint64]proto.CallID
	deadline map[uint64]time.Time
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

func newWorld(t testing.TB, seed uint64, n int) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1000, 0),
		wires: map[proto.LinkID]*wire{}, sent: map[string]int{},
	}
	w.hop = func() time.Duration { return 200*time.Microsecond + time.Duration(w.rng.IntN(600))*time.Microsecond }
	roster := &proto.Roster{Revision: 1}
	for i := range n {
		x := &node{
			w: w, id: peer.ID{byte(i >> 8), byte(i), 1}, runs: map[proto.CallID]int{}, began: map[proto.CallID]bool{},
			pools: map[peer.ID]proto.LinkID{}, verdicts: map[uint64]map[peer.ID]proto.CallVerdict{},
			done: map[uint64]time.Time{}, targets: map[uint64][]peer.ID{}, ids: map[uint64]proto.CallID{}, deadline: map[uint64]time.Time{},
		}
		x.entry = &proto.Entry{ID: x.id, Name: fmt.Sprint("n", i), Incarnation: 1, Addrs: []string{fmt.Sprint(i)}}
		x.handler = func(d proto.Dispatch) (time.Duration, proto.Result) {
			return 50 * time.Microsecond, proto.Result{Outcome: proto.Replied, Executed: proto.ExecutedYes, Stage: proto.StageFinished, Payload: d.Request.Payload}
		}
		x.wave = New(Default(), x.id, x, rand.New(rand.NewPCG(seed, uint64(i)+2)), w.now)
		w.nodes = append(w.nodes, x)
		roster.Members = append(roster.Members, &proto.Member{Entry: x.entry, Status: proto.StatusAlive})
	}
	for _, x := range w.nodes {
		r := *roster
		r.Self = x.id
		x.roster = &r
	}
	w.now = w.now.Add(time.Hour)
	return w
}

func (n *node) Roster() *proto.Roster { return n.roster }
func (n *node) Self() *proto.Entry    { return n.entry }

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
		a.step(func(*proto.Out) { a.wave.Timing(id, time.Millisecond, 0) })
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

// crash ends a node and its links.
func (w *world) crash(i int) {
	w.nodes[i].dead = true
	for _, id := range w.linksOf(i) {
		w.cut(id)
	}
}

// resume lets a paused node read what has waited for it.
func (w *world) resume(i int) {
	n := w.nodes[i]
	n.paused = false
	for _, do := range n.queue {
		do()
	}
	n.queue = nil
}

// certify tells everybody but the dead that a node is down.
func (w *world) certify(i int) {
	dead := w.nodes[i]
	for _, x := range w.nodes {
		if x.dead || x == dead {
			continue
		}
		r := *x.roster
		r.Members = slices.Clone(r.Members)
		m := &proto.Member{Entry: dead.entry, Status: proto.StatusDown, Since: w.now, Why: "certified"}
		r.Members[i] = m
		x.roster = &r
		x.step(func(out *proto.Out) {
			x.wave.MemberChanged(w.now, proto.MemberChange{Kind: proto.ChangeDown, Member: m}, out)
		})
	}
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
	case proto.CallStarted:
		n.verdicts[o.Ref] = map[peer.ID]proto.CallVerdict{}
		n.ids[o.Ref] = o.ID
		for _, m := range o.Targets {
			n.targets[o.Ref] = append(n.targets[o.Ref], m.Entry.ID)
		}
	case proto.CallVerdict:
		if o.Extra {
			n.extras++
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
		w.fail("refused: %s", o.Why)
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
	if l := n.wave.linkTo(o.Peer.ID); l != nil && !o.Fresh {
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
	if n.runs[d.ID]++; n.runs[d.ID] > 1 {
		n.w.fail("%v ran twice", d.ID.Seq)
	}
	after, r := n.handler(d)
	if after < 0 {
		return // hangs for ever
	}
	n.w.at(after, func() {
		n.step(func(out *proto.Out) { n.wave.Result(n.w.now, d.ID, r, out) })
	})
}

// ask starts a call at a node and returns its reference.
func (w *world) ask(i int, sel proto.Selector, payload []byte, budget time.Duration) uint64 {
	n := w.nodes[i]
	ref := uint64(len(n.verdicts) + 1)
	n.deadline[ref] = w.now.Add(budget)
	n.step(func(out *proto.Out) {
		n.wave.Start(w.now, proto.StartCall{
			Ref: ref, Select: sel, Budget: budget,
			Request: proto.Request{Mode: proto.ModeCall, Method: "m", Payload: payload},
		}, out)
	})
	return ref
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	end := w.now.Add(d)
	for len(w.events) > 0 && !w.events[0].at.After(end) {
		e := heap.Pop(&w.events).(event)
		if e.at.After(w.now) {
			w.now = e.at
		}
		e.do()
	}
	w.now = end
}

// settled checks one call: over, one verdict each, and no false "no".
func (w *world) settled(i int, ref uint64) map[peer.ID]proto.CallVerdict {
	w.t.Helper()
	n := w.nodes[i]
	if n.done[ref].IsZero() {
		w.fail("call %d never ended", ref)
	} else if late := n.done[ref].Sub(n.deadline[ref]); late > 5*time.Millisecond && !n.paused {
		w.fail("call %d ended %v after its budget", ref, late)
	}
	for _, id := range n.targets[ref] {
		v, ok := n.verdicts[ref][id]
		if !ok {
			w.fail("no verdict for %v", id.Short())
		}
		ran := 0
		for call, runs := range w.node(id).runs {
			if call == n.ids[ref] || n.ids[ref].Seq == 0 && call.Caller == n.id && call.Target == id {
				ran += runs
			}
		}
		if ran > 0 && v.Executed == proto.ExecutedNo {
			w.fail("%v ran, and the verdict %v says it did not", id.Short(), v.Verdict)
		}
		if ran == 0 && v.Executed == proto.ExecutedYes {
			w.fail("%v never ran, and the verdict %v says it did", id.Short(), v.Verdict)
		}
	}
	if len(n.verdicts[ref]) != len(n.targets[ref]) {
		w.fail("%d verdicts for %d targets", len(n.verdicts[ref]), len(n.targets[ref]))
	}
	for _, e := range w.errs {
		w.t.Error(e)
	}
	w.errs = nil
	return n.verdicts[ref]
}

// count tells how many targets got each verdict.
func count(vs map[peer.ID]proto.CallVerdict) map[proto.Verdict]int {
	n := map[proto.Verdict]int{}
	for _, v := range vs {
		n[v.Verdict]++
	}
	return n
}

// regular links n nodes into a random graph in which each has about k links.
func (w *world) regular(k int) int {
	n := len(w.nodes)
	have := map[[2]int]bool{}
	edges := 0
	add := func(i, j int) {
		if i > j {
			i, j = j, i
		}
		if i != j && !have[[2]int{i, j}] {
			have[[2]int{i, j}] = true
			w.link(i, j)
			edges++
		}
	}
	order := w.rng.Perm(n)
	for i := range n {
		add(order[i], order[(i+1)%n])
	}
	for range n * (k - 2) / 2 {
		add(w.rng.IntN(n), w.rng.IntN(n))
	}
	return edges
}

func (w *world) mesh() {
	for i := range w.nodes {
		for j := range i {
			w.link(i, j)
		}
	}
}
