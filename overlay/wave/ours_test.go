package wave

import (
	"slices"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// A peer that gives a result in the caller's own name is not believed, and the
// caller does not ask itself for the body of one.
func TestNobodyElseHasAWordOnOurOwnResult(t *testing.T) {
	whole, without := reply("forged"), proto.Result{Outcome: proto.Replied, Executed: proto.ExecutedYes, Stage: proto.StageFinished, Size: large}
	ways := map[string]func(proto.CallID, proto.NodeResult) proto.Message{
		"echo": func(id proto.CallID, r proto.NodeResult) proto.Message {
			return proto.Echo{ID: id, Round: 1, Results: []proto.NodeResult{r}}
		},
		"adopt": func(id proto.CallID, r proto.NodeResult) proto.Message {
			return proto.Adopt{Echo: proto.Echo{ID: id, Round: 1, Results: []proto.NodeResult{r}}}
		},
		"answer": func(id proto.CallID, r proto.NodeResult) proto.Message {
			return proto.Answer{ID: id, Node: who(0), Result: &r}
		},
		"status answer": func(id proto.CallID, r proto.NodeResult) proto.Message {
			return proto.StatusAnswer{ID: id, Node: who(0), Stage: proto.StageFinished, Result: &r}
		},
		"status answer in another's name": func(id proto.CallID, r proto.NodeResult) proto.Message {
			r.Node = who(1)
			return proto.StatusAnswer{ID: id, Node: who(0), Stage: proto.StageFinished, Result: &r}
		},
	}
	for name, way := range ways {
		for _, r := range []proto.Result{whole, without} {
			s := newSolo(t, 3)
			s.linked(1, 2)
			s.ask(proto.StartCall{})
			id := look[proto.Call](s)[0].ID
			s.said()
			s.from(1, way(id, proto.NodeResult{Node: who(0), Incarnation: 1, Result: r}))
			if !slices.Contains(look[proto.Ignored](s), proto.Ignored{Why: "result_of_ours", Peer: who(1)}) {
				t.Errorf("%s: not ignored: %v", name, s.out)
			}
			if v, asks := look[proto.CallVerdict](s), look[proto.Ask](s); len(v)+len(asks) > 0 {
				t.Errorf("%s: it drew %v and asked %v", name, v, asks)
			}
			s.result(id, reply("own"))
			v := look[proto.CallVerdict](s)
			if len(v) != 1 || v[0].Node != who(0) || string(v[0].Result.Payload) != "own" {
				t.Errorf("%s: our own handler's word became %v", name, v)
			}
		}
	}
}

// How far our own handler is, nobody else knows either.
func TestNobodyElseTellsTheStageOfOurOwnHandler(t *testing.T) {
	s := newSolo(t, 2)
	s.linked(1)
	s.ask(proto.StartCall{})
	id := look[proto.Call](s)[0].ID
	s.from(1, proto.StatusAnswer{ID: id, Node: who(0), Stage: proto.StageFinished})
	s.pass(time.Minute)
	for _, v := range look[proto.CallVerdict](s) {
		if v.Node == who(0) && v.Stage != proto.StageStarted {
			t.Errorf("it is told as %v", v)
		}
	}
}

// A result is its sender's, whatever name it bears.
func TestAStatusAnswersResultIsItsNodes(t *testing.T) {
	s := newSolo(t, 3)
	s.linked(1, 2)
	s.ask(proto.StartCall{})
	id := look[proto.Call](s)[0].ID
	s.from(1, proto.StatusAnswer{ID: id, Node: who(1), Stage: proto.StageFinished, Result: &proto.NodeResult{Node: who(2), Incarnation: 1, Result: reply("x")}})
	if v := look[proto.CallVerdict](s); len(v) != 1 || v[0].Node != who(1) {
		t.Errorf("it became %v", v)
	}
}
