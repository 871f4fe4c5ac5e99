package wave

import (
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

var every = flag.Bool("every", false, "explore every pair of faults: 450,000 runs, about a minute")

// An explorer for one call: on small graphs it tries one fault, and every two
// faults, at every point of the call, and holds each run to the promises; and
// everybody who lives must have replied, for asking directly makes up for what
// the wave lost. Without -every it takes one pair of points in 25.
func TestEveryOneAndTwoFaultsAtEveryPointOfACall(t *testing.T) {
	graphs := map[string][][2]int{
		"line":     {{0, 1}, {1, 2}, {2, 3}},
		"triangle": {{0, 1}, {1, 2}, {2, 0}},
		"square":   {{0, 1}, {1, 2}, {2, 3}, {3, 0}},
		"middle":   {{1, 0}, {1, 2}, {1, 3}, {2, 3}},
	}
	runs := 0
	for name, edges := range graphs {
		for hung := range 2 {
			x := explorer{t: t, name: name, edges: edges, hung: hung == 1}
			points := x.run()
			faults := x.faults()
			stride := 5
			if *every {
				stride = 1
			}
			for p := range points {
				for k, f := range faults {
					x.run(planned{p, f})
					for q := p; q < points+4 && (p+k)%stride == 0; q += 3 * stride {
						for _, g := range faults {
							if g != f {
								x.run(planned{p, f}, planned{q, g})
							}
						}
					}
				}
			}
			runs += x.runs
		}
	}
	t.Logf("%d runs", runs)
}

type explorer struct {
	t     *testing.T
	name  string
	edges [][2]int
	hung  bool // the handler of node 1 hangs
	runs  int
}

// trouble is one fault: what happens to which link or node.
type trouble struct {
	kind string
	i, j int
}

// planned is a fault at a point: after so many events of the call.
type planned struct {
	at    int
	fault trouble
}

func (x *explorer) nodes() int {
	most := 0
	for _, e := range x.edges {
		most = max(most, e[0], e[1])
	}
	return most + 1
}

func (x *explorer) faults() (list []trouble) {
	n := x.nodes()
	for i := range n {
		if i > 0 {
			list = append(list, trouble{"crash", i, 0}, trouble{"freeze", i, 0})
		}
		for j := range i {
			linked := slices.Contains(x.edges, [2]int{i, j}) || slices.Contains(x.edges, [2]int{j, i})
			if linked {
				list = append(list, trouble{"break", i, j}, trouble{"drain", i, j})
			} else {
				list = append(list, trouble{"add", i, j})
			}
		}
	}
	return append(list, trouble{"cancel", 0, 0})
}

const exploredBudget = 3 * time.Second

// run plays the call once with these faults and returns how many events it had
// until its last verdict.
func (x *explorer) run(plan ...planned) (points int) {
	left := plan
	x.runs++
	w := newWorld(x.t, 1, x.nodes())
	w.hop = func() time.Duration { return 300 * time.Microsecond }
	for _, e := range x.edges {
		w.link(e[0], e[1])
	}
	if x.hung {
		w.nodes[1].handler = func(proto.Dispatch) (time.Duration, proto.Result) { return -1, proto.Result{} }
	}
	ref := w.ask(0, everybody, nil, exploredBudget)
	for w.nodes[0].done[ref].IsZero() && w.now.Before(w.nodes[0].deadline[ref]) {
		for len(left) > 0 && left[0].at <= points {
			w.suffer(left[0].fault, ref)
			left = left[1:]
		}
		if !w.step() {
			break
		}
		points++
	}
	w.run(exploredBudget + time.Second)
	verdicts := w.settled(0, ref)
	for id, v := range verdicts {
		n := w.node(id)
		hangs := x.hung && n == w.nodes[1]
		if !n.dead && !n.stalled && !hangs && v.Verdict != proto.Replied && v.Verdict != proto.Abandoned {
			x.t.Errorf("%s lives and got %v: %s", n.entry.Name, v.Verdict, v.Reason)
		}
	}
	w.quiet()
	if x.t.Failed() {
		x.t.Fatalf("%s, hung %v, faults %v", x.name, x.hung, plan)
	}
	return points
}

// step is the next event.
func (w *world) step() bool {
	if len(w.events) == 0 {
		return false
	}
	w.run(max(0, w.events[0].at.Sub(w.now)))
	return true
}

// suffer lets a fault happen now.
func (w *world) suffer(f trouble, ref uint64) {
	x, y := w.nodes[f.i], w.nodes[f.j]
	var between []proto.LinkID
	for _, id := range w.linksOf(f.i) {
		if l := w.wires[id]; l.other(x) == y && !l.pool && !l.broken {
			between = append(between, id)
		}
	}
	switch f.kind {
	case "crash":
		w.crash(f.i)
	case "freeze": // silent for a while, and a little late ever after
		x.stalled, x.paused = true, true
		w.at(time.Second, func() { w.resume(f.i) })
	case "break":
		for _, id := range between {
			w.cut(id)
		}
	case "drain":
		for _, id := range between {
			x.step(func(*proto.Out) { x.wave.NeighborDraining(id) })
			y.step(func(*proto.Out) { y.wave.NeighborDraining(id) })
			w.at(100*time.Millisecond, func() { w.cut(id) })
		}
	case "add":
		if !x.dead && !y.dead {
			w.link(f.i, f.j)
		}
	case "cancel":
		x.step(func(out *proto.Out) { x.wave.Cancel(w.now, ref, out) })
	}
}
