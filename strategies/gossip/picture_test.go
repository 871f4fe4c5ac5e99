package gossip

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/serf/serf"

	"github.com/starlingmesh/starling/discovery"
)

const shop = "mark-of-shop"

func seen(name, addr string, status serf.MemberStatus) serf.Member {
	return serf.Member{Name: name, Status: status, Tags: map[string]string{tagCluster: shop, tagNode: "id-" + name, tagAddrs: addr, tagZone: "z1"}}
}

func text(n news) string {
	var words []string
	for _, c := range n.changed {
		w := "+" + c.Key
		if c.Ready == discovery.No {
			w += "!"
		}
		if c.Terminating == discovery.Yes {
			w += "?"
		}
		words = append(words, w)
	}
	for _, k := range n.withdrawn {
		words = append(words, "-"+k)
	}
	return strings.Join(words, " ")
}

func TestAboveAThousandMembersItSaysOnceThatTheyAreMany(t *testing.T) {
	var said strings.Builder
	g := &Gossip{log: slog.New(slog.NewTextHandler(&said, nil))}
	for i, step := range []struct{ sidecars, lines int }{
		{1000, 0}, {1001, 1}, {5000, 1}, {1000, 1}, {1001, 1}, {900, 1}, {1001, 2},
	} {
		g.warnOfMany(step.sidecars)
		if lines := strings.Count(said.String(), "leave_after: converged"); lines != step.lines {
			t.Errorf("step %d, %d members: %d lines so far, want %d", i+1, step.sidecars, lines, step.lines)
		}
	}
	if !strings.Contains(said.String(), "members=1001") {
		t.Error("it does not say how many there are")
	}
}

// TestTheLifeOfAMember: each line is a look at the members, and what is told of it.
func TestTheLifeOfAMember(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	p := picture{mark: shop, keep: time.Hour, said: map[string]word{}}
	a := func(s serf.MemberStatus) serf.Member { return seen("a", "10.0.0.1:1", s) }
	b := func(s serf.MemberStatus) serf.Member { return seen("b", "10.0.0.2:1,[fd00::2]:1", s) }
	again := func(s serf.MemberStatus) serf.Member { return seen("a2", "10.0.0.1:1", s) }
	const alive, failed, leaving, left = serf.StatusAlive, serf.StatusFailed, serf.StatusLeaving, serf.StatusLeft
	for i, step := range []struct {
		run     int
		after   time.Duration
		members []serf.Member
		want    string
	}{
		{1, 0, []serf.Member{a(alive), b(alive)}, "+10.0.0.1:1 +10.0.0.2:1"},
		{1, 0, []serf.Member{a(alive), b(alive)}, ""},
		{1, 0, []serf.Member{a(failed), b(alive)}, "+10.0.0.1:1!"},              // a hint
		{1, 0, []serf.Member{a(failed), again(alive), b(alive)}, "+10.0.0.1:1"}, // restarted at its address
		{1, 0, []serf.Member{again(alive), b(leaving)}, "+10.0.0.2:1?"},         // the failed one is reaped: nothing to tell
		{1, 0, []serf.Member{again(alive), b(left)}, "-10.0.0.2:1"},             // by its own word
		{1, 0, []serf.Member{again(alive), b(alive)}, "+10.0.0.2:1"},            // and back
		{1, 0, []serf.Member{again(alive)}, "-10.0.0.2:1"},                      // reaped
		{1, 0, []serf.Member{again(alive), b(alive)}, "+10.0.0.2:1"},            //
		{2, 0, []serf.Member{again(alive)}, ""},                                 // a new run knows nobody yet
		{2, 59 * time.Minute, []serf.Member{again(alive)}, ""},                  // perhaps a partition
		{2, time.Minute, []serf.Member{again(alive)}, "-10.0.0.2:1"},            // but not for ever
		{3, 0, []serf.Member{again(left)}, "-10.0.0.1:1"},                       // a new run hears that it left
		{3, 0, []serf.Member{a(failed), again(failed)}, "+10.0.0.1:1!"},         //
		{3, 0, []serf.Member{seen("c", "10.0.0.3:1", alive)}, "+10.0.0.3:1 -10.0.0.1:1"},
	} {
		now = now.Add(step.after)
		if got := text(p.look(now, step.run, step.members)); got != step.want {
			t.Errorf("step %d: told %q, want %q", i+1, got, step.want)
		}
	}
}

func TestOnlySidecarsOfThisClusterAreTaken(t *testing.T) {
	p := picture{mark: shop, keep: time.Hour, said: map[string]word{}}
	agent := serf.Member{Name: "agent", Status: serf.StatusAlive, Tags: map[string]string{"role": "web"}}
	other := seen("other", "10.0.0.1:1", serf.StatusAlive)
	other.Tags[tagCluster] = "mark-of-market"
	n := p.look(time.Now(), 1, []serf.Member{agent, other, seen("bad", "nowhere", serf.StatusAlive), seen("none", "", serf.StatusAlive)})
	if len(n.all) > 0 || n.alive > 0 {
		t.Errorf("taken: %v", n.all)
	}
	if got := fmt.Sprint(n.skipped); !strings.Contains(got, "another user of serf") || !strings.Contains(got, "another cluster") || len(n.skipped) != 4 {
		t.Errorf("skipped: %s", got)
	}
}

func TestTagsFitWhateverTheNode(t *testing.T) {
	self := discovery.Self{Cluster: "c", Node: strings.Repeat("f", 32), Zone: "eu-1a"}
	for i := range 16 {
		self.Addrs = append(self.Addrs, fmt.Sprintf("[fd00:1234:5678:9abc:def0:1234:5678:%x]:65535", i+4096))
	}
	got, err := tags(markOf("c"), self)
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for k, v := range got {
		size += len(k) + len(v)
	}
	if n := strings.Count(got[tagAddrs], ","); size > tagsMax || n < 6 {
		t.Errorf("%d bytes, %d addresses", size, n+1)
	}
	self.Zone = strings.Repeat("z", 480)
	if _, err := tags(markOf("c"), self); err == nil || !strings.Contains(err.Error(), "zone") {
		t.Errorf("a zone that leaves no room: %v", err)
	}
}
