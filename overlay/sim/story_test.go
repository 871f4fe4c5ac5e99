package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// TestStories plays the scripts of testdata/story: what is done to a small cluster, and what can be seen of it then. Each
// begins with `world`. `go test ./overlay/sim -run TestStories -rewrite` writes down what is seen now; -v tells what happens
// in between.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/story", func(t *testing.T, path string) {
		s := &story{t: t}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			s.d = d
			said := s.do()
			if s.w != nil && s.w.Failed() != "" {
				t.Fatalf("%s: %s", d.Pos, s.w.Failed())
			}
			return said
		})
	})
}

// story is a script under way.
type story struct {
	t *testing.T
	d *datadriven.TestData
	w *World
}

// verbs are what a line may begin with. Names come before the arguments with values.
//
//	world nodes=5 [seed=1]      starts a world whose nodes n0, n1 … all have n0 and n1 as contacts
//	run 5s                      lets time pass
//	settled [within=10s]        everybody that runs knows exactly the others, in one component
//	kill|stop|resume|leave n1   ends, stops (SIGSTOP) or continues processes
//	restart n1                  a new process on the host of a dead one
//	cut|mend|break n1 n2        a path is cut, or no longer; its connections are reset
//	part n1 n2 | heal n1 n2     these are cut off from all others, or no longer
//	deaf|mute n1                it hears nobody, or nobody hears it
//	ask n0 [n1 n2] budget=2s    n0 calls these, or everybody; prints the verdicts
//	publish n0                  n0 broadcasts; prints who has it two seconds later
//	members n0                  what n0's directory says of all others
func (s *story) verbs() map[string]func(names []*Node) string {
	quietly := func(do func(n *Node)) func([]*Node) string {
		return func(names []*Node) string {
			for _, n := range names {
				do(n)
			}
			return ""
		}
	}
	pair := func(do func(a, b *Node)) func([]*Node) string {
		return func(names []*Node) string { do(names[0], names[1]); return "" }
	}
	return map[string]func([]*Node) string{
		"world": s.world, "settled": s.settled, "ask": s.ask, "publish": s.publish, "members": s.members,
		"run":     func([]*Node) string { s.w.Run(s.duration(s.d.CmdArgs[0].Key)); return "" },
		"kill":    quietly(func(n *Node) { s.w.Crash(n) }),
		"stop":    quietly(func(n *Node) { s.w.Pause(n) }),
		"resume":  quietly(func(n *Node) { s.w.Resume(n) }),
		"leave":   quietly(func(n *Node) { s.w.Leave(n) }),
		"restart": quietly(func(n *Node) { s.w.Restart(n).Contacts(s.w.Nodes[0].Addr(), s.w.Nodes[1].Addr()) }),
		"deaf":    quietly(func(n *Node) { s.w.OneWay(n, true) }),
		"mute":    quietly(func(n *Node) { s.w.OneWay(n, false) }),
		"cut":     pair(func(a, b *Node) { s.w.Cut(a, b) }),
		"mend":    pair(func(a, b *Node) { s.w.Mend(a, b) }),
		"break":   pair(func(a, b *Node) { s.w.Break(a, b) }),
		"part":    func(names []*Node) string { s.w.Partition(names); return "" },
		"heal":    func(names []*Node) string { s.w.Heal(names); return "" },
	}
}

func (s *story) do() string {
	s.t.Helper()
	do := s.verbs()[s.d.Cmd]
	if do == nil {
		s.d.Fatalf(s.t, "no such verb: %s", s.d.Cmd)
	}
	var names []*Node
	for _, a := range s.d.CmdArgs {
		if len(a.Vals) == 0 && strings.HasPrefix(a.Key, "n") && s.w != nil {
			names = append(names, s.node(a.Key))
		}
	}
	return do(names)
}

// node is the newest process of a name.
func (s *story) node(name string) *Node {
	for _, n := range slices.Backward(s.w.Nodes) {
		if n.Name == name {
			return n
		}
	}
	s.d.Fatalf(s.t, "nobody is called %s", name)
	return nil
}

func (s *story) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		s.d.Fatalf(s.t, "%v", err)
	}
	return d
}

// arg is an argument with a value, or what it is without.
func (s *story) arg(name, without string) string {
	for _, a := range s.d.CmdArgs {
		if a.Key == name && len(a.Vals) == 1 {
			return a.Vals[0]
		}
	}
	return without
}

func (s *story) world([]*Node) string {
	var nodes, seed int
	if _, err := fmt.Sscan(s.arg("nodes", "5")+" "+s.arg("seed", "1"), &nodes, &seed); err != nil {
		s.d.Fatalf(s.t, "%v", err)
	}
	cfg := Calm(uint64(seed))
	if testing.Verbose() {
		cfg.Log = func(line string) { fmt.Println(line) }
	}
	s.w = New(cfg)
	for range nodes {
		s.w.Start()
	}
	for _, n := range s.w.Nodes {
		n.Contacts(s.w.Nodes[0].Addr(), s.w.Nodes[1].Addr())
	}
	return ""
}

func (s *story) settled([]*Node) string {
	limit := s.duration(s.arg("within", "10s"))
	if _, ok := s.w.Until(limit, func() bool { return s.w.Settled() == "" }); !ok {
		return fmt.Sprintf("not within %v: %s", limit, s.w.Settled())
	}
	return fmt.Sprintf("within %v", limit)
}

func (s *story) ask(names []*Node) string {
	var sel proto.Selector
	for _, n := range names[1:] {
		sel.IDs = append(sel.IDs, n.ID)
	}
	sel.NotSelf = s.arg("self", "yes") == "no"
	budget := s.duration(s.arg("budget", "2s"))
	call := names[0].Ask(sel, budget, 32, 0)
	s.w.Until(budget+lateBy, func() bool { return call.Done })
	by := map[string][]string{}
	for id, word := range call.Targets.All() {
		verdict := "nothing"
		if word.Given {
			verdict = fmt.Sprintf("%v, executed %v", word.Verdict, word.Executed)
		}
		by[verdict] = append(by[verdict], s.name(id))
	}
	return listed(by)
}

func (s *story) name(id peer.ID) string {
	n, _ := s.w.checks.byID[id]
	return n.Name
}

// listed is who is what, a line for each what.
func listed(by map[string][]string) string {
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(by)) {
		slices.Sort(by[what])
		fmt.Fprintf(&b, "%s: %s\n", what, strings.Join(by[what], " "))
	}
	return b.String()
}

func (s *story) publish(names []*Node) string {
	names[0].Publish("news", 32)
	cast := s.w.apps.casts[len(s.w.apps.casts)-1]
	s.w.Run(2 * time.Second)
	by := map[string][]string{}
	for _, n := range s.w.Nodes {
		switch {
		case cast.has(n):
			by["has it"] = append(by["has it"], n.Name)
		case n.Living():
			by["lacks it"] = append(by["lacks it"], n.Name)
		}
	}
	return listed(by)
}

func (s *story) members(names []*Node) string {
	by := map[string][]string{}
	for _, m := range names[0].core.Roster().Members {
		if m.Entry.ID == names[0].ID {
			continue
		}
		what := m.Status.String()
		if m.Superseded {
			what += ", superseded"
		}
		by[what] = append(by[what], m.Entry.Name)
	}
	return listed(by)
}
