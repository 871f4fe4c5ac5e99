package rpc

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

func down(m *proto.Member)      { m.Status = proto.StatusDown }
func left(m *proto.Member)      { m.Status = proto.StatusLeft }
func suspected(m *proto.Member) { m.Status = proto.StatusSuspect }
func again(m *proto.Member)     { m.Entry.Incarnation++ }
func inGroup(m *proto.Member)   { m.Entry.Groups = []string{"g"} }

// know replaces the roster.
func (s *script) know(members ...*proto.Member) {
	slices.SortFunc(members, func(a, b *proto.Member) int { return a.Entry.ID.Compare(b.Entry.ID) })
	s.setRoster(members)
	s.Handle(proto.MembersChanged{})
}

func TestAWatcherSeesOneUpAndOneDownPerIncarnation(t *testing.T) { // D11, M11
	s := newScript(t)
	w, refused := s.Watch()
	if refused != nil {
		t.Fatal(refused)
	}
	defer w.Close()
	_, all, _, err := w.Next(t.Context())
	if err != nil || len(all) != 3 {
		t.Fatalf("%v, %v", all, err)
	}
	self, b := aMember(1, "a"), aMember(2, "b")
	for _, step := range []struct {
		members []*proto.Member
		want    string
	}{
		{[]*proto.Member{self, b, aMember(3, "c", suspected)}, "updated a, updated b, suspect c"},
		{[]*proto.Member{self, b, aMember(3, "c", again)}, "down c, up c"},
		{[]*proto.Member{self, b, aMember(3, "c", again, down)}, "down c"},
		{[]*proto.Member{self, b, aMember(3, "c", again, again), aMember(4, "d", down)}, "up c"},
		{[]*proto.Member{self, aMember(2, "b", left), aMember(4, "d")}, "left b, down c, up d"},
	} {
		s.know(step.members...)
		_, _, changes, err := w.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range changes {
			got = append(got, fmt.Sprint(c.Kind, " ", c.Member.Entry.Name))
		}
		if g := strings.Join(got, ", "); g != step.want {
			t.Errorf("got %q, want %q", g, step.want)
		}
	}
}

func TestAwaitPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t, func(c *Config) { c.Expected = func() (int, bool) { return 4, true } })
		p, err := s.Await(t.Context(), 3, &Selector{}, 0, time.Second)
		if err != nil || !p.Satisfied || p.Alive != 3 {
			t.Errorf("three of three: %+v, %v", p, err)
		}
		begin := time.Now()
		p, err = s.Await(t.Context(), 0, &Selector{}, 0, time.Second)
		if err != nil || p.Satisfied || p.Wanted != 4 || time.Since(begin) != time.Second {
			t.Errorf("four of three: %+v, %v after %v", p, err, time.Since(begin))
		}
		go func() {
			<-time.After(300 * time.Millisecond) // of the bubble
			s.know(append(slices.Clone(s.Roster().Members), aMember(4, "d"))...)
		}()
		begin = time.Now()
		p, err = s.Await(t.Context(), 4, &Selector{}, 100*time.Millisecond, time.Second)
		if took := time.Since(begin); err != nil || !p.Satisfied || took < 400*time.Millisecond || took > 410*time.Millisecond {
			t.Errorf("a fourth that comes: %+v, %v after %v", p, err, took)
		}
	})
}

func TestTargetsAreChosen(t *testing.T) {
	s := newScript(t)
	s.know(aMember(1, "a"), aMember(2, "b", down), aMember(4, "b", again), aMember(3, "c", inGroup))
	a := s.app("app")
	pick := func(sel Selector) proto.Selector {
		t.Helper()
		return s.starts(a, s.lastRef+1, &Ask{Kind: Multicall, Method: "m", Targets: sel}).Select
	}
	if sel := pick(Selector{}); !sel.Everybody() || sel.NotSelf {
		t.Errorf("all is %+v", sel)
	}
	if sel := pick(Selector{Nodes: []string{"b", nodeID(4).String(), "b"}}); len(sel.IDs) != 1 || sel.IDs[0] != nodeID(4) {
		t.Errorf("b is %+v, want the one that lives, once", sel)
	}
	if sel := pick(Selector{Sample: 2, ExcludeSelf: true}); len(sel.IDs) != 2 || slices.Contains(sel.IDs, nodeID(1)) {
		t.Errorf("a sample is %+v", sel)
	}
	if sel := pick(Selector{ByKey: true, Key: "k", KeyGroup: "g"}); len(sel.IDs) != 1 || sel.IDs[0] != nodeID(3) {
		t.Errorf("the owner is %+v", sel)
	}
	for _, sel := range []Selector{{Nodes: []string{"x"}}, {Nodes: []string{""}}, {ByKey: true, KeyGroup: "none"}} {
		if err := a.Start(999, &Ask{Kind: Multicall, Method: "m", Targets: sel}); err == nil {
			t.Errorf("%+v was taken", sel)
		}
	}
}

func TestAMemberThatGoesMovesItsOwnKeysOnly(t *testing.T) {
	all := &proto.Roster{Members: []*proto.Member{aMember(1, "a"), aMember(2, "b"), aMember(3, "c"), aMember(4, "d")}}
	fewer := &proto.Roster{Members: []*proto.Member{aMember(1, "a"), aMember(2, "b"), aMember(3, "c"), aMember(4, "d", down)}}
	count := map[string]int{}
	for i := range 4000 {
		key := fmt.Sprint("key", i)
		before, after := Owner(all, "", key).Entry.Name, Owner(fewer, "", key).Entry.Name
		if before != "d" && before != after {
			t.Fatalf("%s moved from %s to %s", key, before, after)
		}
		count[before]++
	}
	for name, n := range count {
		if n < 900 || n > 1100 {
			t.Errorf("%s owns %d of 4000", name, n)
		}
	}
}
