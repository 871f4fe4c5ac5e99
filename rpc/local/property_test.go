package local

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/rpc"
	"github.com/starlingmesh/starling/rpc/rpctest"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// asked is one call and all that truly became of it.
type asked struct {
	carries   string
	by        *person
	of        string // a, b or all three nodes
	answer    int    // bytes that b sends back
	deadline  time.Time
	served    *person // who was handed it
	method    string
	said      string // the first answer of who was handed it
	failed    bool   // which was an error
	left      bool   // who was handed it went
	cancelled bool
	orphan    bool // its caller went
	ended     bool
	executed  starlingv1.Executed
}

// echoOrSilence: b answers, c never does.
func echoOrSilence(m *proto.Member, r *proto.Request) (proto.CallVerdict, bool) {
	if m.Entry.Name == "c" {
		return proto.CallVerdict{}, false
	}
	return rpctest.Echo(m, r)
}

// TestWhateverApplicationsDoEachIsToldTheTruthAndHarmsNobodyElse: S1 to S4 and M9, with M1 to M5 as an application sees
// them, over sessions that open, crash, dawdle, babble, steal, cancel, answer twice or late, and serve now this, now that.
func TestWhateverApplicationsDoEachIsToldTheTruthAndHarmsNobodyElse(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { rapid.SyncTest(rt, func(rt *rapid.T) { townLife(t, rt) }) })
}

func townLife(t *testing.T, rt *rapid.T) {
	t.Helper()
	w := newTown(t, rt)
	defer w.stop()
	rt.Repeat(map[string]func(*rapid.T){
		"begin": w.begin, "serve": w.serve, "ask": w.ask, "reply": w.reply, "reply more": w.reply,
		"reply again": w.replyAgain, "steal": w.steal, "cancel": w.cancel, "publish": w.publish, "dawdle": w.pause, "gorge": w.gorge, "wait": w.wait,
		"babble": w.babble, "go": w.leave, "": func(*rapid.T) { w.holds() },
	})
	for _, p := range w.people {
		p.dawdle(false)
	}
	time.Sleep(time.Hour)
	w.holds()
	for _, p := range w.people {
		if p.err == nil && len(p.calls) > 0 {
			rt.Fatalf("M1: application %d waits for %d calls", p.number, len(p.calls))
		}
		if p.err == nil && p.heard != w.sent-p.since {
			rt.Fatalf("S2: application %d had %d messages and gaps of %d", p.number, p.heard, w.sent-p.since)
		}
	}
	for len(w.people) > 0 {
		w.hangUp(w.people[0], rapid.Bool().Draw(rt, "politely"))
	}
	w.hangUp(w.witness, true)
	time.Sleep(time.Hour)
	if g := w.svc.Gauges(); g != (rpc.Gauges{}) {
		rt.Fatalf("M9: all have gone, and left are %+v", g)
	}
}

func (w *town) draw(n int) int { return rapid.IntRange(0, n-1).Draw(w.rt, "n") }

// person draws one of whom ok holds.
func (w *town) person(ok func(*person) bool) *person {
	var fit []*person
	for _, p := range w.people {
		if ok(p) {
			fit = append(fit, p)
		}
	}
	if len(fit) == 0 {
		w.rt.Skip("nobody")
	}
	return fit[w.draw(len(fit))]
}

var onA = &starlingv1.CallRequest_Node{Node: "a"}

// everybody is whom a multicall asks.
const everybody = "abc"

func anybody(*person) bool { return true }

func (w *town) begin(*rapid.T) {
	if len(w.people) >= 4 {
		w.rt.Skip("enough")
	}
	p := w.connect()
	p.since = w.sent
	w.people = append(w.people, p)
	w.register(p)
}

func (w *town) serve(*rapid.T) { w.register(w.person(anybody)) }

// register: what it serves changes, what it listens to does not.
func (w *town) register(p *person) {
	var methods []string
	for _, m := range []string{"m", "n"} {
		if w.draw(3) > 0 {
			methods = append(methods, m)
			p.ever[m] = true
		}
	}
	p.send(&starlingv1.ClientFrame{Frame: &starlingv1.ClientFrame_Register{Register: &starlingv1.Register{Methods: methods, Topics: []string{"t"}}}})
}

func (w *town) ask(*rapid.T) {
	p := w.person(anybody)
	for range 1 + w.draw(5) {
		w.start(p, []string{"a", "a", everybody}[w.draw(3)], w.draw(3)*7000)
	}
}

// gorge asks for much more than it reads.
func (w *town) gorge(*rapid.T) {
	p := w.person(anybody)
	p.dawdle(true)
	for range w.draw(3 * townCalls) {
		w.start(p, "b", 14000)
		synctest.Wait()
	}
}

// start asks these nodes, with so many blanks beside what the call carries.
func (w *town) start(p *person, of string, blanks int) {
	p.lastID++
	a := &asked{by: p, of: of, method: []string{"m", "n"}[w.draw(2)], carries: fmt.Sprintf("c%d", len(w.asked))}
	timeout := time.Duration(50+w.draw(3000)) * time.Millisecond
	a.deadline = time.Now().Add(timeout)
	w.asked[a.carries], p.calls[p.lastID] = a, a
	if strings.Contains(of, "b") {
		a.answer = len(a.carries) + blanks
	}
	p.noteGreed()
	payload := &starlingv1.Payload{Body: &starlingv1.Payload_Text{Text: a.carries + strings.Repeat(" ", blanks)}}
	start := &starlingv1.StartCall{Id: p.lastID, What: &starlingv1.StartCall_Call{Call: &starlingv1.CallRequest{
		Target: &starlingv1.CallRequest_Node{Node: of}, Method: a.method, Payload: payload, Timeout: durationpb.New(timeout),
	}}}
	if of == everybody {
		start.What = &starlingv1.StartCall_Multicall{Multicall: &starlingv1.MulticallRequest{
			Method: a.method, Payload: payload, Timeout: durationpb.New(timeout),
		}}
	}
	p.send(&starlingv1.ClientFrame{Frame: &starlingv1.ClientFrame_Start{Start: start}})
}

// noteGreed: if all that it waits for came at one moment, it would be more than may wait, and its session would end.
func (p *person) noteGreed() {
	sum := 0
	for _, a := range p.calls {
		sum += a.answer + 256
	}
	p.greedy = p.greedy || sum > townAnswer
}

func (w *town) reply(*rapid.T) {
	p := w.person(func(p *person) bool { return len(p.working) > 0 && !p.dawdles() })
	id := slices.Min(slices.Collect(maps.Keys(p.working)))
	a := p.working[id]
	delete(p.working, id)
	p.done = append(p.done, id)
	a.said, a.failed = fmt.Sprintf("%s by %d", a.carries, p.number), w.draw(4) == 0
	f := replyFrame(id, a.said)
	if a.failed {
		f.GetReply().Outcome = &starlingv1.Reply_Error{Error: &starlingv1.AppError{Code: "drawn", Message: a.said}}
	}
	p.send(f)
}

// replyAgain answers what it has answered already.
func (w *town) replyAgain(*rapid.T) {
	p := w.person(func(p *person) bool { return len(p.done) > 0 })
	p.send(replyFrame(p.done[w.draw(len(p.done))], "again"))
}

// steal answers what it was not handed.
func (w *town) steal(*rapid.T) {
	p := w.person(func(p *person) bool { return !p.dawdles() })
	if id := p.handed + uint64(w.draw(3)); p.working[id] == nil { // the next may wait for its credit, and is not known to it
		p.send(replyFrame(id, "stolen"))
	}
}

// cancel gives up a call of its own; the numbers of others' are the same ones.
func (w *town) cancel(*rapid.T) {
	p := w.person(anybody)
	id := uint64(w.draw(10))
	if a := p.calls[id]; a != nil {
		a.cancelled = true
	}
	p.send(&starlingv1.ClientFrame{Frame: &starlingv1.ClientFrame_Cancel{Cancel: &starlingv1.Cancel{Id: id}}})
}

func (w *town) publish(*rapid.T) {
	for range 1 + w.draw(12) {
		w.sent++
		w.mesh.Submit(proto.Publish{Body: proto.CastBody{Topic: "t", Payload: fmt.Appendf(nil, "%d%s", w.sent, strings.Repeat(" ", w.draw(3)*6400))}})
	}
}

func (w *town) pause(*rapid.T) {
	p := w.person(anybody)
	p.dawdle(!p.dawdles())
}

func (w *town) wait(*rapid.T) { time.Sleep(time.Duration(w.draw(1000)) * time.Millisecond) }

// babble sends what makes no sense.
func (w *town) babble(*rapid.T) {
	if w.draw(2) > 0 {
		w.rt.Skip("not now")
	}
	p := w.person(anybody)
	p.babbled = true
	p.send([]*starlingv1.ClientFrame{
		{},
		{Frame: &starlingv1.ClientFrame_Hello{Hello: &starlingv1.Hello{}}},
		{Frame: &starlingv1.ClientFrame_Start{Start: &starlingv1.StartCall{Id: 99}}},
	}[w.draw(3)])
}

func (w *town) leave(*rapid.T) { w.hangUp(w.person(anybody), w.draw(2) == 0) }

// holds is what is so after every step, when all has come to rest.
func (w *town) holds() {
	synctest.Wait()
	w.ping()
	for _, a := range w.svc.Apps() {
		if a.Bytes > 2*townQueue+townAnswer {
			w.rt.Fatalf("S2: %d bytes wait for one application", a.Bytes)
		}
	}
	for _, p := range slices.Clone(w.people) {
		for frames := p.take(); len(frames) > 0; frames = p.take() {
			for _, f := range frames {
				w.takes(p, f)
			}
			synctest.Wait() // the events' credit may have brought more
		}
		w.sessionHolds(p)
	}
	w.waits()
}

// waits: while a call of this node alone goes on, some application was handed its request, or has it in its queue (M9).
func (w *town) waits() {
	queued, owed := 0, 0
	for _, a := range w.svc.Apps() {
		queued += a.Waiting
	}
	for _, p := range w.people {
		if p.dawdles() {
			return // it may have been handed some, or may have been told of some ends
		}
		for _, a := range p.calls {
			if a.of == "a" && a.served == nil && time.Now().Before(a.deadline) {
				owed++
			}
		}
	}
	if owed > queued {
		w.rt.Fatalf("M9: %d requests wait to be handed out, and %d are in a queue", owed, queued)
	}
}

// ping: who does nothing wrong is served at once, whatever others do (S1, S3, M7).
func (w *town) ping() {
	p := w.witness
	p.lastID++
	p.send(&starlingv1.ClientFrame{Frame: &starlingv1.ClientFrame_Start{Start: &starlingv1.StartCall{
		Id: p.lastID, What: &starlingv1.StartCall_Call{Call: &starlingv1.CallRequest{Target: onA, Method: rpc.PingMethod}},
	}}})
	synctest.Wait()
	frames := p.take()
	if len(frames) != 1 || frames[0].GetDone().GetId() != p.lastID || frames[0].GetDone().GetCall().GetVerdict().GetVerdict() != starlingv1.Verdict_VERDICT_REPLIED {
		w.rt.Fatalf("S1, S3: a ping of somebody else was not answered at once but with %v, %v", frames, p.err)
	}
}

func (w *town) sessionHolds(p *person) {
	p.mu.Lock()
	err, resting := p.err, p.gate == nil
	p.mu.Unlock()
	switch {
	case err != nil && !p.babbled && !p.dawdled && !p.greedy:
		w.rt.Fatalf("S1: the session of application %d, which did nothing wrong, has ended: %v", p.number, err)
	case err == nil && resting && p.babbled:
		w.rt.Fatalf("S1: application %d babbled, and its session goes on", p.number)
	case err != nil:
		if _, pipe := p.stream.(*directApp); errors.Is(err, io.EOF) && (!pipe || !p.dawdled) { // a pipe, other than a socket, holds no goodbye for who does not read
			w.rt.Fatalf("S2: the session of application %d was ended without a word", p.number)
		}
		w.hangUp(p, true)
		return
	}
	for id, a := range p.calls {
		if resting && time.Now().After(a.deadline) {
			w.rt.Fatalf("M2: call %d of application %d has not ended %v after its time", id, p.number, time.Since(a.deadline))
		}
	}
}
