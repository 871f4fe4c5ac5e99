package wave

import (
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// holds tells what of calls a machine still has.
func (w *Wave) holds() map[string]int {
	open := 0
	for _, win := range w.windows {
		open += win.open
	}
	return map[string]int{
		"calls": len(w.calls), "rolled calls": w.order.len(), "open calls": w.openCalls, "open calls of callers": open,
		"open bytes": w.openBytes, "kept": w.kept.len(), "kept bytes": w.keptBytes, "questions": w.questions.len(),
		"refs": len(w.byRef), "direct": len(w.direct), "asks": w.asks, "alarms": w.alarms.Len(),
		"open numbers": w.waveSeq.Open(),
	}
}

// TestAHundredThousandCallsLeaveNothingBehind, stars and direct ones with
// payloads; while they go on only the last few are held.
func TestAHundredThousandCallsLeaveNothingBehind(t *testing.T) {
	now := time.Unix(1000, 0)
	m := newMesh(5, now)
	now = now.Add(time.Hour)
	payload := make([]byte, 100)
	calls := 100_000
	if testing.Short() {
		calls = 20_000
	}
	some := proto.Selector{IDs: []peer.ID{m.infos[1].ID, m.infos[0].ID, m.infos[3].ID}}
	for i := range calls {
		now = now.Add(50 * time.Microsecond)
		sel := proto.Selector{}
		if i%3 == 0 {
			sel = some
		}
		m.call(now, uint64(i), sel, payload)
		if i%10_000 != 9_999 {
			continue
		}
		for n, w := range m.waves {
			for what, k := range w.holds() {
				if k > 1500 || what != "kept bytes" && k > 20 {
					t.Fatalf("after %d calls node %d holds %d %s", i+1, n, k, what)
				}
			}
			for k, win := range w.windows {
				if win.Spans() > 2 {
					t.Fatalf("the window of %v has %d spans", k.caller.Short(), win.Spans())
				}
			}
			if len(w.order.list)+len(w.kept.list)+len(w.questions.list) > 200 {
				t.Fatalf("the rolls of node %d are %d, %d and %d long", n, len(w.order.list), len(w.kept.list), len(w.questions.list))
			}
		}
	}
	if m.done != calls {
		t.Fatalf("%d calls ended", m.done)
	}
	now = now.Add(time.Minute)
	for n, w := range m.waves {
		m.step(now, n, func(out *proto.Out) { w.Wake(now, out) })
		for what, k := range w.holds() {
			if k != 0 {
				t.Errorf("in the end node %d holds %d %s", n, k, what)
			}
		}
	}
}

func TestARollForgetsWhatIsOverAndNothingMovesUnderARange(t *testing.T) {
	gone := map[int]bool{}
	r := roll[int]{over: func(n int) bool { return gone[n] }}
	for n := range 100 {
		r.add(n)
	}
	var met []int
	for n := range r.all() {
		met = append(met, n)
		for _, k := range []int{n, n + 1} { // each takes its neighbour along
			if k < 100 && !gone[k] {
				gone[k] = true
				r.leave()
			}
		}
	}
	if len(met) != 50 || r.len() != 0 || len(r.list) > 32 {
		t.Errorf("met %v; %d are left of %d", met, r.len(), len(r.list))
	}
}
