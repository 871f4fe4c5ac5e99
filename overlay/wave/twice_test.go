package wave

import (
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/wave/once"
)

// mill is one node to which calls come in every way and again and again, as copies that were long under way, after they were
// answered, cancelled, evicted, or seen by a window that has been dropped.
type mill struct {
	*solo
	rt      *rapid.T
	seqs    map[windowKey]*once.Sequence // at the callers
	open    []copied                     // not finished at their callers
	copies  []copied                     // all frames ever sent; any may arrive once more
	running []proto.CallID
	runs    map[proto.CallID]int
	never   map[proto.CallID]bool // this node said: not executed
	refused map[proto.CallID]bool // its application said so, and did not run it
}

type copied struct {
	m    proto.Call
	sent time.Time
}

// TestNoCallRunsTwiceHoweverItComes: M4, and M3 at the target: what was refused once never runs, and what ran is never refused.
func TestNoCallRunsTwiceHoweverItComes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &mill{
			solo: newSolo(t, 4, func(c *Config) {
				c.OpenMax, c.CallsMax, c.WindowsMax = rapid.IntRange(1, 3).Draw(rt, "open"), rapid.IntRange(2, 5).Draw(rt, "calls"), rapid.IntRange(2, 5).Draw(rt, "windows")
				c.KeptBytes = 40
			}), rt: rt, seqs: map[windowKey]*once.Sequence{},
			runs: map[proto.CallID]int{}, never: map[proto.CallID]bool{}, refused: map[proto.CallID]bool{},
		}
		m.linked(1, 2, 3)
		rt.Repeat(map[string]func(*rapid.T){
			"call": m.begin, "again": m.again, "again directly": m.directly, "finish": m.finish, "reply": m.reply, "cancel": m.cancel,
			"wait": m.wait, "": func(*rapid.T) { m.holds() },
		})
	})
}

// begin is a new call of somebody; its first copy may be late, or lost.
func (m *mill) begin(*rapid.T) {
	i := rapid.IntRange(1, 3).Draw(m.rt, "caller")
	key := windowKey{who(i), rapid.Bool().Draw(m.rt, "direct")}
	if m.seqs[key] == nil {
		m.seqs[key] = &once.Sequence{}
	}
	call := m.call(i, m.seqs[key].Next(), func(c *proto.Call) {
		c.Oldest, c.Remaining = m.seqs[key].Oldest(), rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 10 * time.Second, 5 * time.Minute}).Draw(m.rt, "budget")
		if key.direct {
			c.ID.Target = who(0)
		}
	})
	c := copied{call, m.now}
	m.open, m.copies = append(m.open, c), append(m.copies, c)
	if rapid.IntRange(0, 3).Draw(m.rt, "lost") > 0 {
		m.comes(c, key.direct)
	}
}

// comes: a copy arrives now, over any link, stamped when it was sent. No frame is under way for a minute.
func (m *mill) comes(c copied, direct bool) {
	if m.now.Sub(c.sent) >= windowIdle {
		m.rt.Skip("too old to be under way")
	}
	on := rapid.IntRange(1, 3).Draw(m.rt, "link")
	if direct {
		m.on(m.pooled(on), on, proto.Ask{Call: c.m})
		return
	}
	c.m.Round = uint8(rapid.IntRange(0, 1).Draw(m.rt, "round"))
	m.from(on, c.m)
}

func (m *mill) copy() copied {
	if len(m.copies) == 0 {
		m.rt.Skip("none")
	}
	return rapid.SampledFrom(m.copies).Draw(m.rt, "copy")
}

func (m *mill) again(*rapid.T) {
	c := m.copy()
	m.comes(c, !c.m.ID.Target.IsZero())
}

// directly: a caller that still waits asks anew, for a wave's call as well; the frame is fresh, and says how old the call is.
func (m *mill) directly(*rapid.T) {
	if len(m.open) == 0 {
		m.rt.Skip("none")
	}
	c := rapid.SampledFrom(m.open).Draw(m.rt, "open")
	if age := m.now.Sub(c.sent); age < c.m.Remaining {
		m.comes(copied{m.w.aged(m.now, proto.Ask{Call: c.m}, age).Call, m.now}, true)
	}
}

// finish: its caller is done with a call; the next that it sends say so.
func (m *mill) finish(*rapid.T) {
	if len(m.open) == 0 {
		m.rt.Skip("none")
	}
	i := rapid.IntRange(0, len(m.open)-1).Draw(m.rt, "which")
	id := m.open[i].m.ID
	m.seqs[windowKey{id.Caller, !id.Target.IsZero()}].Close(id.Seq)
	m.open = slices.Delete(m.open, i, i+1)
}

func (m *mill) reply(*rapid.T) {
	if len(m.running) == 0 {
		m.rt.Skip("none")
	}
	i := rapid.IntRange(0, len(m.running)-1).Draw(m.rt, "which")
	id := m.running[i]
	m.running = slices.Delete(m.running, i, i+1)
	r := reply("a kept reply of some bytes")
	if rapid.IntRange(0, 2).Draw(m.rt, "refuses") == 0 {
		r = proto.Result{Outcome: proto.NoHandler, Executed: proto.ExecutedNo, Stage: proto.StageReceived}
		m.refused[id] = true
	}
	m.result(id, r)
}

func (m *mill) cancel(*rapid.T) { m.from(1, proto.Cancel{ID: m.copy().m.ID}) }

// wait: mostly a little, and now and then so long that what is idle is dropped.
func (m *mill) wait(*rapid.T) {
	m.pass(rapid.SampledFrom([]time.Duration{time.Millisecond, 500 * time.Millisecond, 5 * time.Second, 40 * time.Second, 2 * windowIdle}).Draw(m.rt, "for"))
}

// holds reads what this node did and said.
func (m *mill) holds() {
	out := m.out
	m.out = nil
	said := func(id proto.CallID, results ...proto.NodeResult) {
		for _, r := range results {
			if r.Node == who(0) && r.Result.Executed == proto.ExecutedNo {
				m.never[id] = true
			}
		}
	}
	for _, o := range out {
		switch o := o.(type) {
		case proto.Dispatch:
			m.runs[o.ID]++
			m.running = append(m.running, o.ID)
		case proto.Send:
			switch msg := o.Msg.(type) {
			case proto.Answer:
				if msg.Result != nil {
					said(msg.ID, *msg.Result)
				}
			case proto.Echo:
				said(msg.ID, msg.Results...)
			}
		case proto.SendTo:
			if msg, ok := o.Msg.(proto.Adopt); ok {
				said(msg.Echo.ID, msg.Echo.Results...)
			}
		}
	}
	for id := range maps.Keys(m.runs) {
		if m.runs[id] > 1 {
			m.rt.Fatalf("M4: call %d of n%d ran %d times", id.Seq, number(id.Caller), m.runs[id])
		}
		if m.never[id] && !m.refused[id] {
			m.rt.Fatalf("M3: call %d of n%d ran, and this node said that it did not and will not", id.Seq, number(id.Caller))
		}
	}
}
