package explore

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/directory"
	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// parted is three directories. The first is cut off from the others until each
// side has certified the other down; then the cut heals, and it is from there
// that every order of events is explored.
type parted struct {
	network
	now    time.Time
	nodes  []*directory.Directory
	cut    bool
	seq    uint64                  // of broadcasts
	known  []map[peer.ID][2]uint64 // highest (incarnation, version) seen, per observer
	up     []map[peer.ID]bool      // as applications were told
	dials  []dialled
	ticks  int
	calm   bool // time passes only when nothing is under way
	broken error
}

// dialled is a dial that is not answered yet.
type dialled struct {
	from, to int
	kind     proto.LinkKind
	tag      uint64
}

func partedConfig() directory.Config {
	cfg := directory.Default()
	cfg.PerNode = true
	cfg.SuspectMin, cfg.SuspectMax = time.Second, time.Second
	cfg.ProbeEvery = time.Hour
	return cfg
}

func newParted(ticks int, calm bool) *parted {
	w := &parted{now: begin, ticks: ticks, calm: calm}
	for i := range 3 {
		info := infoOf(i)
		self := proto.Entry{ID: info.ID, Name: info.Name, Addrs: info.Addrs}
		w.nodes = append(w.nodes, directory.New(partedConfig(), self, noChance(), begin))
		w.known = append(w.known, map[peer.ID][2]uint64{})
		w.up = append(w.up, map[peer.ID]bool{})
	}
	w.link(0, 1)
	w.link(0, 2)
	w.link(1, 2)
	w.wait(2 * time.Second)
	w.cut = true
	for _, c := range w.Conns {
		if c.Ends[0] == 0 {
			c.finish()
		}
	}
	for range 60 {
		w.wait(time.Second)
		if w.certified(0, 1) && w.certified(0, 2) && w.certified(1, 0) && w.certified(2, 0) {
			break
		}
	}
	w.cut = false
	w.link(0, 1)
	w.link(0, 2)
	return w
}

func (w *parted) certified(by, who int) bool {
	m := w.nodes[by].Member(idOf(who))
	return m != nil && m.Status == proto.StatusDown
}

func (w *parted) link(i, j int) { w.open(i, j, proto.LinkOverlay, 0) }

// wait lets time run, with everything in the order of the network's list.
func (w *parted) wait(d time.Duration) {
	until := w.now.Add(d)
	if err := drain(w.news, w.tick, until); err != nil {
		panic(err)
	}
	w.now = until
}

func (w *parted) step(i int, do func(*directory.Directory, *proto.Out)) {
	var out proto.Out
	do(w.nodes[i], &out)
	w.nodes[i].Check() // D6, D8
	for _, o := range out.List {
		w.perform(i, o)
	}
	for _, m := range w.nodes[i].Roster().Members {
		e := m.Entry
		is, was := [2]uint64{e.Incarnation, e.Version}, w.known[i][e.ID]
		if is[0] < was[0] || is[0] == was[0] && is[1] < was[1] {
			w.fail("D1: n%d knew n%d as %v and now as %v", i, e.ID[0]-1, was, is)
		}
		w.known[i][e.ID] = is
		own := w.nodes[int(e.ID[0])-1].Self()
		if e.Newer(own) {
			w.fail("D2: n%d knows n%d as %v, which it never said", i, e.ID[0]-1, is)
		}
	}
}

func (w *parted) perform(i int, o proto.Output) {
	switch o := o.(type) {
	case proto.Send:
		w.send(i, o.Link, o.Msg)
	case proto.PublishRecords:
		w.seq++
		for _, c := range w.Conns {
			if c.Kind == proto.LinkOverlay && (c.Ends[0] == i || c.Ends[1] == i) {
				w.send(i, c.ID, proto.Gossip{ID: proto.MsgID{Origin: idOf(i), Seq: w.seq}, Body: proto.DirectoryBody(o)})
			}
		}
	case proto.Dial:
		var to int
		if _, err := fmt.Sscan(o.Addrs[0], &to); err != nil {
			panic(err)
		}
		w.dials = append(w.dials, dialled{i, to, o.Kind, o.Tag})
	case proto.Hangup:
		if c := w.find(o.Link); c != nil {
			c.finish()
			c.Down[c.end(i)], c.Q[c.end(i)] = true, nil
			w.sweep()
		}
	case proto.MembersChanged:
		for _, ch := range o.Changes {
			w.told(i, ch)
		}
	case proto.LinkTiming, proto.Ignored:
	default:
		panic(fmt.Sprintf("an output %T", o))
	}
}

// told: for each member up, then exactly one down (M11, D11).
func (w *parted) told(i int, ch proto.MemberChange) {
	id := ch.Member.Entry.ID
	switch ch.Kind {
	case proto.ChangeUp:
		if w.up[i][id] {
			w.fail("D11: n%d is told twice that n%d is up", i, id[0]-1)
		}
		w.up[i][id] = true
	case proto.ChangeDown, proto.ChangeLeft:
		if !w.up[i][id] {
			w.fail("D11: n%d is told that n%d is down, which was not up", i, id[0]-1)
		}
		w.up[i][id] = false
	case proto.ChangeUpdated, proto.ChangeSuspect, proto.ChangeUnsuspect:
	}
}

func (w *parted) fail(format string, args ...any) {
	if w.broken == nil {
		w.broken = fmt.Errorf(format, args...)
	}
}

func (w *parted) linkUp(c *conn, e int) {
	if c.Kind == proto.LinkOverlay {
		w.step(c.Ends[e], func(d *directory.Directory, out *proto.Out) { d.NeighborUp(w.now, c.ID, infoOf(c.Ends[1-e]), out) })
	}
}

func (w *parted) linkDown(c *conn, e int) {
	w.step(c.Ends[e], func(d *directory.Directory, out *proto.Out) {
		if c.Kind == proto.LinkOverlay {
			d.NeighborDown(w.now, c.ID, idOf(c.Ends[1-e]), proto.DownReset, out)
		} else if e == 0 {
			d.LinkDown(w.now, proto.LinkDown{Link: c.ID, Why: proto.DownClosed}, out)
		}
	})
}

func (w *parted) receive(c *conn, e int, m proto.Message) {
	w.step(c.Ends[e], func(d *directory.Directory, out *proto.Out) {
		if g, ok := m.(proto.Gossip); ok {
			d.Delivered(w.now, g.ID.Origin, g.Body.(proto.DirectoryBody), out)
			return
		}
		d.Receive(w.now, c.ID, idOf(c.Ends[1-e]), m, out)
	})
}

func (w *parted) news() []Move {
	moves := w.network.news(w.linkUp, w.linkDown, w.receive)
	for k, d := range w.dials {
		moves = append(moves, Move{name("n%d's dial of n%d is answered", d.from, d.to), func() { w.answer(k) }})
	}
	return moves
}

// answer ends a dial: refused while the cut lasts.
func (w *parted) answer(k int) {
	o := w.dials[k]
	w.dials = append(append([]dialled{}, w.dials[:k]...), w.dials[k+1:]...)
	if w.cut && (o.from == 0) != (o.to == 0) {
		w.step(o.from, func(d *directory.Directory, out *proto.Out) {
			d.DialFailed(w.now, proto.DialFailed{Tag: o.tag, Why: proto.DialRefused}, out)
		})
		return
	}
	c := w.open(o.from, o.to, o.kind, o.tag)
	c.Up = [2]bool{true, true}
	w.step(o.from, func(d *directory.Directory, out *proto.Out) {
		d.LinkUp(w.now, proto.LinkUp{Link: c.ID, Peer: infoOf(o.to), Kind: o.kind, Dialed: true, Tag: o.tag}, out)
	})
}

func (w *parted) Moves() []Move {
	moves := w.news()
	if w.ticks > 0 && (!w.calm || len(moves) == 0) {
		moves = append(moves, Move{name("time passes"), func() { w.ticks--; w.tick(w.now.Add(time.Hour)) }})
	}
	return moves
}

func (w *parted) tick(until time.Time) bool {
	at := soonest(w.nodes)
	if at.IsZero() || at.After(until) {
		return false
	}
	if at.After(w.now) {
		w.now = at
	}
	for i, n := range w.nodes {
		if proto.Due(w.now, n.Deadline()) {
			w.step(i, func(d *directory.Directory, out *proto.Out) { d.Wake(w.now, out) })
		}
	}
	return true
}

func (w *parted) Check() error { return w.broken }

func (w *parted) Dump(d *Dump) {
	d.At(w.now)
	d.Skip(directory.Config{})
	d.Skip(proto.Roster{})
	d.Add(w.network, w.nodes, w.known, w.up, w.dials, w.ticks)
}

// End: left alone, all agree that all are alive (D7).
func (w *parted) End() error {
	if err := drain(w.news, w.tick, w.now.Add(20*time.Second)); err != nil || w.broken != nil {
		return errors.Join(w.broken, err)
	}
	for i, n := range w.nodes {
		if n.Digest() != w.nodes[0].Digest() {
			return fmt.Errorf("D7: n%d and n0 differ after 20 s in peace", i)
		}
		for j := range w.nodes {
			if m := n.Member(idOf(j)); m == nil || m.Status != proto.StatusAlive || !w.up[i][idOf(j)] {
				return fmt.Errorf("D7: n%d does not take n%d for alive after 20 s in peace", i, j)
			}
		}
	}
	return nil
}

func TestBothSidesOfACutAgreeAfterIt(t *testing.T) {
	w := newParted(0, true)
	if !w.certified(0, 1) || !w.certified(0, 2) || !w.certified(1, 0) || !w.certified(2, 0) {
		t.Fatal("the sides have not certified each other down: nothing is shown")
	}
	visitAll(t, "a cut heals, time passes in calm", func() World { return newParted(4, true) })
	if *deep {
		visitAll(t, "a cut heals, time passes at any moment", func() World { return newParted(1, false) })
	}
}
