package wave

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// jury is one caller whose surroundings are drawn: links, receipts, testimony, words, deaths and the end of its patience, in
// any order that honest nodes could cause. It keeps what truly may have happened, and judges each verdict by that.
type jury struct {
	*solo
	rt       *rapid.T
	n        int
	call     proto.Call          // the wave's latest; zero: there was none
	linked   map[int]bool        // neighbours
	sent     map[int]uint8       // who was sent CALL over its own link, and of which round
	reached  map[int]bool        // the call may have got to its handler, whatever fails now
	asks     map[int][]proto.Ask // straight to it, which may still turn out not to have left
	asked    map[int]proto.CallID
	word     map[int]proto.Result // its own, once it has one; what says "not executed" holds for ever
	told     map[int]bool         // somebody told that it has the call
	gone     map[int]bool         // the directory told that it is down or has left
	targets  map[int]bool
	verdicts map[int]proto.CallVerdict
	over     bool // cancelled, or enough replied
	budget   time.Time
	done     bool
	in       proto.StartCall
}

// TestEveryVerdictIsOneThatTheTableAllows: whatever is known when a call ends or its budget is over, each target has one
// verdict, with an executed and a stage that the table of verdicts has, and "no" never for a handler that may have run (M1, M3, M5).
func TestEveryVerdictIsOneThatTheTableAllows(t *testing.T) {
	seen := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		j := drawJury(t, rt)
		rt.Repeat(map[string]func(*rapid.T){
			"took": j.took, "echo": j.echo, "echo more": j.echo, "adopt": j.adopt, "answer": j.answer, "status": j.status,
			"fail": j.fail, "helpless": j.helpless, "break": j.breakLink, "link": j.newLink, "die": j.die, "own": j.own, "cancel": j.cancel,
			"wait": func(*rapid.T) { j.pass(time.Duration(rapid.IntRange(0, 800).Draw(rt, "ms")) * time.Millisecond) },
			"":     func(*rapid.T) { j.judge() },
		})
		j.pass(time.Minute)
		j.judge()
		if !j.done {
			rt.Fatal("M2: it never ends")
		}
		for i, v := range j.verdicts {
			if v.Executed == proto.ExecutedNo && j.mayHaveRun(i) {
				rt.Fatalf("M3: n%d may have run after all, and its verdict was %v, not executed", i, v.Verdict)
			}
			seen[fmt.Sprint(v.Verdict, "/", v.Executed, "/", v.Stage)]++
		}
	})
	t.Log(seen)
}

// drawJury begins a call: to all or to some, of nodes that are alive, or known to be gone.
func drawJury(t *testing.T, rt *rapid.T) *jury {
	t.Helper()
	n := rapid.IntRange(2, 6).Draw(rt, "nodes")
	j := &jury{
		solo: newSolo(t, n, func(c *Config) {
			c.DirectMax = rapid.IntRange(0, 3).Draw(rt, "direct")
			c.AsksMax = rapid.IntRange(1, 4).Draw(rt, "asks")
			c.OpenMax = 2
		}), rt: rt, n: n, linked: map[int]bool{}, sent: map[int]uint8{}, reached: map[int]bool{}, asks: map[int][]proto.Ask{},
		asked: map[int]proto.CallID{}, word: map[int]proto.Result{}, told: map[int]bool{}, gone: map[int]bool{},
		targets: map[int]bool{}, verdicts: map[int]proto.CallVerdict{},
	}
	for i := 1; i < n; i++ {
		if rapid.IntRange(0, 3).Draw(rt, "gone") == 0 {
			j.gone[i] = true
			j.roster.Members[i] = &proto.Member{
				Entry: j.roster.Members[i].Entry, Since: j.now, Why: "before",
				Status: rapid.SampledFrom([]proto.Status{proto.StatusDown, proto.StatusLeft}).Draw(rt, "status"),
			}
		} else if rapid.Bool().Draw(rt, "linked") {
			j.linked[i] = true
			j.solo.linked(i)
		}
	}
	j.in = proto.StartCall{MinReplies: rapid.IntRange(0, 2).Draw(rt, "enough"), Budget: time.Duration(rapid.IntRange(1, 3000).Draw(rt, "budget")) * time.Millisecond}
	if rapid.Bool().Draw(rt, "some") {
		for i := range n {
			if rapid.Bool().Draw(rt, "this") {
				j.in.Select.IDs = append(j.in.Select.IDs, who(i))
			}
		}
	}
	j.budget = j.now.Add(j.in.Budget)
	j.ask(j.in)
	return j
}

// judge takes what the machine did, and holds it to what may have happened.
func (j *jury) judge() {
	out := j.out
	j.out = nil
	for _, o := range out {
		switch o := o.(type) {
		case proto.CallStarted:
			for _, m := range o.Targets {
				j.targets[number(m.Entry.ID)] = true
			}
		case proto.Send:
			switch m := o.Msg.(type) {
			case proto.Call:
				j.spread(o.Link, m)
			case proto.Help: // the helper may reach it
				j.reached[number(m.Target.ID)], j.asked[number(m.Target.ID)] = true, m.Ask.Call.ID
			}
		case proto.SendTo:
			if m, ok := o.Msg.(proto.Ask); ok {
				i := number(o.Peer.ID)
				j.asks[i], j.asked[i] = append(j.asks[i], m), m.Call.ID
			}
		case proto.Dispatch:
			j.reached[0] = true
		case proto.CancelDispatch:
			if _, ok := j.word[0]; !ok {
				j.word[0] = proto.Result{Outcome: proto.TimedOut, Executed: proto.ExecutedMaybe, Stage: proto.StageStarted}
				j.result(o.ID, j.word[0])
			}
		case proto.CallVerdict:
			j.verdict(o)
		case proto.CallDone:
			if j.done || len(j.verdicts) != len(j.targets) {
				j.rt.Fatalf("M1: it ends (%v) with %d verdicts on %d", j.done, len(j.verdicts), len(j.targets))
			}
			j.done = true
		default:
		}
	}
	if len(j.out) > 0 {
		j.judge()
	}
}

// spread: a star's CALL gets to who is at the other end, a wave's to everybody whom it does not leave out.
func (j *jury) spread(on proto.LinkID, m proto.Call) {
	j.call = m
	j.sent[int(on)] = m.Round
	for i := 1; i < j.n; i++ {
		if (m.Round > 0 || int(on) == i) && !slices.Contains(m.Excluded, who(i)) {
			j.reached[i] = true
		}
	}
}

// mayHaveRun is the truth at its worst: who could run has, unless it said that it never will.
func (j *jury) mayHaveRun(i int) bool {
	return j.has(i) && j.word[i].Executed != proto.ExecutedNo
}

func (j *jury) verdict(v proto.CallVerdict) {
	i := number(v.Node)
	_, twice := j.verdicts[i]
	switch {
	case v.Extra && j.targets[i]:
		j.rt.Fatalf("M1: n%d is a target, and counts as extra", i)
	case v.Extra:
		return
	case twice || j.done || !j.targets[i]:
		j.rt.Fatalf("M1: a verdict (%v) on n%d, twice (%v), after the end (%v), or on no target", v.Verdict, i, twice, j.done)
	}
	j.verdicts[i] = v
	if v.Verdict == proto.Replied {
		replies := 0
		for _, v := range j.verdicts {
			if v.Verdict == proto.Replied {
				replies++
			}
		}
		j.over = j.over || j.in.MinReplies > 0 && replies >= j.in.MinReplies
	}
	if wrong := j.wrong(i, v); wrong != "" {
		j.rt.Fatalf("n%d: %s: %v/%v/%v after %d attempts (%s)", i, wrong, v.Verdict, v.Executed, v.Stage, v.Attempts, v.Reason)
	}
}

// number is which node an ID is.
func number(id peer.ID) int { return int(id[1])<<8 | int(id[2]) }
