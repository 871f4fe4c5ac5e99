package client

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/starlingmesh/starling/overlay/sock"
	"github.com/starlingmesh/starling/rpc/direct"
	starlingv1 "github.com/starlingmesh/starling/rpc/starling/v1"
)

// batchBytes is how much one message to the sidecar may gather; one large frame
// travels alone.
const batchBytes = 256 << 10

// answerMax is the largest message that is taken from the sidecar, in bytes: its
// own bounds are nearer.
const answerMax = 1 << 30

// session is one Session, from Hello until it breaks.
type session struct {
	conn   *direct.Conn
	ctx    context.Context // what handlers' contexts are made of; ends with the connection
	cancel context.CancelFunc
	broken chan struct{} // closed when the stream has ended

	mu      sync.Mutex // guards the rest; never held while sending
	out     []*starlingv1.ClientFrame
	sending bool
	pending map[uint64]*pendingCall
	acks    map[uint64]chan *starlingv1.Registered
	running map[uint64]context.CancelCauseFunc // handlers by request ID, until their answers are queued
	quiet   sync.Cond                          // of mu: running and sending may have changed
}

// pendingCall waits for a call's end and, if it is streamed, for verdicts.
type pendingCall struct {
	wake     chan struct{} // capacity 1
	verdicts []*starlingv1.CallVerdict
	done     *starlingv1.CallDone
}

// open starts a session and waits for the Welcome.
func (c *Client) open(ctx context.Context) (*session, error) {
	raw, err := dialUnix(ctx, c.socket)
	if err != nil {
		return nil, unavailable(err)
	}
	conn, err := direct.Ask(ctx, sock.New(raw), answerMax)
	if err != nil {
		return nil, unavailable(err)
	}
	sctx, cancel := context.WithCancel(c.done)
	context.AfterFunc(sctx, func() { _ = conn.Close() })
	s := &session{
		conn: conn, ctx: sctx, cancel: cancel, broken: make(chan struct{}),
		pending: map[uint64]*pendingCall{}, acks: map[uint64]chan *starlingv1.Registered{},
		running: map[uint64]context.CancelCauseFunc{},
	}
	s.quiet.L = &s.mu
	first, err := c.greet(ctx, s)
	if err != nil {
		cancel()
		return nil, err
	}
	w := first.GetFrames()[0].GetWelcome()
	c.mu.Lock()
	c.node = Node{ID: w.GetNodeId(), Name: w.GetName(), Version: w.GetVersion(), MessageMax: int(w.GetMessageMax())}
	c.session = s
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
	return s, nil
}

// greet says hello and waits for the Welcome.
func (c *Client) greet(ctx context.Context, s *session) (*starlingv1.SessionResponse, error) {
	stop := context.AfterFunc(ctx, s.cancel) // bounds the greeting only
	s.send(&starlingv1.ClientFrame{Frame: &starlingv1.ClientFrame_Hello{Hello: &starlingv1.Hello{
		Application: c.opts.Application, Requests: uint32(c.opts.Handlers),
	}}})
	first := &starlingv1.SessionResponse{}
	err := s.conn.Recv(first)
	switch {
	case !stop():
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, unavailable(err)
	case len(first.GetFrames()) > 0 && first.GetFrames()[0].GetWelcome() != nil:
		return first, nil
	}
	for _, f := range first.GetFrames() {
		if g := f.GetGoodbye(); g != nil {
			return nil, goodbye(g)
		}
	}
	return nil, errors.New("the sidecar's first frame is not a welcome; do both speak the same version?")
}

func goodbye(g *starlingv1.Goodbye) error {
	return &Error{Code: codes.Code(g.GetCode()), Reason: g.GetReason(), Message: g.GetMessage()}
}

// unavailable is what became of a connection: there was none, or it broke.
func unavailable(err error) error {
	if errors.Is(err, io.EOF) {
		err = errors.New("the sidecar closed the connection")
	}
	return &Error{Code: codes.Unavailable, Message: err.Error()}
}

func isUnavailable(err error) bool {
	said, ok := errors.AsType[*Error](err)
	return ok && said.Code == codes.Unavailable
}

// run keeps a session until the client is closed.
func (c *Client) run(s *session) {
	for {
		err := c.receive(s)
		c.drop(s)
		for retry := 20 * time.Millisecond; ; retry = min(2*retry, time.Second) {
			if c.done.Err() != nil {
				return
			}
			c.log.Info("lost the sidecar, connecting again", "addr", c.socket, "why", err)
			octx, cancel := context.WithTimeout(c.done, defaultTimeout)
			next, openErr := c.open(octx)
			cancel()
			if openErr == nil {
				s = next
				break
			}
			err = openErr
			select {
			case <-c.done.Done():
			case <-time.After(retry):
			}
		}
		c.log.Info("connected to the sidecar again", "addr", c.socket)
		c.resume(s)
	}
}

// drop ends all that depended on the session.
func (c *Client) drop(s *session) {
	s.cancel()
	c.mu.Lock()
	if c.session == s {
		c.session = nil
	}
	c.mu.Unlock()
	close(s.broken)
	s.mu.Lock()
	s.quiet.Broadcast()
	running := s.running
	s.running = map[uint64]context.CancelCauseFunc{}
	s.mu.Unlock()
	for _, cancel := range running {
		cancel(ErrConnectionLost)
	}
}

// resume registers again, and tells subscribers that they may have missed some.
func (c *Client) resume(s *session) {
	frame := c.registration(0)
	s.send(frame)
	c.mu.Lock()
	var all []*subscription
	for _, topic := range slices.Sorted(maps.Keys(c.subs)) {
		all = append(all, c.subs[topic]...)
	}
	c.mu.Unlock()
	for _, sub := range all {
		sub.push(&delivery{event: Event{Topic: sub.topic, Gap: 1, Reason: "the connection to the sidecar was lost; messages may have been missed"}})
	}
}

// registration is the frame for all that is handled, joined and subscribed.
func (c *Client) registration(id uint64) *starlingv1.ClientFrame {
	c.mu.Lock()
	defer c.mu.Unlock()
	methods := slices.DeleteFunc(slices.Sorted(maps.Keys(c.handlers)), func(m string) bool { return c.ending[m] })
	return &starlingv1.ClientFrame{Frame: &starlingv1.ClientFrame_Register{Register: &starlingv1.Register{
		Id:      id,
		Methods: methods,
		Topics:  slices.Sorted(maps.Keys(c.subs)),
		Groups:  slices.Sorted(maps.Keys(c.groups)),
	}}}
}

// receive reads frames until the stream ends.
func (c *Client) receive(s *session) error {
	for {
		m := &starlingv1.SessionResponse{}
		if err := s.conn.Recv(m); err != nil {
			return unavailable(err)
		}
		for _, f := range m.GetFrames() {
			if err := c.frame(s, f); err != nil {
				return err
			}
		}
	}
}

// frame takes one frame; unknown ones are a newer sidecar's and are skipped.
func (c *Client) frame(s *session, f *starlingv1.ServerFrame) error {
	switch f := f.GetFrame().(type) {
	case *starlingv1.ServerFrame_Verdict:
		s.resolve(f.Verdict.GetId(), func(p *pendingCall) { p.verdicts = append(p.verdicts, f.Verdict) })
	case *starlingv1.ServerFrame_Done:
		s.resolve(f.Done.GetId(), func(p *pendingCall) { p.done = f.Done })
	case *starlingv1.ServerFrame_Request:
		c.serve(s, f.Request)
	case *starlingv1.ServerFrame_Cancel:
		s.mu.Lock()
		cancel := s.running[f.Cancel.GetId()]
		s.mu.Unlock()
		if cancel != nil {
			cancel(errors.New(f.Cancel.GetReason()))
		}
	case *starlingv1.ServerFrame_Event:
		c.event(s, f.Event)
	case *starlingv1.ServerFrame_Registered:
		s.mu.Lock()
		ack := s.acks[f.Registered.GetId()]
		s.mu.Unlock()
		if ack != nil {
			ack <- f.Registered // capacity 1, once per ID
		}
	case *starlingv1.ServerFrame_Goodbye:
		return goodbye(f.Goodbye)
	}
	return nil
}

func (s *session) resolve(id uint64, change func(*pendingCall)) {
	s.mu.Lock()
	p := s.pending[id]
	if p != nil {
		change(p)
	}
	s.mu.Unlock()
	if p == nil {
		return // its caller gave up
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// send queues the frame and, unless somebody is sending already, sends what is
// queued from here: no goroutine hop, and what comes meanwhile shares a write.
// An error shows where the stream is read.
func (s *session) send(f *starlingv1.ClientFrame) {
	s.mu.Lock()
	s.out = append(s.out, f)
	if s.sending {
		s.mu.Unlock()
		return
	}
	s.sending = true
	s.mu.Unlock()
	s.flush()
}

// finished waits until no handler runs and nothing is queued, or the session ends. The error is ctx's.
func (s *session) finished(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() {
		s.mu.Lock() // or it could come between a look at ctx and the wait
		defer s.mu.Unlock()
		s.quiet.Broadcast()
	})()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.running) > 0 || s.sending {
		select {
		case <-s.broken:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		default:
			s.quiet.Wait()
		}
	}
	return nil
}

func (s *session) flush() {
	for {
		s.mu.Lock()
		batch := s.out[:cut(s.out)]
		s.out = s.out[len(batch):]
		if len(batch) == 0 {
			s.out = nil
			s.sending = false
			s.quiet.Broadcast()
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		m := &starlingv1.SessionRequest{Frames: batch}
		if err := s.conn.Send(m); errors.Is(err, direct.ErrBadMessage) {
			mend(m.ProtoReflect())
			_ = s.conn.Send(m)
		}
	}
}

// mend puts a question mark for what is no UTF-8 in the strings of a message,
// such as a handler's error that quotes what it read: protobuf does not encode
// it, and the frames that share the message would be lost with it. Maps and
// lists may be the application's, and are replaced.
func mend(m protoreflect.Message) {
	valid := func(v protoreflect.Value) protoreflect.Value {
		return protoreflect.ValueOfString(strings.ToValidUTF8(v.String(), "?"))
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		text := f.Kind() == protoreflect.StringKind
		switch {
		case f.IsMap():
			if f.MapKey().Kind() == protoreflect.StringKind && f.MapValue().Kind() == protoreflect.StringKind {
				fresh := m.NewField(f)
				v.Map().Range(func(k protoreflect.MapKey, e protoreflect.Value) bool {
					fresh.Map().Set(valid(k.Value()).MapKey(), valid(e))
					return true
				})
				m.Set(f, fresh)
			}
		case f.IsList() && text:
			fresh := m.NewField(f)
			for i := range v.List().Len() {
				fresh.List().Append(valid(v.List().Get(i)))
			}
			m.Set(f, fresh)
		case f.IsList() && f.Kind() == protoreflect.MessageKind:
			for i := range v.List().Len() {
				mend(v.List().Get(i).Message())
			}
		case text:
			m.Set(f, valid(v))
		case f.Kind() == protoreflect.MessageKind:
			mend(v.Message())
		}
		return true
	})
}

// cut tells how many of the frames go into the next message.
func cut(frames []*starlingv1.ClientFrame) int {
	size := 0
	for i, f := range frames {
		size += payloadSize(f) + 64
		if i == 256 || i > 0 && size > batchBytes {
			return i
		}
	}
	return len(frames)
}

func payloadSize(f *starlingv1.ClientFrame) int {
	switch f := f.GetFrame().(type) {
	case *starlingv1.ClientFrame_Start:
		switch w := f.Start.GetWhat().(type) {
		case *starlingv1.StartCall_Multicall:
			return len(w.Multicall.GetPayload().GetData())
		case *starlingv1.StartCall_MulticallStream:
			return len(w.MulticallStream.GetPayload().GetData())
		case *starlingv1.StartCall_Call:
			return len(w.Call.GetPayload().GetData())
		case *starlingv1.StartCall_Cast:
			return len(w.Cast.GetPayload().GetData())
		case *starlingv1.StartCall_Abcast:
			return len(w.Abcast.GetPayload().GetData())
		}
	case *starlingv1.ClientFrame_Reply:
		return len(f.Reply.GetPayload().GetData()) + len(f.Reply.GetError().GetDetails().GetData())
	}
	return 0
}
