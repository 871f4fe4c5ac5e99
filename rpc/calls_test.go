package rpc

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// done is the end of the application's call.
func (s *script) done(a *App) *Answer {
	s.t.Helper()
	items := s.take(a)
	d, ok := items[len(items)-1].(DoneItem)
	if !ok {
		s.t.Fatalf("the last item is %T, want the end", items[len(items)-1])
	}
	return d.Answer
}

func TestEveryTargetsVerdictIsPassedOn(t *testing.T) {
	s := newScript(t)
	a := s.app("app")
	call := s.starts(a, 1, &Ask{Kind: Multicall, Method: "m"})
	s.says(call.Ref, 3, proto.Replied, proto.ExecutedYes, "C")
	s.says(call.Ref, 1, proto.AppError, proto.ExecutedYes, "")
	s.says(call.Ref, 2, proto.Unreachable, proto.ExecutedMaybe, "")
	s.Handle(proto.CallVerdict{Ref: call.Ref, Node: nodeID(9), Verdict: proto.Replied, Executed: proto.ExecutedYes, Extra: true})
	s.Handle(proto.CallDone{Ref: call.Ref, Late: 2})
	got := s.done(a)
	for i, want := range []struct {
		name string
		v    proto.Verdict
		e    proto.Executed
	}{{"a", proto.AppError, proto.ExecutedYes}, {"b", proto.Unreachable, proto.ExecutedMaybe}, {"c", proto.Replied, proto.ExecutedYes}} {
		if v := got.Verdicts[i]; v.Name != want.name || v.Verdict != want.v || v.Executed != want.e {
			t.Errorf("verdict %d is %+v, want %v", i, v, want)
		}
	}
	if len(got.Extra) != 1 || got.Summary.Asked != 3 || got.Summary.Replied != 1 || got.Summary.Yes != 2 || got.Summary.Maybe != 1 {
		t.Errorf("extra %v, summary %+v", got.Extra, got.Summary)
	}
	if s.counted("dropped", "late_answer") != 2 || s.counted("verdict", "unreachable") != 1 {
		t.Errorf("counters %v", s.Counters())
	}
}

func TestVerdictsStreamAsTheyCome(t *testing.T) {
	s := newScript(t)
	a := s.app("app")
	call := s.starts(a, 5, &Ask{Kind: Stream, Method: "m"})
	s.says(call.Ref, 3, proto.Replied, proto.ExecutedYes, "C")
	items := s.take(a)
	if v, ok := items[0].(VerdictItem); len(items) != 1 || !ok || v.Call != 5 || v.Verdict.Name != "c" {
		t.Fatalf("got %v", items)
	}
	s.Handle(proto.CallDone{Ref: call.Ref})
	if d := s.done(a); len(d.Verdicts) != 0 || d.Summary.Replied != 1 {
		t.Errorf("the end is %+v", d)
	}
	if g := s.Gauges(); g.QueuedBytes != 0 || g.Calls != 0 {
		t.Errorf("left are %+v", g)
	}
}

func TestAbcastModes(t *testing.T) {
	s := newScript(t)
	a := s.app("app")
	for i, c := range []struct {
		ask  Ask
		mode proto.Mode
		e    proto.Executed
	}{
		{Ask{Method: "m", Confirm: ConfirmNode}, proto.ModeCast, proto.ExecutedMaybe},
		{Ask{Method: "m", Confirm: ConfirmHandler}, proto.ModeCall, proto.ExecutedYes},
		{Ask{Topic: "t", Confirm: ConfirmNode}, proto.ModeDeliver, proto.ExecutedMaybe},
		{Ask{Topic: "t", Confirm: ConfirmHandler}, proto.ModeDeliverHandler, proto.ExecutedYes},
	} {
		c.ask.Kind = Abcast
		call := s.starts(a, uint64(i), &c.ask)
		if call.Request.Mode != c.mode {
			t.Errorf("%d: mode %v, want %v", i, call.Request.Mode, c.mode)
		}
		s.says(call.Ref, 2, proto.Replied, proto.ExecutedYes, "")
		s.Handle(proto.CallDone{Ref: call.Ref})
		if v := s.done(a).Verdicts[0]; v.Verdict != Delivered || v.Executed != c.e {
			t.Errorf("%d: %+v", i, v)
		}
	}
	for _, ask := range []*Ask{{Kind: Abcast, Method: "m"}, {Kind: Abcast, Topic: "t"}} {
		if err := a.Start(9, ask); err != nil {
			t.Fatal(err)
		}
		p, ok := s.inputs[len(s.inputs)-1].(proto.Publish)
		if !ok || p.Body.Topic != map[bool]string{true: "/m", false: "t"}[ask.Topic == ""] {
			t.Errorf("the overlay was given %+v", s.inputs[len(s.inputs)-1])
		}
		s.Handle(proto.Published{Ref: p.Ref})
		s.done(a)
	}
	if err := a.Start(9, &Ask{Kind: Abcast, Topic: "t", Targets: Selector{Zone: "z"}}); err != nil {
		t.Fatal(err)
	}
	if c := s.started(); c.Request.Mode != proto.ModeDeliver || c.Select.Zone != "z" {
		t.Errorf("a selection without confirmation is %+v", c)
	}
	s.done(a)
}

func TestTheAnswerComesBeforeTheDeadline(t *testing.T) {
	s := newScript(t)
	a := s.app("app")
	for i, timeout := range []time.Duration{time.Millisecond, 100 * time.Millisecond, 5 * time.Second, 10 * time.Minute} {
		call := s.starts(a, uint64(i), &Ask{Kind: Multicall, Method: "m", Timeout: timeout})
		if left := timeout - call.Budget; left <= 0 || left > 250*time.Millisecond || call.Budget < timeout/2 {
			t.Errorf("timeout %v: budget %v", timeout, call.Budget)
		}
	}
}

func TestCallsAreBounded(t *testing.T) { // M8
	s := newScript(t, func(c *Config) { c.CallsMax, c.AppCallsMax, c.CastsPerSecond = 3, 2, 2 })
	a, b := s.app("one"), s.app("two")
	for id := range uint64(2) {
		s.starts(a, id, &Ask{Kind: Multicall, Method: "m"})
	}
	if err := a.Start(2, &Ask{Kind: Multicall, Method: "m"}); err == nil || err.Reason != TooManyCalls {
		t.Errorf("a third call of one application: %v", err)
	}
	s.starts(b, 1, &Ask{Kind: Multicall, Method: "m"})
	if err := b.Start(1, &Ask{Kind: Multicall, Method: "m"}); err == nil || err.Reason != BadFrame {
		t.Errorf("an id twice: %v", err)
	}
	if err := b.Start(2, &Ask{Kind: Multicall, Method: "m"}); err == nil || err.Reason != TooManyCalls {
		t.Errorf("a fourth call in all: %v", err)
	}
	if s.counted("refused", "TOO_MANY_CALLS") != 2 {
		t.Errorf("counters %v", s.Counters())
	}
}

func TestCastsAreLimitedPerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t, func(c *Config) { c.CastsPerSecond = 2 })
		a := s.app("app")
		cast := func() *Error {
			return a.Start(1, &Ask{Kind: Cast, Method: "m", Targets: Selector{Nodes: []string{"b"}}})
		}
		for range 2 {
			if err := cast(); err != nil {
				t.Errorf("one of the first two: %v", err)
			}
		}
		if err := cast(); err == nil || err.Reason != CastsTooFast {
			t.Errorf("the third: %v", err)
		}
		<-time.After(500 * time.Millisecond) // of the bubble
		if err := cast(); err != nil {
			t.Errorf("half a second later: %v", err)
		}
	})
}

// An abcast that the overlay refuses is lost; "accepted" would be a lie.
func TestAnAbcastIsAcceptedWhenTheOverlayHasTakenIt(t *testing.T) {
	for _, why := range []string{"", "too many a second; wait and try again"} {
		s := newScript(t)
		a := s.app("app")
		if err := a.Start(1, &Ask{Kind: Abcast, Topic: "t"}); err != nil {
			t.Fatal(err)
		}
		if items := s.take(a); len(items) != 0 {
			t.Fatalf("before the overlay's word it was told %v", items)
		}
		p, _ := s.inputs[len(s.inputs)-1].(proto.Publish)
		s.Handle(proto.Published{Ref: p.Ref, Err: why})
		err := s.done(a).Err
		if why == "" && err != nil {
			t.Errorf("taken, but %v", err)
		}
		if why != "" && (err == nil || err.Reason != CastsTooFast || !strings.Contains(err.Text, why) || s.counted("refused", "CASTS_TOO_FAST") != 1) {
			t.Errorf("refused, but %v; counters %v", err, s.Counters())
		}
		s.Handle(proto.Published{Ref: p.Ref, Err: why})
		if g := s.Gauges(); g.Calls != 0 || len(s.take(a)) != 0 {
			t.Errorf("left are %+v", g)
		}
	}
}

// A broadcast nobody waits for any more is sent all the same.
func TestAnAbcastMayBeAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() {
			_, err := s.Do(ctx, &Ask{Kind: Abcast, Topic: "t"})
			result <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		p, _ := s.inputs[0].(proto.Publish)
		s.Handle(proto.Published{Ref: p.Ref})
		if g := s.Gauges(); g.Calls != 0 {
			t.Errorf("left are %+v", g)
		}
	})
}

func TestRepliesBeyondTheBoundAreLostInWords(t *testing.T) {
	s := newScript(t, func(c *Config) { c.MessageMax, c.AnswerBytes, c.QueueBytes = 1024, 1024, 4096 })
	a := s.app("app")
	call := s.starts(a, 1, &Ask{Kind: Multicall, Method: "m"})
	s.says(call.Ref, 1, proto.Replied, proto.ExecutedYes, string(make([]byte, 600)))
	s.says(call.Ref, 2, proto.Replied, proto.ExecutedYes, string(make([]byte, 600)))
	s.Handle(proto.CallDone{Ref: call.Ref})
	if v := s.done(a).Verdicts[1]; v.Verdict != proto.ResultLost || v.Executed != proto.ExecutedYes || v.Reason == "" || v.Payload.Data != nil {
		t.Errorf("got %+v", v)
	}
}

func TestAUnaryCallIsCancelledWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() {
			_, err := s.Do(ctx, &Ask{Kind: Multicall, Method: "m"})
			result <- err
		}()
		synctest.Wait()
		call := s.started()
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if c, ok := s.inputs[len(s.inputs)-1].(proto.CancelCall); !ok || c.Ref != call.Ref {
			t.Errorf("the overlay was given %v", s.inputs[len(s.inputs)-1])
		}
		s.says(call.Ref, 2, proto.Abandoned, proto.ExecutedMaybe, "")
		s.Handle(proto.CallDone{Ref: call.Ref})
	})
}

func TestClosingEndsEveryCall(t *testing.T) {
	s := newScript(t)
	a := s.app("app")
	s.starts(a, 1, &Ask{Kind: Multicall, Method: "m"})
	s.Close()
	if _, err := a.Take(nil, 1); err == nil || err.Reason != ShuttingDown {
		t.Errorf("got %v", err)
	}
	if _, err := s.Do(t.Context(), &Ask{Kind: Multicall, Method: "m"}); err == nil {
		t.Error("a call after the end was taken")
	}
}

func TestEveryReasonIsExplained(t *testing.T) {
	for _, e := range Reasons() {
		if e.Means == "" || e.Do == "" || e.Code == 0 {
			t.Errorf("%s is not explained", e.Reason)
		}
	}
}
