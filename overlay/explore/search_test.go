package explore

import (
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

var deep = flag.Bool("deep", false, "explore the larger worlds, too: about ten minutes")

// deepMost is where a deep search is cut off. It says so.
const deepMost = 400_000

// visitAll explores a world. In the ordinary test it must fit.
func visitAll(t *testing.T, what string, begin func() World) {
	t.Helper()
	start := time.Now()
	report, err := Search(begin, deepMost)
	if err != nil {
		t.Fatalf("%s: %v: %v", what, report, err)
	}
	if !report.Whole && !*deep {
		t.Errorf("%s: %v: more than fits; make the world smaller", what, report)
	}
	t.Logf("%-45s %v, %v", what, report, time.Since(start).Round(10*time.Millisecond))
}

// A search that cannot fail shows nothing: each world is explored once more
// with a kind of message that never arrives, and its invariants must tell.
func TestTheSearchTellsWhatIsLost(t *testing.T) {
	for _, c := range []struct {
		what, says string
		begin      func() World
	}{
		{"announcements", "P4:", func() World {
			w := newTrees(3, []int{0}, 2, 0)
			w.atOnce = true
			w.lost = func(m proto.Message) bool {
				switch m.(type) {
				case proto.IHave, proto.Last: // either mends the loss
					return true
				}
				return false
			}
			return w
		}},
		{"acceptances", "H9:", func() World {
			w := newLinked(viewsConfig(2), map[int][]int{0: {1}, 1: {}}, 0, 0, 0)
			w.lost = func(m proto.Message) bool { _, is := m.(proto.Accept); return is }
			return w
		}},
		{"answers", "lives and got timed_out", func() World {
			w := newAsked(3, [][2]int{{0, 1}, {1, 2}})
			w.lost = func(m proto.Message) bool {
				switch m.(type) {
				case proto.Echo, proto.StatusAnswer, proto.Answer:
					return true
				}
				return false
			}
			return w
		}},
		{"records", "D7:", func() World {
			w := newParted(0, true)
			w.lost = func(m proto.Message) bool {
				switch m.(type) {
				case proto.SyncRecords, proto.Gossip:
					return true
				}
				return false
			}
			return w
		}},
	} {
		_, err := Search(c.begin, deepMost)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s get lost, want %q, got %v", c.what, c.says, err)
		}
	}
}
