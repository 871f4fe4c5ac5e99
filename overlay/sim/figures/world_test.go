package figures

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/sim"
)

// lab is a world with discovery that knows every living node, and a die for what the experiment draws.
type lab struct {
	*sim.World
	t      *testing.T
	rng    *rand.Rand
	census *census // shared by all; nil: each has a directory of its own
}

// newLab makes it, without a node.
func newLab(t *testing.T, n int, change func(*sim.Config)) *lab {
	t.Helper()
	cfg := sim.Calm(7)
	if change != nil {
		change(&cfg)
	}
	return &lab{World: sim.New(cfg), t: t, rng: rand.New(rand.NewPCG(7, uint64(n)))}
}

// join makes a world of n nodes that start within 5 s, with 3 contacts. It tells how long they took to be one cluster that
// knows itself, counted from the first start.
func join(t *testing.T, n int, change func(*sim.Config)) (*lab, time.Duration) {
	t.Helper()
	l := newLab(t, n, change)
	l.Discovery(func(node *sim.Node) { node.Contacts(l.contacts(3)...) })
	for i := range n {
		l.After(time.Duration(i)*5*time.Second/time.Duration(n), func() { l.start() })
	}
	l.Run(5 * time.Second)
	took, _ := l.Until(time.Minute, func() bool { return l.Settled() == "" })
	l.fine()
	return l, 5*time.Second + took
}

// start starts one node, and polls discovery for it every 10 s.
func (l *lab) start() *sim.Node {
	n := l.Start(l.contacts(3)...)
	var poll func()
	poll = func() {
		if n.Living() {
			n.Contacts(l.contacts(3)...)
			l.After(10*time.Second, poll)
		}
	}
	l.After(10*time.Second, poll)
	return n
}

// contacts draws addresses of living nodes.
func (l *lab) contacts(k int) []string {
	var addrs []string
	hosts := l.Hosts()
	for range 4 * k {
		if len(hosts) == 0 || len(addrs) == k {
			break
		}
		if h := hosts[l.rng.IntN(len(hosts))]; h.Node() != nil {
			addrs = append(addrs, h.Addr())
		}
	}
	return addrs
}

func (l *lab) fine() {
	l.t.Helper()
	if l.Failed() != "" {
		l.t.Fatal(l.Failed())
	}
}

// some draws a share of those that run, in percent, and at least one.
func (l *lab) some(percent int) []*sim.Node {
	all := l.Up()
	l.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:max(1, len(all)*percent/100)]
}

// sent counts what was sent of some types.
func (l *lab) sent(types ...string) int {
	n := 0
	for _, t := range types {
		n += l.Report.Messages[t]
	}
	return n
}

// spread publishes so many broadcasts, and tells the medians of redundancy and last hop, and the share that was reached.
func (l *lab) spread(count int, every time.Duration, by func(i int) *sim.Node) (redundancy, hops, reached float64) {
	first := l.Broadcasts()
	var copies []float64
	for i := range count {
		before := l.sent("gossip")
		by(i).Publish("figures", 100)
		l.Run(every)
		copies = append(copies, float64(l.sent("gossip")-before)/float64(max(1, len(l.Up())-1))-1)
	}
	l.Run(2 * time.Second)
	up := l.Up()
	var last []float64
	for i := first; i < l.Broadcasts(); i++ {
		n, h := l.Reached(i, up)
		reached += float64(n) / float64(len(up))
		last = append(last, float64(h))
	}
	return median(copies), median(last), 100 * reached / float64(count)
}

// span is how many nodes can be reached from one, itself included, and how many links the farthest of them is away.
func (l *lab) span(from *sim.Node) (reached int, depth float64) {
	nodes := map[peer.ID]*sim.Node{}
	for _, n := range l.Up() {
		nodes[n.ID] = n
	}
	far, queue := map[*sim.Node]int{from: 0}, []*sim.Node{from}
	for ; ; queue = queue[1:] {
		for _, id := range queue[0].Core().Active() {
			if to := nodes[id]; to != nil {
				if _, seen := far[to]; !seen {
					far[to] = far[queue[0]] + 1
					queue = append(queue, to)
				}
			}
		}
		if len(queue) == 1 {
			return len(far), float64(far[queue[0]])
		}
	}
}

// graph is the active views: mean shortest path, the longest, clustering, mean degree.
func (l *lab) graph() (path, longest, clustering, degree float64) {
	up := l.Up()
	index := map[peer.ID]int{}
	for i, n := range up {
		index[n.ID] = i
	}
	edges := make([][]int, len(up))
	for i, n := range up {
		for _, id := range n.Core().Active() {
			if j, ok := index[id]; ok {
				edges[i] = append(edges[i], j)
			}
		}
		degree += float64(len(edges[i])) / float64(len(up))
	}
	pairs := 0
	for from := range up {
		far := make([]int, len(up))
		queue := []int{from}
		for len(queue) > 0 {
			at := queue[0]
			queue = queue[1:]
			for _, to := range edges[at] {
				if to != from && far[to] == 0 {
					far[to] = far[at] + 1
					queue = append(queue, to)
					path += float64(far[to])
					longest = max(longest, float64(far[to]))
					pairs++
				}
			}
		}
	}
	for i := range up {
		linked, all := 0, 0
		for _, a := range edges[i] {
			for _, b := range edges[i] {
				if a < b {
					all++
					for _, c := range edges[a] {
						if c == b {
							linked++
						}
					}
				}
			}
		}
		clustering += float64(linked) / float64(max(1, all)) / float64(len(up))
	}
	return path / float64(max(1, pairs)), longest, clustering, degree
}

// ask asks everybody and tells how long it took, in ms, what it cost in messages, and the verdicts. meanwhile happens 2 ms
// after the call began.
func (l *lab) ask(meanwhile func()) (took, messages float64, verdicts map[string]int) {
	types := []string{"call", "took", "seen", "echo", "adopt", "ask", "answer", "status_ask", "status_answer", "help", "helpless"}
	up := l.Up()
	caller := up[l.rng.IntN(len(up))]
	if meanwhile != nil {
		l.After(2*time.Millisecond, meanwhile)
	}
	before := l.sent(types...)
	call := caller.Ask(proto.Selector{}, 2*time.Second, 32, 0)
	began := l.Now()
	for !call.Done && caller.Living() && l.Now()-began < 3*time.Second {
		l.Run(100 * time.Microsecond)
	}
	return float64(l.Now()-began) / float64(time.Millisecond), float64(l.sent(types...) - before), call.Verdicts()
}
