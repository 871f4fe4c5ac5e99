package local

import (
	"slices"
	"strconv"
	"strings"

	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// takes is one frame as it comes to an application, held to what truly happened.
func (w *town) takes(p *person, f *starlingv1.ServerFrame) {
	switch f := f.GetFrame().(type) {
	case *starlingv1.ServerFrame_Registered:
		if f.Registered.GetFailure() != nil && !p.dawdled && !p.greedy { // its session may have ended because of that
			w.rt.Fatalf("register: %v", f.Registered)
		}
	case *starlingv1.ServerFrame_Request:
		w.isHanded(p, f.Request)
	case *starlingv1.ServerFrame_Event:
		w.hears(p, f.Event)
	case *starlingv1.ServerFrame_Done:
		w.isTold(p, f.Done)
	case *starlingv1.ServerFrame_Cancel, *starlingv1.ServerFrame_Goodbye:
	default:
		w.rt.Fatalf("application %d got %v", p.number, f)
	}
}

// isHanded: each request goes to one application, that has served the method, within its credit, and never after a word that
// said it was not executed.
func (w *town) isHanded(p *person, r *starlingv1.Request) {
	a := w.asked[strings.TrimSpace(string(r.GetPayload().GetData()))]
	switch {
	case a == nil:
		w.rt.Fatalf("M5: application %d was handed what nobody asked: %v", p.number, r)
	case a.served != nil:
		w.rt.Fatalf("M4: %s was handed to application %d and again to %d", a.carries, a.served.number, p.number)
	case a.ended && a.executed == starlingv1.Executed_EXECUTED_NO:
		w.rt.Fatalf("M3: %s is handed out, and its caller was told that it was not executed", a.carries)
	case !p.ever[a.method] || r.GetMethod() != a.method:
		w.rt.Fatalf("S4: application %d was handed a request for %s, which it never served", p.number, r.GetMethod())
	}
	a.served, p.working[r.GetId()], p.handed = p, a, max(p.handed, r.GetId())
	if len(p.working) > p.credit {
		w.rt.Fatalf("S2: application %d has %d requests, and wants %d", p.number, len(p.working), p.credit)
	}
}

// hears: all messages of the topic in their order, or a gap that tells how many are missing.
func (w *town) hears(p *person, e *starlingv1.Event) {
	if e.GetGap() > 0 {
		p.heard += e.GetGap()
		return
	}
	text := e.GetPayload().GetData()
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n <= p.lastMsg || n <= p.since {
		w.rt.Fatalf("M10: application %d heard %q after message %d", p.number, text, p.lastMsg)
	}
	p.heard++ // the gap of what is missing before it may come behind it
	p.lastMsg = n
	p.send(&starlingv1.ClientFrame{Frame: &starlingv1.ClientFrame_Credit{Credit: &starlingv1.Credit{EventBytes: uint32(len(text))}}})
}

// isTold is the end of a call: one for each, with one verdict for each target.
func (w *town) isTold(p *person, d *starlingv1.CallDone) {
	a := p.calls[d.GetId()]
	if a == nil {
		w.rt.Fatalf("M1: application %d is told again, or of another's call: %v", p.number, d)
	}
	open := len(p.calls) // this one, and at least those that the sidecar counts
	delete(p.calls, d.GetId())
	a.ended = true
	if why := d.GetFailure().GetReason(); why != "" {
		switch {
		case why == "TOO_MANY_CALLS" && open > townCalls:
		case why == "TOO_SLOW" && (p.dawdled || p.greedy): // its session has ended because of that
		default:
			w.rt.Fatalf("%s of application %d was refused: %v", a.carries, p.number, d.GetFailure())
		}
		a.executed = starlingv1.Executed_EXECUTED_NO
		return
	}
	verdicts := d.GetMulticall().GetVerdicts()
	if a.of != everybody {
		verdicts = []*starlingv1.NodeVerdict{d.GetCall().GetVerdict()}
	}
	var names []string
	for _, v := range verdicts {
		names = append(names, v.GetName())
		switch v.GetName() {
		case "a":
			a.executed = v.GetExecuted()
			if wrong := w.wrong(a, v); wrong != "" {
				w.rt.Fatalf("%s: %+v was told %v", wrong, a, v)
			}
		case "b":
			if text := strings.TrimSpace(string(v.GetPayload().GetData())); text != a.carries {
				w.rt.Fatalf("M5: %s came back from b as %q", a.carries, text)
			}
		case "c":
			if k := v.GetVerdict(); k != starlingv1.Verdict_VERDICT_UNREACHABLE && (k != starlingv1.Verdict_VERDICT_ABANDONED || !a.cancelled) {
				w.rt.Fatalf("M5: c, which is silent, is told as %v", v)
			}
		}
	}
	if got := strings.Join(names, ""); got != a.of {
		w.rt.Fatalf("M1: %s has verdicts of %q", a.carries, got)
	}
}

// wrong says what is wrong with a verdict on this node, or nothing. A handler's request that was not read yet counts as
// handed out only if the verdict says so: its reader may dawdle.
func (w *town) wrong(a *asked, v *starlingv1.NodeVerdict) string {
	type word struct {
		v starlingv1.Verdict
		e starlingv1.Executed
	}
	const yes, no, maybe = starlingv1.Executed_EXECUTED_YES, starlingv1.Executed_EXECUTED_NO, starlingv1.Executed_EXECUTED_MAYBE
	if v.GetExecuted() == no && a.served != nil {
		return "M3: its handler had it"
	}
	switch (word{v.GetVerdict(), v.GetExecuted()}) {
	case word{starlingv1.Verdict_VERDICT_REPLIED, yes}:
		if a.failed || a.said == "" || string(v.GetPayload().GetData()) != a.said {
			return "M5, S4: that is not what its handler said first"
		}
	case word{starlingv1.Verdict_VERDICT_APP_ERROR, yes}:
		if !a.failed || v.GetError().GetMessage() != a.said {
			return "M5, S4: that is not its handler's error"
		}
	case word{starlingv1.Verdict_VERDICT_NO_HANDLER, no}, word{starlingv1.Verdict_VERDICT_OVERLOADED, no}:
	case word{starlingv1.Verdict_VERDICT_HANDLER_GONE, maybe}:
		if a.served != nil && !a.served.gone && !a.served.babbled && !a.served.dawdled && !a.served.greedy {
			return "M5: its handler is there"
		}
	case word{starlingv1.Verdict_VERDICT_TIMED_OUT, maybe}, word{starlingv1.Verdict_VERDICT_TIMED_OUT, no}:
		if v.GetElapsed().AsDuration() < 20e6 {
			return "its time was not over"
		}
		mayHaveIt := func(p *person) bool { return (p.dawdled || p.greedy) && p.ever[a.method] }
		if v.GetExecuted() == maybe && a.served == nil && !slices.ContainsFunc(w.ever, mayHaveIt) {
			return "M9: nobody can have had it, and nobody gave a word on it"
		}
	case word{starlingv1.Verdict_VERDICT_ABANDONED, maybe}:
		if !a.cancelled {
			return "S4: its caller did not cancel it"
		}
	default:
		return "no such pair of verdict and executed"
	}
	return ""
}
