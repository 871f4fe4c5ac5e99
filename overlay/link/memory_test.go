package link

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/wire"
)

// half is one direction of a connection in memory. It holds so many bytes as a
// kernel would.
type half struct {
	mu       sync.Mutex
	changed  sync.Cond
	buf      []byte
	max      int
	bye, cut bool
	deadline time.Time
}

func newHalf(size int) *half {
	h := &half{max: size}
	h.changed.L = &h.mu
	return h
}

func (h *half) Read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.buf) == 0 {
		switch {
		case h.cut:
			return 0, io.ErrUnexpectedEOF
		case h.bye:
			return 0, io.EOF
		}
		h.changed.Wait()
	}
	n := copy(p, h.buf)
	h.buf = h.buf[n:]
	h.changed.Broadcast()
	return n, nil
}

func (h *half) Write(p []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n < len(p) {
		switch {
		case h.cut:
			return n, errors.New("connection reset")
		case !h.deadline.IsZero() && !time.Now().Before(h.deadline):
			return n, os.ErrDeadlineExceeded
		case len(h.buf) == h.max:
			h.changed.Wait()
			continue
		}
		more := min(len(p)-n, h.max-len(h.buf))
		h.buf = append(h.buf, p[n:n+more]...)
		n += more
		h.changed.Broadcast()
	}
	return n, nil
}

func (h *half) set(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
	h.changed.Broadcast()
}

// memory is a connection in memory.
type memory struct{ in, out *half }

func pair(size int) (a, b memory) {
	x, y := newHalf(size), newHalf(size)
	return memory{in: x, out: y}, memory{in: y, out: x}
}

func (m memory) Read(p []byte) (int, error)  { return m.in.Read(p) }
func (m memory) Write(p []byte) (int, error) { return m.out.Write(p) }
func (m memory) CloseWrite() error           { m.out.set(func() { m.out.bye = true }); return nil }

func (m memory) SetWriteDeadline(t time.Time) error {
	m.out.set(func() { m.out.deadline = t })
	time.AfterFunc(time.Until(t), func() { m.out.set(func() {}) })
	return nil
}

func (m memory) Close(hard bool) {
	m.in.set(func() { m.in.cut = true })
	m.out.set(func() {
		m.out.cut = hard || !m.out.bye
		if hard {
			m.out.buf = nil
		}
	})
}

// side is one end of a link under test: its host, and what it was told.
type side struct {
	*Link
	lane func() (Conn, *Frames, error)

	mu     sync.Mutex
	heard  []proto.Input
	at     []time.Time
	unread []string
	up     chan struct{}
	over   chan struct{}
}

func (s *side) Post(in proto.Input) {
	s.PostFrames([]proto.Input{in}, 0)
	if _, ok := in.(proto.LinkUp); ok {
		close(s.up)
	}
}

func (s *side) PostFrames(in []proto.Input, _ int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range in {
		s.heard, s.at = append(s.heard, one), append(s.at, time.Now())
	}
}

func (s *side) OpenLane(*Link) (Conn, *Frames, error) { return s.lane() }

func (s *side) Unread(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unread = append(s.unread, why)
}

func (s *side) send(msgs ...proto.Message) {
	for _, m := range msgs {
		s.Send(m, wire.Append(nil, m))
	}
	s.Flush()
}

func (s *side) received() (msgs []proto.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, in := range s.heard {
		if r, ok := in.(proto.Received); ok {
			msgs = append(msgs, r.Msg)
		}
	}
	return msgs
}

func (s *side) downs() (why []proto.DownWhy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, in := range s.heard {
		if d, ok := in.(proto.LinkDown); ok {
			why = append(why, d.Why)
		}
	}
	return why
}

func (s *side) wantDown(t *testing.T, want proto.DownWhy) {
	t.Helper()
	if got := s.downs(); len(got) != 1 || got[0] != want {
		t.Errorf("link ended as %v, want once %v", got, want)
	}
	if _, last := s.heard[len(s.heard)-1].(proto.LinkDown); !last {
		t.Errorf("after LinkDown came %T", s.heard[len(s.heard)-1])
	}
}

var limits = Limits{
	ControlQueue: 64 << 10, EchoQueue: 64 << 10, BulkQueue: 1 << 20, WriteStall: time.Second, Flush: time.Second,
}

func newSide(id byte, c Conn, log *slog.Logger) *side {
	s := &side{up: make(chan struct{}), over: make(chan struct{}), lane: func() (Conn, *Frames, error) { return nil, nil, errors.New("nobody there") }}
	s.Link = New(s, limits, log)
	s.ID, s.Theirs, s.Kind, s.Peer = 1, 1, proto.LinkOverlay, proto.PeerInfo{ID: peer.ID{id}, Name: "peer"}
	go func() {
		defer close(s.over)
		s.Run(c, opened(c), proto.LinkUp{}, func() {})
	}()
	<-s.up
	return s
}

func opened(c io.Reader) *Frames {
	f := NewFrames(c)
	f.Open()
	return f
}

// newLink makes both ends of a link over a connection that holds so many bytes.
func newLink(size int) (a, b *side) {
	log := slog.New(slog.DiscardHandler)
	x, y := pair(size)
	return newSide(2, x, log), newSide(1, y, log)
}
