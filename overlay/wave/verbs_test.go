package wave

import (
	"container/heap"
	"fmt"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// ask starts a call at a node and returns its reference.
func (w *world) ask(i int, sel proto.Selector, payload []byte, budget time.Duration) uint64 {
	return w.askFor(i, proto.StartCall{Select: sel, Budget: budget, Request: proto.Request{Payload: payload}})
}

func (w *world) askFor(i int, in proto.StartCall) uint64 {
	n := w.nodes[i]
	in.Ref = uint64(len(n.deadline) + 1)
	n.deadline[in.Ref] = w.now.Add(in.Budget)
	in.Request.Mode, in.Request.Method = proto.ModeCall, "m"
	in.Request.Meta = []proto.Tag{{Key: "name", Value: n.name(in.Ref)}}
	n.step(func(out *proto.Out) {
		n.deadline[in.Ref] = w.now.Add(in.Budget)
		n.wave.Start(w.now, in, out)
	})
	return in.Ref
}

// name is what everybody calls a call of this node.
func (n *node) name(ref uint64) string { return fmt.Sprintf("call %d of %s", ref, n.entry.Name) }

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
	switch {
	case n.dead || n.refused[ref]:
		return nil
	case n.done[ref].IsZero():
		w.fail("%s never ended", n.name(ref))
	case n.done[ref].Sub(n.deadline[ref]) > 5*time.Millisecond && !n.stalled:
		w.fail("%s ended %v after its budget", n.name(ref), n.done[ref].Sub(n.deadline[ref]))
	}
	for _, id := range n.targets[ref] {
		v, ok := n.verdicts[ref][id]
		ran := w.node(id).runs[n.name(ref)]
		switch {
		case !ok:
			w.fail("no verdict for %v", id.Short())
		case ran > 0 && v.Executed == proto.ExecutedNo:
			w.fail("%v ran, and the verdict %v says it did not: %s", id.Short(), v.Verdict, v.Reason)
		case ran == 0 && v.Executed == proto.ExecutedYes:
			w.fail("%v never ran, and the verdict %v says it did", id.Short(), v.Verdict)
		case v.Verdict == proto.Replied && int(v.Result.Size) != len(v.Result.Payload):
			w.fail("%v replied with %d of %d bytes", id.Short(), len(v.Result.Payload), v.Result.Size)
		}
	}
	if len(n.verdicts[ref]) != len(n.targets[ref]) {
		w.fail("%d verdicts for %d targets", len(n.verdicts[ref]), len(n.targets[ref]))
	}
	w.report()
	return n.verdicts[ref]
}

// quiet checks that nothing of any call is left anywhere, a minute later.
func (w *world) quiet() {
	w.t.Helper()
	w.run(time.Minute)
	for i, x := range w.nodes {
		if x.dead {
			continue
		}
		for what, k := range x.wave.holds() {
			if k != 0 {
				w.fail("node %d still holds %d %s", i, k, what)
			}
		}
	}
	w.report()
}

func (w *world) report() {
	w.t.Helper()
	for _, e := range w.errs {
		w.t.Error(e)
	}
	w.errs = nil
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
	n.stalled = true
	for _, do := range n.queue {
		do()
	}
	n.queue = nil
}

// certify tells everybody but the node itself that it is down, or has left.
func (w *world) certify(i int, status proto.Status) {
	kind := proto.ChangeDown
	if status == proto.StatusLeft {
		kind = proto.ChangeLeft
	}
	for _, x := range w.nodes {
		if x != w.nodes[i] {
			x.know(kind, &proto.Member{Entry: w.nodes[i].entry, Status: status, Since: w.now, Why: "certified"})
		}
	}
}

// comeBack is what a node does that was certified down and lives.
func (w *world) comeBack(i int) {
	e := *w.nodes[i].entry
	e.Incarnation++
	w.nodes[i].entry = &e
	for _, x := range w.nodes {
		x.know(proto.ChangeUp, &proto.Member{Entry: &e, Status: proto.StatusAlive, Since: w.now})
	}
}
