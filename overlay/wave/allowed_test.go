package wave

import (
	"slices"

	"pgregory.net/rapid"

	"github.com/starlingmesh/starling/overlay/proto"
)

// allowed is the table of verdicts: which executed each may have.
var allowed = map[proto.Verdict][]proto.Executed{
	proto.Replied: {proto.ExecutedYes}, proto.AppError: {proto.ExecutedYes}, proto.ResultLost: {proto.ExecutedYes},
	proto.NoHandler: {proto.ExecutedNo}, proto.Overloaded: {proto.ExecutedNo}, proto.Rejected: {proto.ExecutedNo},
	proto.HandlerGone: {proto.ExecutedMaybe}, proto.TimedOut: {proto.ExecutedNo, proto.ExecutedMaybe}, proto.Lost: {proto.ExecutedMaybe},
	proto.Down: {proto.ExecutedNo, proto.ExecutedMaybe}, proto.Left: {proto.ExecutedNo, proto.ExecutedMaybe},
	proto.Unreachable: {proto.ExecutedNo, proto.ExecutedMaybe}, proto.Abandoned: {proto.ExecutedMaybe}, proto.NotAttempted: {proto.ExecutedNo},
}

// wrong says what is wrong with a verdict, or nothing.
func (j *jury) wrong(i int, v proto.CallVerdict) string {
	w, spoke := j.word[i]
	own := spoke && v.Verdict == w.Outcome && v.Executed == w.Executed
	switch {
	case !slices.Contains(allowed[v.Verdict], v.Executed):
		return "M3: the table has no such executed"
	case v.Executed == proto.ExecutedNo && j.mayHaveRun(i):
		return "M3: it may have run"
	case v.Executed == proto.ExecutedYes && (!spoke || w.Executed != proto.ExecutedYes):
		return "M3: it did not say that it ran"
	case v.Executed == proto.ExecutedYes && v.Stage != proto.StageFinished:
		return "it ran, and its stage is not finished"
	case v.Executed == proto.ExecutedNo && !own && v.Stage != proto.StageNotSent:
		return "nothing was sent, and its stage says otherwise"
	}
	switch v.Verdict {
	case proto.Replied, proto.AppError:
		if !own || string(v.Result.Payload) != string(w.Payload) {
			return "M5: that is not what it said"
		}
	case proto.NoHandler, proto.Overloaded, proto.Rejected, proto.HandlerGone:
		if !own {
			return "M5: it never said so"
		}
	case proto.ResultLost:
		if !own && int(w.Size) <= len(w.Payload) && len(w.Payload) < large {
			return "it was not too large to come by itself"
		}
	case proto.TimedOut:
		if !own && (!j.told[i] || j.now.Before(j.budget)) {
			return "no receipt of it was told, or its time is not over"
		}
	case proto.Lost:
		if !j.told[i] || v.Stage < proto.StageReceived {
			return "no receipt of it was told, or its stage forgets that"
		}
	case proto.Down, proto.Left:
		if !j.gone[i] {
			return "nobody told that it is gone"
		}
	case proto.Abandoned:
		if !j.over {
			return "the caller neither cancelled nor has enough"
		}
	case proto.NotAttempted:
		if v.Attempts > 0 {
			return "it was attempted"
		}
	case proto.Unreachable:
		if v.Executed == proto.ExecutedMaybe && v.Stage == proto.StageNotSent {
			return "it may have run, and its stage is not sent"
		}
	}
	return ""
}

// large is the size of a reply that does not come with an echo.
const large = 9000

// speaks is a node's word, drawn once: what package rpc, or this machine at the target, may say.
func (j *jury) speaks(i int) proto.Result {
	w, spoke := j.word[i]
	if !spoke {
		w = rapid.SampledFrom([]proto.Result{
			reply("x"), reply(string(make([]byte, large))),
			{Outcome: proto.AppError, Executed: proto.ExecutedYes, Stage: proto.StageFinished, Code: "e"},
			{Outcome: proto.ResultLost, Executed: proto.ExecutedYes, Stage: proto.StageFinished},
			{Outcome: proto.NoHandler, Executed: proto.ExecutedNo, Stage: proto.StageReceived},
			{Outcome: proto.Rejected, Executed: proto.ExecutedNo, Stage: proto.StageFinished},
			{Outcome: proto.HandlerGone, Executed: proto.ExecutedMaybe, Stage: proto.StageStarted},
			{Outcome: proto.TimedOut, Executed: proto.ExecutedMaybe, Stage: proto.StageStarted},
			{Outcome: proto.TimedOut, Executed: proto.ExecutedNo, Stage: proto.StageReceived},
			j.w.overloaded().Result, j.w.closedCall().Result,
		}).Draw(j.rt, "word")
		j.word[i] = w
	}
	return w
}

// some draws one of the other nodes of which ok holds.
func (j *jury) some(ok func(int) bool) int {
	var fit []int
	for i := 1; i < j.n; i++ {
		if ok(i) {
			fit = append(fit, i)
		}
	}
	if len(fit) == 0 {
		j.rt.Skip("nobody")
	}
	return rapid.SampledFrom(fit).Draw(j.rt, "node")
}

func (j *jury) has(i int) bool { return j.reached[i] || len(j.asks[i]) > 0 }

// overLink: it was sent CALL over a link that stands.
func (j *jury) overLink(i int) bool { _, ok := j.sent[i]; return ok && j.linked[i] && j.reached[i] }

func (j *jury) took(*rapid.T) {
	i := j.some(j.overLink)
	if rapid.Bool().Draw(j.rt, "seen") {
		j.from(i, proto.Seen{ID: j.call.ID, Round: j.sent[i]})
		return
	}
	j.told[i] = true
	j.from(i, proto.Took{ID: j.call.ID, Round: j.sent[i]})
}

// news is what an echo of a round may carry.
func (j *jury) news(round uint8, from int) proto.Echo {
	m := proto.Echo{ID: j.call.ID, Round: round, Final: rapid.Bool().Draw(j.rt, "final"), Spread: rapid.Bool().Draw(j.rt, "spread")}
	j.told[from] = true
	for i := 1; i < j.n; i++ {
		if i != from && round == 0 || !j.reached[i] {
			continue
		}
		switch rapid.IntRange(0, 4).Draw(j.rt, "news") {
		case 0:
			j.told[i] = true
			m.Receipts = append(m.Receipts, proto.Receipt{Node: who(i), Parent: who(from), Round: round})
		case 1:
			j.told[i] = true
			r := j.speaks(i)
			if len(r.Payload) >= large && round > 0 {
				r.Payload = nil
			}
			m.Results = append(m.Results, proto.NodeResult{Node: who(i), Incarnation: 1, Result: r})
		case 2:
			t := proto.Testimony{Witness: who(from), Node: who(i), Kind: proto.TestimonyKind(rapid.IntRange(1, 3).Draw(j.rt, "kind")), Received: rapid.Bool().Draw(j.rt, "received")}
			j.told[i] = j.told[i] || t.Received
			m.Testimony = append(m.Testimony, t)
		}
	}
	return m
}

func (j *jury) echo(*rapid.T) {
	i := j.some(j.overLink)
	j.from(i, j.news(j.sent[i], i))
}

func (j *jury) adopt(*rapid.T) {
	i := j.some(func(i int) bool { return j.reached[i] && !j.call.ID.Caller.IsZero() && j.call.Round > 0 })
	j.on(j.pooled(i), i, proto.Adopt{Echo: j.news(j.call.Round, i)})
}

// answer: a receipt of an ask, or its word.
func (j *jury) answer(*rapid.T) {
	i := j.some(func(i int) bool { return !j.asked[i].Caller.IsZero() && j.has(i) })
	m := proto.Answer{ID: j.asked[i], Node: who(i)}
	j.told[i], j.reached[i] = true, true
	if rapid.Bool().Draw(j.rt, "word") {
		m.Result = &proto.NodeResult{Node: who(i), Incarnation: 1, Result: j.speaks(i)}
	}
	j.on(j.pooled(i), i, m)
}

// status: how far it is, or its word; nobody need have asked for it.
func (j *jury) status(*rapid.T) {
	i := j.some(func(i int) bool { return j.reached[i] && !j.call.ID.Caller.IsZero() })
	m := proto.StatusAnswer{ID: j.call.ID, Node: who(i), Stage: proto.StageReceived}
	j.told[i] = true
	switch w, spoke := j.word[i]; {
	case spoke:
		m.Stage, m.Result = proto.StageFinished, &proto.NodeResult{Node: who(i), Incarnation: 1, Result: w}
	case rapid.Bool().Draw(j.rt, "started"):
		m.Stage = proto.StageStarted
	}
	j.on(j.pooled(i), i, m)
}

// fail: an ask did not get there; if no byte of it left, nothing ran because of it.
func (j *jury) fail(*rapid.T) {
	i := j.some(func(i int) bool { return len(j.asks[i]) > 0 && !j.told[i] })
	m, handed := j.asks[i][0], rapid.Bool().Draw(j.rt, "handed")
	j.asks[i] = j.asks[i][1:]
	j.reached[i] = j.reached[i] || handed
	j.do(func(out *proto.Out) { j.w.SendFailed(j.now, who(i), m, proto.DialRefused, handed, out) })
}

func (j *jury) helpless(*rapid.T) {
	i := j.some(func(i int) bool { return !j.asked[i].Caller.IsZero() && j.reached[i] })
	by := j.some(func(b int) bool { return j.linked[b] && b != i })
	j.from(by, proto.Helpless{ID: j.asked[i], Target: who(i), Why: proto.DialRefused})
}

func (j *jury) breakLink(*rapid.T) {
	i := j.some(func(i int) bool { return j.linked[i] })
	j.linked[i] = false
	delete(j.sent, i)
	j.down(proto.LinkID(i), i)
}

func (j *jury) newLink(*rapid.T) {
	i := j.some(func(i int) bool { _, ever := j.linked[i]; return !ever && !j.gone[i] }) // a link's number never comes twice
	j.linked[i] = true
	j.solo.linked(i)
}

func (j *jury) die(*rapid.T) {
	i := j.some(func(i int) bool { return !j.gone[i] })
	j.gone[i] = true
	status := rapid.SampledFrom([]proto.Status{proto.StatusDown, proto.StatusLeft}).Draw(j.rt, "status")
	m := &proto.Member{Entry: j.roster.Members[i].Entry, Status: status, Since: j.now, Why: "certified"}
	j.roster.Members[i] = m
	kind := map[proto.Status]proto.ChangeKind{proto.StatusDown: proto.ChangeDown, proto.StatusLeft: proto.ChangeLeft}[status]
	j.do(func(out *proto.Out) { j.w.MemberChanged(j.now, proto.MemberChange{Kind: kind, Member: m}, out) })
}

// own is this node's handler's answer.
func (j *jury) own(*rapid.T) {
	if _, spoke := j.word[0]; spoke || !j.reached[0] {
		j.rt.Skip("it does not run")
	}
	for id, c := range j.w.calls {
		if c.exec.state == execRunning {
			r := reply("own")
			if rapid.Bool().Draw(j.rt, "refuses") {
				r = proto.Result{Outcome: proto.NoHandler, Executed: proto.ExecutedNo, Stage: proto.StageReceived}
			}
			j.word[0] = r
			j.result(id, r)
		}
	}
}

func (j *jury) cancel(*rapid.T) {
	if rapid.IntRange(0, 3).Draw(j.rt, "really") > 0 {
		j.rt.Skip("not now")
	}
	j.over = true
	j.do(func(out *proto.Out) { j.w.Cancel(j.now, j.ref, out) })
}
