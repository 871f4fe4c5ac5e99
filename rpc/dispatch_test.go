package rpc

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

func TestOneApplicationPerNodeGetsACall(t *testing.T) {
	s := newScript(t)
	a, b := s.app("one", "m"), s.app("two", "m")
	got := 0
	for range 4 {
		id := s.arrives(proto.ModeCall, "m", time.Second)
		for _, app := range []*App{a, b} {
			for _, it := range s.take(app) {
				got++
				app.Reply(it.(RequestItem).ID, Reply{Payload: Payload{Data: []byte("ok")}})
			}
		}
		s.wantResult(id, proto.Replied, proto.ExecutedYes)
	}
	if got != 4 {
		t.Errorf("4 calls came %d times", got)
	}
}

func TestTheLeastBusyApplicationIsChosen(t *testing.T) {
	s := newScript(t)
	a, b := s.app("one", "m"), s.app("two", "m")
	for range 6 {
		s.arrives(proto.ModeCall, "m", time.Second)
	}
	if x, y := len(s.take(a)), len(s.take(b)); x != 3 || y != 3 {
		t.Errorf("%d and %d requests, want 3 each", x, y)
	}
}

func TestRefusalsAreNeverExecuted(t *testing.T) {
	s := newScript(t, func(c *Config) { c.QueueBytes, c.MessageMax = 4096, 1024 })
	full := s.app("full", "full")
	full.credit = 1
	for range 62 { // of 2 + 64 bytes
		s.arrives(proto.ModeCall, "full", time.Second)
	}
	for _, c := range []struct {
		what, method string
		budget       time.Duration
		verdict      proto.Verdict
		says         string
	}{
		{"nobody serves it", "none", time.Second, proto.NoHandler, "served are full"},
		{"a built-in that is not", "starling.none", time.Second, proto.NoHandler, PingMethod},
		{"a full queue", "full", time.Second, proto.Overloaded, "full"},
		{"no time left", "full", 0, proto.Rejected, "too late"},
	} {
		id := s.arrives(proto.ModeCall, c.method, c.budget)
		s.wantResult(id, c.verdict, proto.ExecutedNo)
		if r := s.answered(id); !strings.Contains(r.Reason, c.says) {
			t.Errorf("%s: %q does not say %q", c.what, r.Reason, c.says)
		}
	}
	s.Drain(true)
	id := s.arrives(proto.ModeCall, "full", time.Second)
	s.wantResult(id, proto.Rejected, proto.ExecutedNo)
	if up := s.inputs[len(s.inputs)-2].(proto.UpdateSelf); !up.Draining {
		t.Error("draining was not announced")
	}
}

func TestThePingIsAnsweredWithoutAnApplication(t *testing.T) {
	s := newScript(t)
	id := s.arrives(proto.ModeCall, PingMethod, time.Second)
	s.wantResult(id, proto.Replied, proto.ExecutedYes)
	if string(s.answered(id).Payload) != "hi" {
		t.Error("not what was sent")
	}
}

func TestARequestThatWaitedTooLongNeverRuns(t *testing.T) { // M6
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		a := s.app("slow", "m")
		a.credit = 1
		s.arrives(proto.ModeCall, "m", time.Minute)
		late := s.arrives(proto.ModeCall, "m", time.Second)
		first := s.gets(a)
		<-time.After(time.Second) // of the bubble
		synctest.Wait()
		s.wantResult(late, proto.TimedOut, proto.ExecutedNo)
		a.Reply(first.ID, Reply{})
		if items := s.take(a); len(items) > 0 {
			t.Errorf("it was handed out all the same: %v", items)
		}
		s.Close()
	})
}

func TestCancellingReachesTheHandler(t *testing.T) {
	s := newScript(t)
	a := s.app("app", "m")
	a.credit = 1
	running := s.arrives(proto.ModeCall, "m", time.Minute)
	waiting := s.arrives(proto.ModeCall, "m", time.Minute)
	r := s.gets(a)
	s.Handle(proto.CancelDispatch{ID: running, Why: "enough"})
	s.Handle(proto.CancelDispatch{ID: waiting, Why: "enough"})
	s.wantResult(waiting, proto.TimedOut, proto.ExecutedNo)
	s.wantNoResult(running)
	items := s.take(a)
	if c, ok := items[0].(CancelItem); len(items) != 1 || !ok || c.ID != r.ID || c.Why != "enough" {
		t.Fatalf("the handler was told %v", items)
	}
	if !a.Reply(r.ID, Reply{}) {
		t.Error("its answer was not called late")
	}
	s.wantResult(running, proto.Replied, proto.ExecutedYes) // owed, and true
	if !a.Reply(r.ID, Reply{}) || s.counted("dropped", "reply_to_nothing") != 1 {
		t.Error("a second answer was taken")
	}
}

func TestADetachedApplicationLeavesNothing(t *testing.T) { // M9
	s := newScript(t)
	a, b := s.app("dying", "m"), s.app("heir", "other")
	a.credit = 1
	running := s.arrives(proto.ModeCall, "m", time.Minute)
	waiting := s.arrives(proto.ModeCall, "m", time.Minute)
	s.gets(a)
	if err := b.Register([]string{"m"}, nil, nil); err != nil {
		t.Fatal(err)
	}
	own := s.starts(a, 7, &Ask{Kind: Multicall, Method: "x"})
	a.Detach(Errorf(ShuttingDown, "gone"))
	s.wantResult(running, proto.HandlerGone, proto.ExecutedMaybe)
	s.wantNoResult(waiting)
	r := s.gets(b) // it never ran: the other application has it
	b.Reply(r.ID, Reply{})
	s.wantResult(waiting, proto.Replied, proto.ExecutedYes)
	cancelled := false
	for _, in := range s.inputs {
		c, ok := in.(proto.CancelCall)
		cancelled = cancelled || ok && c.Ref == own.Ref
	}
	if !cancelled {
		t.Error("its own call goes on")
	}
	if _, err := a.Take(nil, 10); err == nil {
		t.Error("it does not learn that it is gone")
	}
	if g := s.Gauges(); g.Requests != 0 || g.QueuedBytes != 0 || g.Applications != 1 {
		t.Errorf("left are %+v", g)
	}
}

func TestARepliesBoundIsTheMessages(t *testing.T) {
	s := newScript(t, func(c *Config) { c.MessageMax = 1024 })
	a := s.app("app", "m")
	id := s.arrives(proto.ModeCall, "m", time.Second)
	a.Reply(s.gets(a).ID, Reply{Payload: Payload{Data: make([]byte, 1025)}})
	s.wantResult(id, proto.ResultLost, proto.ExecutedYes)
}

func TestAnApplicationsErrorIsCarriedAsItIs(t *testing.T) {
	s := newScript(t)
	a := s.app("app", "m")
	id := s.arrives(proto.ModeCall, "m", time.Second)
	a.Reply(s.gets(a).ID, Reply{Failed: true, Code: "gone", Message: "no such key", Payload: Payload{Data: []byte("k")}})
	if r := s.answered(id); r.Outcome != proto.AppError || r.Code != "gone" || r.Reason != "no such key" || string(r.Payload) != "k" || r.Executed != proto.ExecutedYes {
		t.Errorf("got %+v", r)
	}
}

// A handler that heeds its context returns "context canceled" when the caller's time is over. That is no error of the
// application's, and the caller must not read it as one.
func TestAHandlerThatGivesUpInTimeHasTimedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		a := s.app("app", "m")
		gaveUp := Reply{Failed: true, Code: "error", Message: "context canceled"}
		cancelled := s.arrives(proto.ModeCall, "m", time.Minute)
		r := s.gets(a)
		s.Handle(proto.CancelDispatch{ID: cancelled, Why: "timeout"})
		a.Reply(r.ID, gaveUp)
		s.wantResult(cancelled, proto.TimedOut, proto.ExecutedMaybe)
		s.take(a) // the cancel
		expired := s.arrives(proto.ModeCall, "m", time.Second)
		r = s.gets(a)
		<-time.After(time.Second) // of the bubble
		a.Reply(r.ID, gaveUp)
		if got := s.answered(expired); got.Outcome != proto.TimedOut || got.Executed != proto.ExecutedMaybe || got.Stage != proto.StageStarted {
			t.Errorf("got %+v", got)
		}
		s.Close()
	})
}

func TestACastIsReceiptedBeforeItRuns(t *testing.T) {
	s := newScript(t)
	a := s.app("app", "m")
	id := s.arrives(proto.ModeCast, "m", time.Second)
	s.wantResult(id, proto.Replied, proto.ExecutedMaybe)
	r := s.gets(a)
	if !r.OneWay {
		t.Error("the handler does not know")
	}
	a.Reply(r.ID, Reply{})
	a.Detach(Errorf(ShuttingDown, "gone"))
	s.wantResult(id, proto.Replied, proto.ExecutedMaybe)
}

func TestAConfirmedTopicWaitsForAllSubscribers(t *testing.T) {
	for _, c := range []struct {
		what    string
		second  func(*App, uint64)
		verdict proto.Verdict
		e       proto.Executed
	}{
		{"both confirm", func(a *App, id uint64) { a.Reply(id, Reply{}) }, proto.Replied, proto.ExecutedYes},
		{"one fails", func(a *App, id uint64) { a.Reply(id, Reply{Failed: true}) }, proto.AppError, proto.ExecutedYes},
		{"one disconnects", func(a *App, _ uint64) { a.Detach(Errorf(ShuttingDown, "gone")) }, proto.HandlerGone, proto.ExecutedMaybe},
	} {
		s := newScript(t)
		a, b := s.subscriber("one", "t"), s.subscriber("two", "t")
		id := s.arrives(proto.ModeDeliverHandler, "t", time.Second)
		x, y := s.take(a)[0].(EventItem), s.take(b)[0].(EventItem)
		a.Reply(x.ID, Reply{})
		s.wantNoResult(id)
		c.second(b, y.ID)
		s.t.Log(c.what)
		s.wantResult(id, c.verdict, c.e)
	}
	s := newScript(t)
	s.wantResult(s.arrives(proto.ModeDeliver, "t", time.Second), proto.NoHandler, proto.ExecutedNo)
	a := s.subscriber("one", "t")
	s.wantResult(s.arrives(proto.ModeDeliver, "t", time.Second), proto.Replied, proto.ExecutedMaybe)
	if e := s.take(a)[0].(EventItem); e.ID != 0 || e.OriginName != "b" {
		t.Errorf("got %+v", e)
	}
}

func TestBroadcastsReachSubscribersAndMethods(t *testing.T) {
	s := newScript(t)
	a, b, c := s.subscriber("one", "t"), s.subscriber("two", "t"), s.app("three", "m")
	id := proto.MsgID{Origin: nodeID(2), Seq: 1}
	s.Handle(proto.Deliver{ID: id, Body: proto.CastBody{Topic: "t", Payload: []byte("x")}})
	s.Handle(proto.Deliver{ID: id, Body: proto.CastBody{Topic: "other"}})
	s.Handle(proto.Deliver{ID: id, Body: proto.CastBody{Topic: methodTopic("m"), Payload: []byte("y")}})
	s.Handle(proto.Gap{Origin: nodeID(3), Stream: proto.TopicStream("t"), Count: 4})
	for _, app := range []*App{a, b} {
		items := s.take(app)
		if len(items) != 2 || items[0].(EventItem).OriginName != "b" || items[1].(EventItem).Gap != 4 || items[1].(EventItem).OriginName != "c" {
			t.Errorf("a subscriber got %+v", items)
		}
	}
	if r := s.gets(c); !r.OneWay || string(r.Request.Payload) != "y" || r.Caller.Name != "b" {
		t.Errorf("the handler got %+v", r)
	}
}

func TestWhatANodeServesIsAnnounced(t *testing.T) {
	s := newScript(t)
	a := s.app("one", "y", "x", "x")
	if err := a.Register([]string{"x", "y"}, []string{"t"}, []string{"g"}); err != nil {
		t.Fatal(err)
	}
	up := s.inputs[len(s.inputs)-1].(proto.UpdateSelf)
	if strings.Join(up.Handlers, " ") != "x y" || strings.Join(up.Groups, " ") != "g" || up.Streams&(1<<proto.TopicStream("t")) == 0 {
		t.Errorf("announced %+v", up)
	}
	for _, bad := range []string{"", "/x", "starling.x", "a\nb", strings.Repeat("x", 255), "\xff"} {
		if err := a.Register([]string{bad}, nil, nil); err == nil || err.Reason != BadRequest {
			t.Errorf("method %q: %v", bad, err)
		}
	}
	a.Detach(Errorf(ShuttingDown, "gone"))
	if up := s.inputs[len(s.inputs)-1].(proto.UpdateSelf); len(up.Handlers)+len(up.Groups) > 0 || up.Streams != 0 {
		t.Errorf("still announced: %+v", up)
	}
}

func TestARequestIsNotHandedOutAfterItsTimeEvenIfNobodyLooked(t *testing.T) { // M6
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		a := s.app("slow", "m")
		id := s.arrives(proto.ModeCall, "m", time.Second)
		s.expiry.Stop() // as if the timer came late
		<-time.After(time.Second)
		if items := s.take(a); len(items) > 0 {
			t.Errorf("it was handed out: %v", items)
		}
		s.wantResult(id, proto.TimedOut, proto.ExecutedNo)
	})
}

func TestARequestThatWasNotHandedOutCannotBeAnswered(t *testing.T) { // S4, M5
	s := newScript(t)
	a := s.app("guesser", "m")
	id := s.arrives(proto.ModeCall, "m", time.Minute)
	if !a.Reply(1, Reply{Payload: Payload{Data: []byte("guessed")}}) {
		t.Error("a guessed answer was taken")
	}
	s.wantNoResult(id)
	a.Reply(s.gets(a).ID, Reply{Payload: Payload{Data: []byte("known")}})
	if string(s.answered(id).Payload) != "known" {
		t.Errorf("got %q", s.answered(id).Payload)
	}
}
