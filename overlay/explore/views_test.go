package explore

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/hyparview"
	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// linked is a few Views that find each other and lose connections.
type linked struct {
	network
	now    time.Time
	nodes  []*hyparview.Views
	active []map[peer.ID]proto.LinkID // as NeighborUp and its ends tell
	drains []map[proto.LinkID]peer.ID
	breaks int
	ticks  int
	prompt bool // there is no fault and no time: the links are there when all is said
	calm   bool // time passes only when nothing is under way
	want   int  // links each has in the end
	broken error
}

// newLinked makes n nodes; those that know say to whom.
func newLinked(cfg hyparview.Config, know map[int][]int, breaks, ticks, want int) *linked {
	w := &linked{now: begin, breaks: breaks, ticks: ticks, want: want}
	n := len(know)
	for i := range n {
		w.nodes = append(w.nodes, hyparview.New(cfg, infoOf(i), begin, noChance()))
		w.active = append(w.active, map[peer.ID]proto.LinkID{})
		w.drains = append(w.drains, map[proto.LinkID]peer.ID{})
	}
	for i := range n {
		var list []proto.Contact
		for _, j := range know[i] {
			list = append(list, proto.Contact{Addrs: infoOf(j).Addrs})
		}
		w.step(i, func(v *hyparview.Views, out *proto.Out) { v.Contacts(begin, list, out) })
	}
	w.tick(begin)
	return w
}

func (w *linked) step(i int, do func(*hyparview.Views, *proto.Out)) {
	var out proto.Out
	do(w.nodes[i], &out)
	w.nodes[i].Check() // H1, H2, H3, H6
	for _, o := range out.List {
		w.perform(i, o)
	}
	ids := w.nodes[i].Active()
	for _, id := range ids {
		if l, _ := w.nodes[i].Link(id); w.active[i][id] != l {
			w.fail("H3: n%d has a link to %v that it did not tell of", i, id.Short())
		}
	}
	if len(ids) != len(w.active[i]) {
		w.fail("H3: n%d tells of %d members and has %d", i, len(w.active[i]), len(ids))
	}
}

func (w *linked) perform(i int, o proto.Output) {
	switch o := o.(type) {
	case proto.Dial:
		var to int
		if _, err := fmt.Sscan(o.Addrs[0], &to); err != nil {
			panic(err)
		}
		w.open(i, to, o.Kind, o.Tag)
	case proto.Send:
		w.send(i, o.Link, o.Msg)
	case proto.SendTo: // a shuffle's answer: it only fills passive views
	case proto.Hangup:
		c := w.find(o.Link)
		e := c.end(i)
		c.Over, c.Flush, c.Q[e] = true, o.Flush, nil
	case proto.NeighborUp:
		if c := w.find(o.Link); c == nil || c.Over && len(c.Q[c.end(i)]) == 0 && c.Down[c.end(i)] {
			w.fail("H7: n%d counts link %d, which is over", i, o.Link)
		}
		w.active[i][o.Peer.ID] = o.Link
	case proto.NeighborDraining:
		delete(w.active[i], o.Peer)
		w.drains[i][o.Link] = o.Peer
	case proto.NeighborDown:
		if w.active[i][o.Peer] == o.Link {
			delete(w.active[i], o.Peer)
		} else if w.drains[i][o.Link] != o.Peer {
			w.fail("H7: n%d lost link %d to %v, which was none of its members'", i, o.Link, o.Peer.Short())
		}
		delete(w.drains[i], o.Link)
	case proto.ContactsWanted, proto.Ignored:
	default:
		panic(fmt.Sprintf("an output %T", o))
	}
}

func (w *linked) fail(format string, args ...any) {
	if w.broken == nil {
		w.broken = fmt.Errorf(format, args...)
	}
}

func (w *linked) up(c *conn, e int) {
	up := proto.LinkUp{Link: c.ID, Peer: infoOf(c.Ends[1-e]), Kind: c.Kind, Dialed: e == 0}
	if e == 0 {
		up.Tag = c.Tag
	}
	w.step(c.Ends[e], func(v *hyparview.Views, out *proto.Out) { v.LinkUp(w.now, up, out) })
}

func (w *linked) down(c *conn, e int) {
	w.step(c.Ends[e], func(v *hyparview.Views, out *proto.Out) {
		v.LinkDown(w.now, proto.LinkDown{Link: c.ID, Why: proto.DownReset}, out)
	})
}

func (w *linked) receive(c *conn, e int, m proto.Message) {
	w.step(c.Ends[e], func(v *hyparview.Views, out *proto.Out) { v.Receive(w.now, c.ID, idOf(c.Ends[1-e]), m, out) })
}

// news is what the network has to tell: also that a dial failed, because the
// connection broke before the dialling side saw it.
func (w *linked) news() []Move {
	moves := w.network.news(w.up, w.down, w.receive)
	for _, c := range w.Conns {
		if c.Over && !c.Up[0] && !c.Down[0] {
			moves = append(moves, Move{name("n%d: dial %d failed", c.Ends[0], c.ID), func() {
				c.Down[0] = true
				w.sweep()
				w.step(c.Ends[0], func(v *hyparview.Views, out *proto.Out) {
					v.DialFailed(w.now, proto.DialFailed{Tag: c.Tag, Why: proto.DialTimeout}, out)
				})
			}})
		}
	}
	return moves
}

func (w *linked) Moves() []Move {
	moves := w.news()
	if w.ticks > 0 && (!w.calm || len(moves) == 0) {
		moves = append(moves, Move{name("time passes"), func() { w.ticks--; w.tick(w.now.Add(time.Hour)) }})
	}
	if w.breaks > 0 {
		for _, c := range w.Conns {
			if !c.Over {
				moves = append(moves, Move{name("link %d breaks", c.ID), func() {
					w.breaks--
					c.Q = [2][]proto.Message{}
					c.finish()
					w.sweep()
				}})
			}
		}
	}
	return moves
}

func (w *linked) tick(until time.Time) bool {
	at := soonest(w.nodes)
	if at.IsZero() || at.After(until) {
		return false
	}
	if at.After(w.now) {
		w.now = at
	}
	for i, n := range w.nodes {
		if proto.Due(w.now, n.Deadline()) {
			w.step(i, func(v *hyparview.Views, out *proto.Out) { v.Wake(w.now, out) })
		}
	}
	return true
}

// Check: at rest links are symmetric (H9).
func (w *linked) Check() error {
	if w.broken != nil || !w.quiet() || len(w.news()) > 0 {
		return w.broken
	}
	for i, members := range w.active {
		for id, l := range members {
			if j := int(id[0]) - 1; w.active[j][idOf(i)] != l {
				return fmt.Errorf("H9: n%d has n%d as a member over link %d, n%d has link %d", i, j, l, j, w.active[j][idOf(i)])
			}
		}
	}
	return nil
}

func (w *linked) Dump(d *Dump) {
	d.At(w.now)
	d.Skip(hyparview.Config{})
	d.Add(w.network, w.nodes, w.active, w.drains, w.breaks, w.ticks)
}

// End: left alone for a minute, all have their links (H10, H11).
func (w *linked) End() error {
	for i, members := range w.active {
		if w.prompt && len(members) < w.want {
			return fmt.Errorf("n%d has %d links at rest, want %d: two dials at once killed each other", i, len(members), w.want)
		}
	}
	if err := drain(w.news, w.tick, w.now.Add(time.Minute)); err != nil || w.broken != nil {
		return errors.Join(w.broken, err)
	}
	if err := drain(w.news, func(time.Time) bool { return false }, w.now); err != nil {
		return err
	}
	for i, members := range w.active {
		if len(members) < w.want {
			return fmt.Errorf("H11: n%d has %d links after a minute in peace, want %d", i, len(members), w.want)
		}
	}
	return w.Check()
}

func viewsConfig(active int) hyparview.Config {
	cfg := hyparview.Default()
	cfg.Active, cfg.Floor, cfg.StartJitter = active, active, 0
	return cfg
}

func TestLinksAreSymmetricWhateverBreaks(t *testing.T) {
	one := map[int][]int{0: {1}, 1: {}}
	both := map[int][]int{0: {1}, 1: {0}}
	chain := map[int][]int{0: {}, 1: {0}, 2: {1}}
	ring := map[int][]int{0: {1}, 1: {2}, 2: {0}}
	type world struct {
		what                        string
		know                        map[int][]int
		active, breaks, ticks, want int
		restless                    bool // time passes at any moment
	}
	worlds := []world{
		{"two dial each other, a break", both, 2, 1, 1, 1, false},
		{"two dial each other, nothing breaks", both, 2, 0, 0, 1, false},
		{"one dials, time passes at any moment", one, 2, 0, 3, 1, true},
		{"three join in a chain, a break", chain, 2, 1, 0, 2, false},
		{"three with room for one link each", chain, 1, 0, 1, 0, false},
		{"three join in a ring, a break", ring, 2, 1, 0, 2, false},
	}
	if *deep {
		worlds = append(worlds, world{"three join in a ring, two breaks", ring, 2, 2, 0, 2, false})
	}
	for _, c := range worlds {
		visitAll(t, c.what, func() World {
			w := newLinked(viewsConfig(c.active), c.know, c.breaks, c.ticks, c.want)
			w.calm, w.prompt = !c.restless, c.breaks+c.ticks == 0
			return w
		})
	}
}
