package explore

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/wave"
)

const (
	waveRef    = 7
	waveBudget = 3 * time.Second
)

// asked is a few Waves of which the first asks everybody once.
type asked struct {
	network
	now     time.Time
	nodes   []*asker
	crashes int
	breaks  int
	adds    [][2]int // links that may come up
	ticks   int
	peace   bool // nothing breaks: the wave ends by itself and is not called off
	calm    bool // time passes only when nothing is under way
	done    bool
	words   map[word]bool // that were said
	took    time.Duration // until the last verdict
	broken  error
}

// word is what one end of a link has to say in a round of the wave: CALL, TOOK or SEEN.
type word struct {
	from  int
	link  proto.LinkID
	round uint8
}

// asker is one node, and what its wave reads of a directory that never changes.
type asker struct {
	*wave.Wave
	roster  *proto.Roster
	entry   *proto.Entry
	dead    bool
	runs    int
	failed  []proto.SendTo // to nodes that are not there
	verdict map[peer.ID]proto.CallVerdict
}

func (a *asker) Roster() *proto.Roster           { return a.roster }
func (a *asker) Member(id peer.ID) *proto.Member { return a.roster.Get(id) }
func (a *asker) Self() *proto.Entry              { return a.entry }

func newAsked(n int, edges [][2]int) *asked {
	w := &asked{now: begin.Add(time.Hour), words: map[word]bool{}}
	var members []*proto.Member
	for i := range n {
		info := infoOf(i)
		e := &proto.Entry{ID: info.ID, Name: info.Name, Addrs: info.Addrs, Birth: 1, Incarnation: 1, Version: 1}
		members = append(members, &proto.Member{Entry: e, Status: proto.StatusAlive, Since: begin})
	}
	for i := range n {
		a := &asker{entry: members[i].Entry, roster: &proto.Roster{Self: idOf(i), Members: members}, verdict: map[peer.ID]proto.CallVerdict{}}
		a.Wave = wave.New(wave.Default(), idOf(i), a, noChance(), begin)
		w.nodes = append(w.nodes, a)
	}
	for _, e := range edges {
		w.join(e[0], e[1], proto.LinkOverlay)
	}
	w.step(0, func(v *wave.Wave, out *proto.Out) {
		v.Start(w.now, proto.StartCall{Ref: waveRef, Request: proto.Request{Mode: proto.ModeCall, Method: "m"}, Budget: waveBudget}, out)
	})
	return w
}

// join makes a connection that both ends know at once.
func (w *asked) join(i, j int, kind proto.LinkKind) *conn {
	c := w.open(i, j, kind, 0)
	c.Up = [2]bool{true, true}
	for e := range 2 {
		a := w.nodes[c.Ends[e]]
		a.LinkUp(w.now, c.ID)
		a.Timing(w.now, c.ID, time.Millisecond, 0)
		if kind == proto.LinkOverlay {
			w.step(c.Ends[e], func(v *wave.Wave, out *proto.Out) { v.NeighborUp(w.now, c.ID, infoOf(c.Ends[1-e]), out) })
		}
	}
	return c
}

func (w *asked) step(i int, do func(*wave.Wave, *proto.Out)) {
	a := w.nodes[i]
	if a.dead {
		return
	}
	var out proto.Out
	do(a.Wave, &out)
	for k := 0; k < len(out.List); k++ { // a handler's answer adds to it
		switch o := out.List[k].(type) {
		case proto.Send:
			if _, off := o.Msg.(proto.Cancel); off && w.peace {
				w.fail("M2: n%d calls off a wave in which nothing broke", i)
			}
			w.answersOnce(i, o)
			w.send(i, o.Link, o.Msg)
		case proto.SendTo:
			w.sendTo(i, o)
		case proto.Dispatch:
			if a.runs++; a.runs > 1 {
				w.fail("M4: n%d runs the call twice", i)
			}
			if v := w.nodes[0].verdict[idOf(i)]; v.Verdict != 0 && v.Executed == proto.ExecutedNo {
				w.fail("M3: n%d runs, and was told as %v, executed: no", i, v.Verdict)
			}
			a.Result(w.now, o.ID, proto.Result{Outcome: proto.Replied, Executed: proto.ExecutedYes, Stage: proto.StageFinished}, &out)
		case proto.CallVerdict:
			w.verdict(o)
		case proto.CallDone:
			w.done = true
			w.took = w.now.Sub(begin.Add(time.Hour))
			if len(w.nodes[0].verdict) != len(w.nodes) {
				w.fail("M1: the call is done with %d verdicts of %d", len(w.nodes[0].verdict), len(w.nodes))
			}
		case proto.CallStarted, proto.CancelDispatch, proto.Ignored:
		default:
			panic(fmt.Sprintf("an output %T", o))
		}
	}
}

// answersOnce: a CALL gets one answer on its link, TOOK or SEEN or the CALL that crosses it.
func (w *asked) answersOnce(i int, o proto.Send) {
	said := word{from: i, link: o.Link}
	switch m := o.Msg.(type) {
	case proto.Call:
		said.round = m.Round
	case proto.Took:
		said.round = m.Round
	case proto.Seen:
		said.round = m.Round
	default:
		return
	}
	if w.words[said] {
		w.fail("M1: n%d speaks twice on link %d, now %T", i, o.Link, o.Msg)
	}
	w.words[said] = true
}

func (w *asked) verdict(v proto.CallVerdict) {
	a, i := w.nodes[0], int(v.Node[0])-1
	if _, twice := a.verdict[v.Node]; twice || v.Extra {
		w.fail("M1: n%d gets another verdict, %v", i, v.Verdict)
	}
	a.verdict[v.Node] = v
	switch ran := w.nodes[i].runs > 0; {
	case v.Executed == proto.ExecutedNo && ran:
		w.fail("M3: n%d ran and is told as %v, executed: no", i, v.Verdict)
	case v.Executed == proto.ExecutedYes && !ran:
		w.fail("M3: n%d did not run and is told as %v, executed: yes", i, v.Verdict)
	}
}

func (w *asked) fail(format string, args ...any) {
	if w.broken == nil {
		w.broken = fmt.Errorf(format, args...)
	}
}

// sendTo uses a neighbour's link or a pooled one, as the core does.
func (w *asked) sendTo(i int, o proto.SendTo) {
	j := int(o.Peer.ID[0]) - 1
	for _, c := range w.Conns {
		if c.between(i, j) && !c.Over && !c.Down[c.end(i)] && (c.Kind == proto.LinkPool || !o.Fresh) {
			w.send(i, c.ID, o.Msg)
			return
		}
	}
	if w.nodes[j].dead {
		w.nodes[i].failed = append(w.nodes[i].failed, o)
		return
	}
	w.send(i, w.join(i, j, proto.LinkPool).ID, o.Msg)
}

func (w *asked) down(c *conn, e int) {
	w.step(c.Ends[e], func(v *wave.Wave, out *proto.Out) { v.LinkDown(w.now, c.ID, idOf(c.Ends[1-e]), out) })
}

func (w *asked) receive(c *conn, e int, m proto.Message) {
	w.step(c.Ends[e], func(v *wave.Wave, out *proto.Out) { v.Receive(w.now, c.ID, infoOf(c.Ends[1-e]), m, out) })
}

func (w *asked) news() []Move {
	moves := w.network.news(func(*conn, int) {}, w.down, w.receive)
	for i, a := range w.nodes {
		if len(a.failed) > 0 && !a.dead {
			moves = append(moves, Move{name("n%d cannot reach %v", i, a.failed[0].Peer.Name), func() {
				o := a.failed[0]
				a.failed = a.failed[1:]
				w.step(i, func(v *wave.Wave, out *proto.Out) {
					v.SendFailed(w.now, o.Peer.ID, o.Msg, proto.DialRefused, false, out)
				})
			}})
		}
	}
	return moves
}

func (w *asked) Moves() []Move {
	if w.done { // what a wave still does when its call is done, End plays
		return nil
	}
	moves := w.news()
	if w.ticks > 0 && (!w.calm || len(moves) == 0) {
		moves = append(moves, Move{name("time passes"), func() { w.ticks--; w.tick(w.now.Add(time.Hour)) }})
	}
	if w.crashes > 0 {
		for i := 1; i < len(w.nodes); i++ {
			moves = append(moves, Move{name("n%d crashes", i), func() { w.crash(i) }})
		}
	}
	for _, c := range w.Conns {
		if w.breaks > 0 && !c.Over && c.Kind == proto.LinkOverlay {
			moves = append(moves, Move{name("link %d breaks", c.ID), func() { w.breaks--; c.finish() }})
		}
	}
	for k, e := range w.adds {
		moves = append(moves, Move{name("n%d and n%d are linked", e[0], e[1]), func() {
			w.adds = append(append([][2]int{}, w.adds[:k]...), w.adds[k+1:]...)
			if !w.nodes[e[0]].dead && !w.nodes[e[1]].dead {
				w.join(e[0], e[1], proto.LinkOverlay)
			}
		}})
	}
	return moves
}

func (w *asked) crash(i int) {
	w.crashes--
	w.nodes[i].dead = true
	for _, c := range w.Conns {
		if c.Ends[0] == i || c.Ends[1] == i {
			c.finish()
			c.Down[c.end(i)], c.Q[c.end(i)] = true, nil
		}
	}
	w.sweep()
}

func (w *asked) tick(until time.Time) bool {
	var living []*asker
	for _, a := range w.nodes {
		if !a.dead {
			living = append(living, a)
		}
	}
	at := soonest(living)
	if at.IsZero() || at.After(until) {
		return false
	}
	if at.After(w.now) {
		w.now = at
	}
	for i, a := range w.nodes {
		if !a.dead && proto.Due(w.now, a.Deadline()) {
			w.step(i, func(v *wave.Wave, out *proto.Out) { v.Wake(w.now, out) })
		}
	}
	return true
}

func (w *asked) Check() error { return w.broken }

func (w *asked) Dump(d *Dump) {
	d.At(w.now)
	d.Skip(wave.Config{})
	d.Skip(wave.Stats{})
	d.Skip(proto.Roster{})
	d.Add(w.network, w.nodes, w.crashes, w.breaks, w.adds, w.ticks, w.done, w.words)
}

// End: left alone the call is done by its budget (M2), and who lives has
// answered: asking directly makes up for what the wave lost.
func (w *asked) End() error {
	if err := drain(w.news, w.tick, begin.Add(time.Hour+2*waveBudget)); err != nil || w.broken != nil {
		return errors.Join(w.broken, err)
	}
	if !w.done {
		return fmt.Errorf("M2: the call is not done by its budget")
	}
	if w.calm && w.took > 2*time.Second {
		return fmt.Errorf("M2: the call took %v, as if nothing were asked again", w.took)
	}
	for i, a := range w.nodes {
		if v := w.nodes[0].verdict[idOf(i)]; !a.dead && v.Verdict != proto.Replied {
			return fmt.Errorf("n%d lives and got %v: %s", i, v.Verdict, v.Reason)
		}
	}
	return nil
}

func TestACallGivesEverybodyOneTrueVerdictWhateverBreaks(t *testing.T) {
	line := [][2]int{{0, 1}, {1, 2}, {2, 3}}
	pan := [][2]int{{0, 1}, {1, 2}, {2, 3}, {3, 1}}
	star := [][2]int{{0, 1}, {0, 2}, {1, 2}}
	for _, c := range []struct {
		what                   string
		nodes                  int
		edges, adds            [][2]int
		crashes, breaks, ticks int
	}{
		{"four in a line, a crash", 4, line, nil, 1, 0, 1},
		{"four in a line, a link removed", 4, line, nil, 0, 1, 1},
		{"four in a line, links added", 4, line, [][2]int{{0, 3}, {0, 2}, {1, 3}}, 0, 0, 0},
		{"four in a pan, a crash", 4, pan, nil, 1, 0, 0},
		{"a star of three, a crash and a break", 3, star, nil, 1, 1, 1},
		{"four in a line, a crash and a link removed", 4, line, nil, 1, 1, 0},
		{"four in a line, a crash and a link added", 4, line, [][2]int{{0, 3}}, 1, 0, 0},
	} {
		visitAll(t, c.what, func() World {
			w := newAsked(c.nodes, c.edges)
			w.adds, w.crashes, w.breaks, w.ticks, w.calm = c.adds, c.crashes, c.breaks, c.ticks, !*deep
			w.peace = c.crashes+c.breaks == 0
			return w
		})
	}
}
