package explore

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/plumtree"
	"github.com/starlingmesh/starling/overlay/proto"
)

const castStream = 3

// trees is a few Plumtrees whose links flap while they say something.
type trees struct {
	network
	now    time.Time
	nodes  []*plumtree.Tree
	told   []map[proto.MsgID]bool // delivered, per node
	gaps   []uint64
	sent   map[carried]bool
	says   []int // who says something, in this order
	flaps  int
	ticks  int
	atOnce bool // both ends notice a flap at once
	broken error
}

// carried is a body that went over a link, from one of its ends.
type carried struct {
	from int
	link proto.LinkID
	id   proto.MsgID
}

// said is when the broadcasts are said, and lastWord when their origin repeats how far it came.
var (
	said     = begin.Add(time.Minute)
	lastWord = said.Add(plumtree.Default().LastAfter[0])
)

func newTrees(n int, says []int, flaps, ticks int) *trees {
	w := &trees{now: begin, says: says, flaps: flaps, ticks: ticks, sent: map[carried]bool{}}
	for i := range n {
		w.nodes = append(w.nodes, plumtree.New(idOf(i), plumtree.Default()))
		w.told = append(w.told, map[proto.MsgID]bool{})
		w.gaps = append(w.gaps, 0)
	}
	for i := range n {
		for j := range i {
			w.join(j, i)
		}
	}
	w.now = said // nobody is a newcomer any more, who need not know what was said before
	return w
}

// join links two nodes, for both at once.
func (w *trees) join(i, j int) {
	c := w.open(i, j, proto.LinkOverlay, 0)
	for e := range 2 {
		c.Up[e] = true
		w.up(c, e)
	}
}

func (w *trees) up(c *conn, e int) {
	w.step(c.Ends[e], func(t *plumtree.Tree, out *proto.Out) { t.NeighborUp(w.now, c.ID, idOf(c.Ends[1-e]), out) })
}

func (w *trees) down(c *conn, e int) {
	w.step(c.Ends[e], func(t *plumtree.Tree, out *proto.Out) { t.NeighborDown(w.now, c.ID, out) })
}

func (w *trees) receive(c *conn, e int, m proto.Message) {
	w.step(c.Ends[e], func(t *plumtree.Tree, out *proto.Out) { t.Receive(w.now, c.ID, idOf(c.Ends[1-e]), m, out) })
}

func (w *trees) step(i int, do func(*plumtree.Tree, *proto.Out)) {
	var out proto.Out
	do(w.nodes[i], &out)
	w.nodes[i].Check() // P1, P6, P7
	for _, o := range out.List {
		switch o := o.(type) {
		case proto.Send:
			if g, ok := o.Msg.(proto.Gossip); ok {
				key := carried{i, o.Link, g.ID}
				if w.sent[key] {
					w.fail("P9: n%d sends %v twice over link %d", i, g.ID, o.Link)
				}
				w.sent[key] = true
			}
			w.send(i, o.Link, o.Msg)
		case proto.DeliverBody:
			if w.told[i][o.ID] {
				w.fail("P2: n%d delivers %v twice", i, o.ID)
			}
			w.told[i][o.ID] = true
			if o.Body.(proto.CastBody).Topic != topicOf(o.ID.Origin, o.ID.Seq) {
				w.fail("P3: n%d delivers %v, which says %v", i, o.ID, o.Body)
			}
			if o.ID.Seq > 1 && !w.told[i][proto.MsgID{Origin: o.ID.Origin, Stream: o.ID.Stream, Seq: o.ID.Seq - 1}] {
				w.fail("P10: n%d delivers %v and nothing before it", i, o.ID)
			}
		case proto.Gap:
			w.gaps[i] += o.Count
		case proto.Ignored:
		default:
			panic(fmt.Sprintf("an output %T", o))
		}
	}
}

// topicOf is what a broadcast says: its own name.
func topicOf(origin peer.ID, n uint64) string { return string([]byte{origin[0], byte(n)}) }

func (w *trees) fail(format string, args ...any) {
	if w.broken == nil {
		w.broken = fmt.Errorf(format, args...)
	}
}

func (w *trees) Moves() []Move {
	moves := w.news(w.up, w.down, w.receive)
	if len(w.says) > 0 {
		moves = append(moves, Move{name("n%d says something", w.says[0]), w.say})
	}
	if w.flaps > 0 {
		for _, c := range w.Conns {
			if !c.Over && c.Up[0] && c.Up[1] {
				moves = append(moves, Move{name("link %d flaps", c.ID), func() { w.flap(c) }})
			}
		}
	}
	next := soonest(w.nodes)
	if w.ticks > 0 && !next.IsZero() && (!w.atOnce || len(moves) == 0 && next.Before(lastWord)) {
		moves = append(moves, Move{name("time passes"), func() { w.ticks--; w.tick(next) }})
	}
	return moves
}

func (w *trees) say() {
	i := w.says[0]
	w.says = w.says[1:]
	n := 1
	for id := range w.told[i] {
		if id.Origin == idOf(i) {
			n++
		}
	}
	w.step(i, func(t *plumtree.Tree, out *proto.Out) {
		t.Publish(w.now, castStream, proto.CastBody{Topic: topicOf(idOf(i), uint64(n))}, out)
	})
}

// flap breaks a link: what it carried is lost, and a new one is up. Each end
// notices in its own time, unless the world is atOnce.
func (w *trees) flap(c *conn) {
	w.flaps--
	c.finish()
	if !w.atOnce {
		w.open(c.Ends[0], c.Ends[1], proto.LinkOverlay, 0)
		return
	}
	for e := range 2 {
		c.Down[e], c.Q[e] = true, nil
		w.down(c, e)
	}
	w.sweep()
	w.join(c.Ends[0], c.Ends[1])
}

func (w *trees) tick(until time.Time) bool {
	at := soonest(w.nodes)
	if at.IsZero() || at.After(until) {
		return false
	}
	if at.After(w.now) {
		w.now = at
	}
	for i, n := range w.nodes {
		if proto.Due(w.now, n.Deadline()) {
			w.step(i, func(t *plumtree.Tree, out *proto.Out) { t.Wake(w.now, out) })
		}
	}
	return true
}

func (w *trees) Check() error { return w.broken }

func (w *trees) Dump(d *Dump) {
	d.At(w.now)
	d.Skip(plumtree.Config{})
	d.Add(w.network, w.nodes, w.told, w.gaps, w.says, w.flaps, w.ticks)
}

// End: left alone, everybody has everything (P4), and nobody was told of a gap. Where both ends notice a flap at once it
// is there before its origin repeats how far it came: announcements and requests alone mend what a flap has lost.
func (w *trees) End() error {
	if w.atOnce {
		if err := w.all(lastWord.Add(-time.Millisecond)); err != nil {
			return fmt.Errorf("%w, and only its origin's last word mends that", err)
		}
	}
	return w.all(w.now.Add(30 * time.Second))
}

// all plays what is under way until then, and tells who misses what.
func (w *trees) all(until time.Time) error {
	quiet := func() []Move { return w.news(w.up, w.down, w.receive) }
	if err := drain(quiet, w.tick, until); err != nil || w.broken != nil {
		return errors.Join(w.broken, err)
	}
	known := map[proto.MsgID]bool{}
	for _, told := range w.told {
		for id := range told {
			known[id] = true
		}
	}
	for i, told := range w.told {
		if len(told) != len(known) || w.gaps[i] > 0 {
			return fmt.Errorf("P4: n%d has %d of %d broadcasts and was told of %d lost", i, len(told), len(known), w.gaps[i])
		}
	}
	return nil
}

// Three nodes, three broadcasts of two of them, two links that flap at any moment.
func TestEveryBroadcastReachesEverybodyThoughLinksFlap(t *testing.T) {
	type world struct {
		what         string
		says         []int // who says something, at any moment
		at           []int // who has said something at the start
		flaps, ticks int
		atOnce       bool
	}
	worlds := []world{
		{"two broadcasts of one, a link flaps", []int{0, 0}, nil, 1, 1, true},
		{"one broadcast, two flaps", []int{0}, nil, 2, 1, true},
		{"three broadcasts of two at once", nil, []int{0, 1, 0}, 0, 1, true},
		{"three broadcasts of one at once, a flap", nil, []int{0, 0, 0}, 1, 0, true},
	}
	if *deep {
		worlds = append(worlds,
			world{"two broadcasts of two, a link flaps", []int{0, 1}, nil, 1, 1, true},
			world{"one broadcast, a flap, each end notices", []int{0}, nil, 1, 1, false},
			world{"three broadcasts of two at once, a flap", nil, []int{0, 1, 0}, 1, 0, true},
			world{"three broadcasts of one at once, two flaps", nil, []int{0, 0, 0}, 2, 0, true},
		)
	}
	for _, c := range worlds {
		visitAll(t, c.what, func() World {
			w := newTrees(3, append(c.at, c.says...), c.flaps, c.ticks)
			w.atOnce = c.atOnce
			for range c.at {
				w.say()
			}
			return w
		})
	}
}
