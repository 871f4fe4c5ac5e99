package directory

import (
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// world is a few dozen directories on a given graph of links, in virtual time,
// with a broadcast that floods. One seed, one story.
type world struct {
	t     *testing.T
	cfg   Config
	rng   *rand.Rand
	now   time.Time
	begin time.Time
	seq   uint64
	queue events
	nodes []*node
	edges [][2]int // links that should be there
	conns []*conn
	cut   func(a, b *node) bool // what goes between them is lost, dials time out
	reset func(a, b *node) bool // links break, dials are refused
	floor int                   // who has fewer links gets one to anybody in reach
	sent  map[string]int        // messages by type
	watch func(proto.Message)   // sees every message
}

type state uint8

const (
	running state = iota
	stopped       // SIGSTOP: its kernel takes everything, it does nothing
	dead
)

type node struct {
	w       *world
	i       int
	id      peer.ID
	d       *Directory
	state   state
	backlog []func()
	conns   map[proto.LinkID]*conn
	links   proto.LinkID
	seen    map[[2]uint64]bool
	casts   uint64
	fatal   string
	wakeAt  time.Time
	told    []proto.MemberChange
	ignored map[string]int
}

// conn is a connection; each end has its own number for it.
type conn struct {
	kind  proto.LinkKind
	ends  [2]*node
	ids   [2]proto.LinkID
	open  [2]bool // as each end sees it
	after [2]time.Time
}

type event struct {
	at  time.Time
	seq uint64
	do  func()
}

type events []event

func (h events) Len() int { return len(h) }
func (h events) Less(i, j int) bool {
	return h[i].at.Before(h[j].at) || (h[i].at.Equal(h[j].at) && h[i].seq < h[j].seq)
}
func (h events) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *events) Push(x any)   { *h = append(*h, x.(event)) }
func (h *events) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}

func idOf(n int) peer.ID {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))
	return peer.ID(sum[:peer.IDLen])
}

// newWorld makes n nodes, each with its links up but nothing said yet.
func newWorld(t *testing.T, seed uint64, n int, edges [][2]int, change func(*Config)) *world {
	t.Helper()
	begin := time.UnixMilli(1_700_000_000_000)
	never := func(_, _ *node) bool { return false }
	w := &world{
		t: t, cfg: Default(), rng: rand.New(rand.NewPCG(seed, 7)), now: begin, begin: begin, edges: edges, cut: never, reset: never,
		sent: map[string]int{},
	}
	w.cfg.PerNode = true
	if change != nil {
		change(&w.cfg)
	}
	for i := range n {
		w.start(idOf(i), fmt.Sprintf("n%d", i))
	}
	w.repair()
	return w
}

// start adds a process; it shares no link until an edge says so.
func (w *world) start(id peer.ID, name string) *node {
	n := &node{w: w, i: len(w.nodes), id: id, conns: map[proto.LinkID]*conn{}, seen: map[[2]uint64]bool{}, ignored: map[string]int{}}
	self := proto.Entry{ID: id, Name: name, Addrs: []string{id.Short() + ":1"}}
	n.d = New(w.cfg, self, rand.New(rand.NewPCG(w.rng.Uint64(), 1)), w.now)
	w.nodes = append(w.nodes, n)
	w.step(n, func(*proto.Out) {})
	return n
}

func (w *world) at(t time.Time, do func()) {
	w.seq++
	heap.Push(&w.queue, event{t, w.seq, do})
}

func (w *world) hop() time.Duration {
	return 200*time.Microsecond + time.Duration(w.rng.IntN(600))*time.Microsecond
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

// runUntil lets time pass until a fact holds, and tells how long it took.
func (w *world) runUntil(most time.Duration, fact func() bool) time.Duration {
	w.t.Helper()
	from := w.now
	for w.now.Sub(from) < most {
		if fact() {
			return w.now.Sub(from)
		}
		w.run(time.Millisecond)
	}
	w.t.Fatalf("did not come true within %v", most)
	return 0
}

// step lets a node do something, or puts it into the backlog of a stopped one.
func (w *world) step(n *node, do func(*proto.Out)) {
	switch n.state {
	case dead:
		return
	case stopped:
		n.backlog = append(n.backlog, func() { w.step(n, do) })
		return
	}
	var out proto.Out
	do(&out)
	for at := n.d.Deadline(); !at.IsZero() && !w.now.Before(at); at = n.d.Deadline() {
		n.d.Wake(w.now, &out)
	}
	n.d.Check()
	n.d.CheckInquiries()
	for i := 0; i < len(out.List); i++ {
		w.perform(n, out.List[i])
	}
	if at := n.d.Deadline(); !at.IsZero() && !at.Equal(n.wakeAt) {
		n.wakeAt = at
		w.at(at, func() {
			if n.wakeAt.Equal(at) || n.state == stopped {
				w.step(n, func(*proto.Out) {})
			}
		})
	}
}

func (w *world) perform(n *node, out proto.Output) {
	switch o := out.(type) {
	case proto.Send:
		if c := n.conns[o.Link]; c != nil {
			w.send(c, n, o.Msg)
		}
	case proto.Dial:
		w.dial(n, o)
	case proto.Hangup:
		if c := n.conns[o.Link]; c != nil {
			w.hangup(c, n)
		}
	case proto.PublishRecords:
		n.casts++
		w.flood(n, nil, [2]uint64{uint64(n.i), n.casts}, n.id, o.Records)
	case proto.MembersChanged:
		n.told = append(n.told, o.Changes...)
	case proto.Fatal:
		n.fatal = o.Why
		w.kill(n)
	case proto.Ignored:
		n.ignored[o.Why]++
	case proto.LinkTiming:
		if o.RTT < 0 || o.RTT > 10*time.Second {
			w.t.Fatalf("RTT %v", o.RTT)
		}
	default:
		w.t.Fatalf("unexpected output %T", out)
	}
}

func (w *world) flood(n *node, except *conn, id [2]uint64, origin peer.ID, records []proto.Record) {
	if n.seen[id] {
		return
	}
	n.seen[id] = true
	if n.id != origin {
		w.step(n, func(out *proto.Out) { n.d.Delivered(w.now, origin, proto.DirectoryBody{Records: records}, out) })
	}
	for _, c := range n.list() {
		if c != except && c.kind == proto.LinkOverlay {
			far := c.far(n)
			w.carry(c, n, func() { w.flood(far, c, id, origin, records) })
			w.sent["broadcast"]++
		}
	}
}

func (n *node) list() []*conn {
	var ids []proto.LinkID
	for id := range n.conns {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	var list []*conn
	for _, id := range ids {
		list = append(list, n.conns[id])
	}
	return list
}

func (c *conn) side(n *node) int {
	if c.ends[0] == n {
		return 0
	}
	return 1
}

func (c *conn) far(n *node) *node { return c.ends[1-c.side(n)] }

// carry brings something to the other end, in order, unless it is lost.
func (w *world) carry(c *conn, from *node, do func()) {
	s := c.side(from)
	at := w.now.Add(w.hop())
	if at.Before(c.after[s]) {
		at = c.after[s]
	}
	c.after[s] = at
	if w.cut(c.ends[0], c.ends[1]) {
		return
	}
	w.at(at, func() {
		far := c.ends[1-s]
		if !c.open[1-s] || w.cut(c.ends[0], c.ends[1]) {
			return
		}
		if far.state == stopped {
			far.backlog = append(far.backlog, func() {
				if c.open[1-s] {
					do()
				}
			})
			return
		}
		do()
	})
}

func (w *world) send(c *conn, from *node, msg proto.Message) {
	w.sent[fmt.Sprintf("%T", msg)]++
	if w.watch != nil {
		w.watch(msg)
	}
	far := c.far(from)
	id := c.ids[c.side(far)]
	w.carry(c, from, func() {
		w.step(far, func(out *proto.Out) { far.d.Receive(w.now, id, from.id, msg, out) })
	})
}

// connect opens a connection; both ends know at once.
func (w *world) connect(kind proto.LinkKind, a, b *node) *conn {
	c := &conn{kind: kind, ends: [2]*node{a, b}, open: [2]bool{true, true}}
	for i, n := range c.ends {
		n.links++
		c.ids[i] = n.links
		n.conns[n.links] = c
	}
	w.conns = append(w.conns, c)
	return c
}

func (w *world) dial(n *node, o proto.Dial) {
	w.sent["dial"]++
	var to *node
	for _, m := range w.nodes {
		if m.state != dead && m.id.Short()+":1" == o.Addrs[0] {
			to = m
		}
	}
	fail := func(after time.Duration, why proto.DialWhy) {
		w.at(w.now.Add(after), func() {
			w.step(n, func(out *proto.Out) { n.d.DialFailed(w.now, proto.DialFailed{Tag: o.Tag, Why: why}, out) })
		})
	}
	switch {
	case to == nil || w.reset(n, to):
		fail(2*w.hop(), proto.DialRefused)
	case to.state == stopped || w.cut(n, to):
		fail(o.Timeout, proto.DialTimeout)
	default:
		w.at(w.now.Add(4*w.hop()), func() { // TCP and TLS
			if to.state != running || n.state == dead || w.cut(n, to) {
				fail(o.Timeout, proto.DialTimeout)
				return
			}
			c := w.connect(o.Kind, n, to)
			w.step(n, func(out *proto.Out) {
				n.d.LinkUp(w.now, proto.LinkUp{Link: c.ids[0], Peer: to.d.Self().Info(), Kind: o.Kind, Dialed: true, Tag: o.Tag}, out)
			})
		})
	}
}

// gone tells one end that its connection ended.
func (w *world) gone(c *conn, s int, why proto.DownWhy) {
	n := c.ends[s]
	if !c.open[s] {
		return
	}
	c.open[s] = false
	delete(n.conns, c.ids[s])
	w.step(n, func(out *proto.Out) {
		if c.kind == proto.LinkOverlay {
			n.d.NeighborDown(w.now, c.ids[s], c.ends[1-s].id, why, out)
		} else if s == 0 {
			n.d.LinkDown(w.now, proto.LinkDown{Link: c.ids[s], Why: why}, out)
		}
	})
}

func (w *world) hangup(c *conn, n *node) {
	s := c.side(n)
	w.carry(c, n, func() { w.gone(c, 1-s, proto.DownClosed) })
	w.at(w.now, func() { w.gone(c, s, proto.DownHungUp) })
}

// repair brings up the links that should be there, as the views would, and
// others where somebody has too few.
func (w *world) repair() {
	for _, e := range w.edges {
		w.link(w.nodes[e[0]], w.nodes[e[1]])
	}
	for _, n := range w.nodes {
		for tries := 0; tries < 50 && len(n.d.links) < w.floor; tries++ {
			w.link(n, w.nodes[w.rng.IntN(len(w.nodes))])
		}
	}
	w.at(w.now.Add(500*time.Millisecond), w.repair)
}

// link makes two nodes neighbours if they can be and are not.
func (w *world) link(a, b *node) {
	if a == b || a.state != running || b.state != running || w.cut(a, b) || w.reset(a, b) || a.d.leaving || b.d.leaving {
		return
	}
	if slices.ContainsFunc(a.list(), func(c *conn) bool { return c.kind == proto.LinkOverlay && c.far(a) == b }) {
		return
	}
	c := w.connect(proto.LinkOverlay, a, b)
	w.step(a, func(out *proto.Out) { a.d.NeighborUp(w.now, c.ids[0], b.d.Self().Info(), out) })
	w.step(b, func(out *proto.Out) { b.d.NeighborUp(w.now, c.ids[1], a.d.Self().Info(), out) })
}

// --- verbs --------------------------------------------------------------------

// kill is SIGKILL: links break at once, nobody listens any more.
func (w *world) kill(n *node) {
	n.state, n.backlog = dead, nil
	for _, c := range n.list() {
		s := c.side(n)
		c.open[s] = false
		delete(n.conns, c.ids[s])
		w.carry(c, n, func() { w.gone(c, 1-s, proto.DownReset) })
	}
}

func (w *world) stop(n *node) { n.state = stopped }

// resume is SIGCONT: what the kernel took comes all at once.
func (w *world) resume(n *node) {
	n.state = running
	backlog := n.backlog
	n.backlog = nil
	for _, do := range backlog {
		do()
	}
	w.step(n, func(*proto.Out) {})
}

// leave says the last word, and the process ends a little later.
func (w *world) leave(n *node) {
	w.step(n, func(out *proto.Out) { n.d.Leave(w.now, out) })
	w.at(w.now.Add(200*time.Millisecond), func() { w.kill(n) })
}

// breakLink cuts what lies between two nodes by resetting it, as a firewall would.
func (w *world) breakLinks(rule func(a, b *node) bool) {
	w.reset = rule
	for _, c := range slices.Clone(w.conns) {
		if rule(c.ends[0], c.ends[1]) {
			w.gone(c, 0, proto.DownReset)
			w.gone(c, 1, proto.DownReset)
		}
	}
}

func (n *node) status(of *node) proto.Status {
	if m := n.d.Member(of.id); m != nil {
		return m.Status
	}
	return 0
}

// everybody tells whether all running nodes but of itself see it so.
func (w *world) everybody(of *node, status proto.Status) bool {
	for _, n := range w.nodes {
		if n != of && n.state == running && n.status(of) != status {
			return false
		}
	}
	return true
}

// settle waits until everybody running knows everybody running alive, and all know the same.
func (w *world) settle(most time.Duration) time.Duration {
	w.t.Helper()
	return w.runUntil(most, func() bool {
		return w.equal(w.nodes...) && !slices.ContainsFunc(w.nodes, func(n *node) bool {
			return n.state == running && !w.everybody(n, proto.StatusAlive)
		})
	})
}

// equal tells whether the running ones among the nodes know the same.
func (w *world) equal(nodes ...*node) bool {
	var first *node
	for _, n := range nodes {
		switch {
		case n.state != running:
		case first == nil:
			first = n
		case n.d.Digest() != first.d.Digest():
			return false
		}
	}
	return true
}

// tellings counts what a node was told about another.
func (n *node) tellings(of peer.ID, kind proto.ChangeKind) int {
	count := 0
	for _, c := range n.told {
		if c.Kind == kind && c.Member.Entry.ID == of {
			count++
		}
	}
	return count
}

// falseDowns counts certificates about nodes that were never to blame.
func (w *world) certifiedEver(of *node) bool {
	for _, n := range w.nodes {
		if r, ok := n.d.records.Get(of.id); ok && r.more().down > 0 {
			return true
		}
	}
	return false
}

// hashRecord is what a record adds to the digest, reckoned from what travels.
func hashRecord(rec *proto.Record) uint64 {
	sum := hashEntry(rec.Entry) + hashDown(rec.Entry.ID, rec.Down)
	for i := range rec.Opinions {
		sum += hashOpinion(&rec.Opinions[i])
	}
	return sum
}

// audit recomputes from scratch what is kept up to date step by step.
func (w *world) audit() {
	w.t.Helper()
	for _, n := range w.nodes {
		if n.state == dead {
			continue
		}
		var digest uint64
		var buckets [proto.Buckets]uint64
		living, recent := 0, 0
		for r := range n.d.records.All() {
			rec, id := r.export(), r.ID()
			if id != n.d.self.ID() || !n.d.newborn {
				digest += hashRecord(&rec)
				buckets[bucketOf(id)] += hashRecord(&rec)
			}
			if r.isLiving() {
				living++
			}
			if r.recent {
				recent++
			}
		}
		if digest != n.d.digest || buckets != n.d.buckets || living != n.d.living || recent != n.d.nRecent {
			w.t.Fatalf("node %d: what is counted along differs from what is there", n.i)
		}
	}
}

// --- graphs ---------------------------------------------------------------------

// regular is a random connected graph in which everybody has k links.
func regular(seed uint64, n, k int) [][2]int {
	rng := rand.New(rand.NewPCG(seed, 11))
	for {
		if edges, ok := pairUp(rng, n, k); ok {
			return edges
		}
	}
}

func pairUp(rng *rand.Rand, n, k int) ([][2]int, bool) {
	var stubs []int
	for i := range n {
		for range k {
			stubs = append(stubs, i)
		}
	}
	have := map[[2]int]bool{}
	var edges [][2]int
	for len(stubs) > 0 {
		placed := false
		for range 100 {
			i, j := rng.IntN(len(stubs)), rng.IntN(len(stubs))
			a, b := min(stubs[i], stubs[j]), max(stubs[i], stubs[j])
			if a == b || have[[2]int{a, b}] {
				continue
			}
			have[[2]int{a, b}] = true
			edges = append(edges, [2]int{a, b})
			i, j = max(i, j), min(i, j)
			stubs = slices.Delete(stubs, i, i+1)
			stubs = slices.Delete(stubs, j, j+1)
			placed = true
			break
		}
		if !placed {
			return nil, false
		}
	}
	return edges, true
}

func mesh(n int) [][2]int {
	var edges [][2]int
	for i := range n {
		for j := i + 1; j < n; j++ {
			edges = append(edges, [2]int{i, j})
		}
	}
	return edges
}
