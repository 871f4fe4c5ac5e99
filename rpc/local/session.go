package local

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/starlingmesh/starling/rpc"
	"github.com/starlingmesh/starling/rpc/direct"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

const (
	framesMax   = 1024 // in one message
	answersMax  = 4096 // acknowledgements and failures that wait to be read
	batchItems  = 256  // items in one message to the application
	goodbyeTime = time.Second
)

// stream carries the messages of one session. One goroutine sends, one receives.
// It ends when its session is over: Recv fails then.
type stream interface {
	Send(m *starlingv1.SessionResponse) error
	Recv() (*starlingv1.SessionRequest, error)
	// Context knows the connection. It may end with it.
	Context() context.Context
}

// session is one application's Session stream. The stream's own goroutine
// writes; another reads. Neither ever waits for the other.
type session struct {
	api    *api
	app    *rpc.App
	stream stream
	wake   chan struct{} // capacity 1: answers has something

	mu      sync.Mutex // guards the rest
	answers []*starlingv1.ServerFrame
}

// session serves one stream until either side has enough.
func (a *api) session(stream stream) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	return a.begin(stream, first)
}

// begin serves a stream from its first message on.
func (a *api) begin(stream stream, first *starlingv1.SessionRequest) error {
	if len(first.GetFrames()) == 0 || first.GetFrames()[0].GetHello() == nil {
		return a.bye(stream, rpc.BadFrame, "the first frame is not a hello")
	}
	hello := first.GetFrames()[0].GetHello()
	app, refused := a.svc.Attach(hello.GetApplication(), credOf(stream.Context()).UID, int(hello.GetRequests()), int(hello.GetEventBytes()))
	if refused != nil {
		return a.bye(stream, refused.Reason, refused.Text)
	}
	s := &session{api: a, app: app, stream: stream, wake: make(chan struct{}, 1)}
	a.log.Debug("application connected", "application", hello.GetApplication())
	self, limits := a.svc.Self(), a.svc.Limits()
	_ = s.answer(&starlingv1.ServerFrame{Frame: &starlingv1.ServerFrame_Welcome{Welcome: &starlingv1.Welcome{
		NodeId: self.Entry.ID.String(), Name: self.Entry.Name, Version: limits.Version,
		MessageMax: uint32(limits.MessageMax), CallsMax: uint32(limits.AppCallsMax),
	}}}) // the first one fits
	gone := make(chan struct{})
	defer close(gone)
	a.wg.Go(func() { s.read(first.GetFrames()[1:]) })
	a.wg.Go(func() { s.enforce(gone) })
	err := s.write() // as it returns the stream ends, and read detaches the application
	a.log.Debug("application disconnected", "application", hello.GetApplication(), "why", err)
	return err
}

// bye tells why and ends a session that has not begun.
func (a *api) bye(stream stream, r rpc.Reason, text string) error {
	err := a.svc.Refuse(r, "%s", text)
	_ = stream.Send(&starlingv1.SessionResponse{Frames: []*starlingv1.ServerFrame{goodbye(err)}}) // the status says it too
	return err
}

func goodbye(e *rpc.Error) *starlingv1.ServerFrame {
	return &starlingv1.ServerFrame{Frame: &starlingv1.ServerFrame_Goodbye{Goodbye: &starlingv1.Goodbye{
		Code: int32(e.Code()), Reason: string(e.Reason), Message: e.Text,
	}}}
}

// enforce closes the connection of an application that was ended and does not
// even read its goodbye: the writer may be stuck for ever.
func (s *session) enforce(gone <-chan struct{}) {
	select {
	case <-s.app.Ended():
	case <-gone:
		return
	}
	late := time.NewTimer(goodbyeTime)
	defer late.Stop()
	select {
	case <-gone:
	case <-late.C:
		if c := connOf(s.stream.Context()); c != nil {
			_ = c.Close()
		}
	}
}

// write sends what waits, many frames in one message, until the application is
// ended.
func (s *session) write() error {
	var items []rpc.Item
	for {
		select {
		case <-s.app.Ready():
		case <-s.wake:
		case <-s.stream.Context().Done():
			return s.stream.Context().Err()
		}
		s.mu.Lock()
		frames := s.answers
		s.answers = nil
		s.mu.Unlock()
		var gone *rpc.Error
		items, gone = s.app.Take(items[:0], batchItems)
		for i, it := range items {
			frames = append(frames, frame(it))
			items[i] = nil
		}
		if gone != nil {
			frames = append(frames, goodbye(gone))
		}
		if len(frames) > 0 {
			if err := s.stream.Send(&starlingv1.SessionResponse{Frames: frames}); err != nil {
				return err
			}
		}
		if gone != nil {
			return gone
		}
	}
}

// read takes frames until the stream ends or one makes no sense.
func (s *session) read(frames []*starlingv1.ClientFrame) {
	for {
		for _, f := range frames {
			if err := s.frame(f); err != nil {
				s.app.Detach(err)
				return
			}
		}
		m, err := s.stream.Recv()
		if errors.Is(err, direct.ErrBadMessage) {
			s.app.Detach(s.bad("%v", err))
			return
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.api.svc.Count("sessions_broken", "recv")
			}
			s.app.Detach(rpc.Errorf(rpc.ShuttingDown, "the application ended the session"))
			return
		}
		frames = m.GetFrames()
		if len(frames) > framesMax {
			s.app.Detach(s.bad("a message has %d frames: want at most %d", len(frames), framesMax))
			return
		}
	}
}

func (s *session) bad(format string, args ...any) *rpc.Error {
	return s.api.svc.Refuse(rpc.BadFrame, format, args...)
}

// frame takes one frame; an error ends the session.
func (s *session) frame(f *starlingv1.ClientFrame) *rpc.Error {
	switch f := f.GetFrame().(type) {
	case *starlingv1.ClientFrame_Start:
		return s.start(f.Start)
	case *starlingv1.ClientFrame_Reply:
		r, err := reply(f.Reply)
		if err != nil {
			return s.bad("reply %d: %s", f.Reply.GetId(), err.Text)
		}
		s.app.Reply(f.Reply.GetId(), r)
		return nil
	case *starlingv1.ClientFrame_Cancel:
		s.app.Cancel(f.Cancel.GetId())
		return nil
	case *starlingv1.ClientFrame_Credit:
		s.app.Consumed(int(f.Credit.GetEventBytes()))
		return nil
	case *starlingv1.ClientFrame_Register:
		r := &starlingv1.Registered{Id: f.Register.GetId()}
		if err := s.app.Register(f.Register.GetMethods(), f.Register.GetTopics(), f.Register.GetGroups()); err != nil {
			r.Failure = failure(err)
		}
		return s.answer(&starlingv1.ServerFrame{Frame: &starlingv1.ServerFrame_Registered{Registered: r}})
	case *starlingv1.ClientFrame_Hello:
		return s.bad("a second hello: a session has one")
	default:
		return s.bad("a frame of no known kind: does the sidecar speak an older version?")
	}
}

// start begins a call; one that cannot be made is answered, not punished.
func (s *session) start(f *starlingv1.StartCall) *rpc.Error {
	var ask *rpc.Ask
	var err *rpc.Error
	switch w := f.GetWhat().(type) {
	case *starlingv1.StartCall_Multicall:
		ask, err = askMulticall(w.Multicall, rpc.Multicall)
	case *starlingv1.StartCall_MulticallStream:
		ask, err = askMulticall(w.MulticallStream, rpc.Stream)
	case *starlingv1.StartCall_Call:
		ask, err = askCall(w.Call)
	case *starlingv1.StartCall_Cast:
		ask, err = askCast(w.Cast)
	case *starlingv1.StartCall_Abcast:
		ask, err = askAbcast(w.Abcast)
	default:
		return s.bad("call %d says not what to call", f.GetId())
	}
	if err != nil {
		err = s.api.svc.Refuse(err.Reason, "%s", err.Text)
	} else {
		err = s.app.Start(f.GetId(), ask)
	}
	switch {
	case err == nil:
		return nil
	case err.Reason == rpc.BadFrame || err.Reason == rpc.ShuttingDown:
		return err
	}
	return s.answer(doneFrame(&starlingv1.CallDone{Id: f.GetId(), Result: &starlingv1.CallDone_Failure{Failure: failure(err)}}))
}

// answer queues a frame that is not one of the application's items.
func (s *session) answer(f *starlingv1.ServerFrame) *rpc.Error {
	s.mu.Lock()
	full := len(s.answers) >= answersMax
	if !full {
		s.answers = append(s.answers, f)
	}
	s.mu.Unlock()
	if full {
		return s.api.svc.Refuse(rpc.TooSlow, "%d answers wait and are not read: the connection is closed", answersMax)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

func doneFrame(d *starlingv1.CallDone) *starlingv1.ServerFrame {
	return &starlingv1.ServerFrame{Frame: &starlingv1.ServerFrame_Done{Done: d}}
}

// frame makes a frame of an item.
func frame(it rpc.Item) *starlingv1.ServerFrame {
	switch it := it.(type) {
	case rpc.VerdictItem:
		return &starlingv1.ServerFrame{Frame: &starlingv1.ServerFrame_Verdict{Verdict: &starlingv1.CallVerdict{
			Id: it.Call, Verdict: verdict(&it.Verdict, false), Extra: it.Verdict.Extra,
		}}}
	case rpc.DoneItem:
		return doneFrame(done(&it))
	case rpc.RequestItem:
		return &starlingv1.ServerFrame{Frame: &starlingv1.ServerFrame_Request{Request: request(&it, false)}}
	case rpc.CancelItem:
		return &starlingv1.ServerFrame{Frame: &starlingv1.ServerFrame_Cancel{Cancel: &starlingv1.Cancel{Id: it.ID, Reason: it.Why}}}
	case rpc.EventItem:
		return &starlingv1.ServerFrame{Frame: &starlingv1.ServerFrame_Event{Event: event(&it, false)}}
	default:
		panic("local: an item of an unknown kind")
	}
}

func done(it *rpc.DoneItem) *starlingv1.CallDone {
	d := &starlingv1.CallDone{Id: it.Call}
	a := it.Answer
	if a.Err != nil {
		d.Result = &starlingv1.CallDone_Failure{Failure: failure(a.Err)}
		return d
	}
	switch it.Kind {
	case rpc.Multicall:
		d.Result = &starlingv1.CallDone_Multicall{Multicall: multicallResponse(a, false)}
	case rpc.Stream:
		d.Result = &starlingv1.CallDone_MulticallStream{MulticallStream: multicallEnd(a)}
	case rpc.Call:
		d.Result = &starlingv1.CallDone_Call{Call: callResponse(a, false)}
	case rpc.Cast:
		d.Result = &starlingv1.CallDone_Cast{Cast: &starlingv1.CastResponse{NodeId: a.Node.String()}}
	case rpc.Abcast:
		d.Result = &starlingv1.CallDone_Abcast{Abcast: abcastResponse(a, false)}
	default:
		panic("local: a call of an unknown kind")
	}
	return d
}
