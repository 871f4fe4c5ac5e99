// Package link is one link between two nodes: a main connection, lanes for bulk
// beside it, and for each of them a queue, a writer and a reader. It keeps
// urgent frames ahead of long ones, bounds what waits, notices what stalls, and
// says once how it ended. It opens no connection, knows no TLS and never
// decides whom to talk to; what frames mean is none of its business.
package link

import (
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// Limits are the bounds of one link.
type Limits struct {
	// ControlQueue, EchoQueue and BulkQueue bound in bytes what waits to be written.
	// A frame that finds no room fails the link, unless the queue is empty. Too
	// small: bursts break links. Too large: memory, and stale messages to a slow peer.
	ControlQueue, EchoQueue, BulkQueue int
	// WriteStall is how long one write of at most 16 KiB may block before the
	// link fails. Too short: a slow network breaks links. Too long: a stopped
	// peer is noticed late.
	WriteStall time.Duration
	// Flush is how long a link that is hung up may take to write what it holds.
	Flush time.Duration
}

// Conn is what a link needs of a connection.
type Conn interface {
	// Read ends with io.EOF only if the other side said goodbye; a connection
	// that merely ended is io.ErrUnexpectedEOF: a process that was killed.
	io.ReadWriter
	SetWriteDeadline(t time.Time) error
	// CloseWrite says goodbye: nothing more will be written.
	CloseWrite() error
	// Close ends it at once; hard drops what the kernel still holds (SO_LINGER 0),
	// so that a peer that stands still does not act on it an hour later.
	Close(hard bool)
}

// Host is what a link needs around it. Its methods are called by many
// goroutines; only PostFrames may wait.
type Host interface {
	// Post hands on LinkUp and LinkDown.
	Post(in proto.Input)
	// PostFrames hands on what was received, size bytes of frames, and waits while
	// there is too much already. It does not keep the slice.
	PostFrames(in []proto.Input, size int)
	// OpenLane opens one more connection to the link's peer.
	OpenLane(l *Link) (Conn, *Frames, error)
	// Unread counts a frame that was not understood: the reason of wire, which ended
	// the link, or "later_version" for one that was passed over.
	Unread(why string)
}

// Link is one link. Whatever ends one of its connections ends it, once. The
// exported fields are set before Run and never change.
type Link struct {
	ID     proto.LinkID
	Theirs proto.LinkID // the peer's own number of it, which a lane names
	Kind   proto.LinkKind
	Peer   proto.PeerInfo
	Addr   string

	host   Host
	limits Limits
	log    *slog.Logger
	over   chan struct{} // closed when it has ended
	in     way
	out    way

	mu      sync.Mutex     // guards the rest; taken before a pipe's
	running sync.WaitGroup // readers and writers; nothing is added once why is set
	why     proto.DownWhy  // zero while it is up
	hungUp  bool
	pipes   []*pipe     // first the main one
	ended   int         // of pipes, by the other side's goodbye
	bulk    *pipe       // of pipes, or a lane being opened; nil until needed
	timer   *time.Timer // ends a link that is being closed
}

// lanesMax is how many lanes a link may have, whoever opened them.
const lanesMax = 4

var errLanes = errors.New("the link takes no more lanes")

// New makes a link that is not up yet. Set its exported fields.
func New(host Host, limits Limits, log *slog.Logger) *Link {
	return &Link{host: host, limits: limits, log: log, over: make(chan struct{})}
}

// Run posts LinkUp, with what is known of the link filled in, carries frames
// over its main connection until it ends, and posts LinkDown: the last that is
// heard of it. Nothing of it runs when Run returns. gone is called before
// LinkDown.
func (l *Link) Run(c Conn, in *Frames, up proto.LinkUp, gone func()) {
	up.Link, up.Peer, up.Kind, up.Addr = l.ID, l.Peer, l.Kind, l.Addr
	main := l.newPipe()
	l.running.Add(1)       // so that it cannot end before it has begun
	if !l.adopt(main, c) { // the core will hear of it all the same: up, and down
		c.Close(true)
		l.end(proto.DownHungUp)
	}
	l.host.Post(up) // before anything can be received, when it can be sent over already
	l.running.Go(main.write)
	l.running.Go(func() { main.read(in) })
	<-l.over
	l.running.Done()
	l.running.Wait()
	l.in.later.stop() // nothing may be received after LinkDown
	l.out.later.stop()
	gone()
	l.host.Post(proto.LinkDown{Link: l.ID, Why: l.why})
}

// AddLane runs one more connection, opened by the peer. It reports false when
// the link takes no more; the connection is the caller's then.
func (l *Link) AddLane(c Conn, in *Frames) bool { return l.attach(l.newPipe(), c, in) }

func (l *Link) newPipe() *pipe {
	return &pipe{
		link: l, wake: make(chan struct{}, 1),
		q: queue{max: [classes]int{control: l.limits.ControlQueue, echo: l.limits.EchoQueue, bulk: l.limits.BulkQueue}},
	}
}

// attach runs a lane.
func (l *Link) attach(p *pipe, c Conn, in *Frames) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.adoptLocked(p, c) {
		return false
	}
	l.running.Go(p.write)
	l.running.Go(func() { p.read(in) })
	return true
}

func (l *Link) adopt(p *pipe, c Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.adoptLocked(p, c)
}

func (l *Link) adoptLocked(p *pipe, c Conn) bool {
	p.conn = c
	if l.why != 0 || l.hungUp || len(l.pipes) > lanesMax {
		return false
	}
	l.pipes = append(l.pipes, p)
	return true
}

// Send queues the frame of msg, of which it keeps nothing, and never waits.
// Flush lets it go.
func (l *Link) Send(msg proto.Message, frame []byte) {
	if !l.out.delays() {
		l.queue(msg, frame)
		return
	}
	frame = slices.Clone(frame)
	ok := l.out.later.add(l.out.delay(), func() {
		l.queue(msg, frame)
		l.Flush()
	})
	if !ok {
		l.end(proto.DownStalled)
	}
}

func (l *Link) queue(msg proto.Message, frame []byte) {
	c, call := classOf(msg, len(frame))
	l.mu.Lock()
	if l.why != 0 || l.hungUp {
		l.mu.Unlock()
		return // its LinkDown is on the way
	}
	p := l.pipeFor(c)
	p.mu.Lock()
	ok := p.q.push(c, call, frame)
	p.mu.Unlock()
	l.mu.Unlock()
	if !ok && l.end(proto.DownStalled) {
		l.log.Warn("link failed: its queue is full", "peer", l.Peer.Name, "addr", l.Addr, "queue", c.String())
	}
}

// pipeFor is the connection for a class. The first bulk frame opens a lane,
// unless the peer has. The caller holds mu.
func (l *Link) pipeFor(c class) *pipe {
	switch {
	case c != bulk:
		return l.pipes[0]
	case l.bulk != nil:
	case len(l.pipes) > 1:
		l.bulk = l.pipes[1]
	default:
		l.bulk = l.newPipe()
		lane := l.bulk
		l.running.Go(func() { l.openLane(lane) })
	}
	return l.bulk
}

// openLane opens a lane. If none can be had, its frames go over the main
// connection, after everything else, and so do all further ones: order counts.
func (l *Link) openLane(lane *pipe) {
	c, in, err := l.host.OpenLane(l)
	if err == nil {
		if l.attach(lane, c, in) {
			return
		}
		c.Close(true)
		err = errLanes
	}
	l.log.Info("no lane for bulk: it shares the link", "peer", l.Peer.Name, "addr", l.Addr, "err", err)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shareMain()
}

// shareMain lets bulk go over the main connection if its lane is not up, what
// waits for the lane first. The caller holds mu.
func (l *Link) shareMain() {
	lane := l.bulk
	if lane == nil || slices.Contains(l.pipes, lane) {
		return
	}
	main := l.pipes[0]
	l.bulk = main
	main.mu.Lock()
	lane.mu.Lock()
	main.q.moveBulk(&lane.q)
	lane.mu.Unlock()
	main.mu.Unlock()
	main.poke()
}

// Flush wakes the writers.
func (l *Link) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.pipes {
		p.poke()
	}
}

// Hangup ends the link: at once, or when what is queued has been written and
// the other side has said goodbye too, at most Limits.Flush later.
func (l *Link) Hangup(flush bool) {
	l.mu.Lock()
	first := !l.hungUp && l.why == 0
	l.hungUp = true
	if first && flush {
		l.shareMain()
		for _, p := range l.pipes {
			p.hangup()
		}
		l.endIn(l.limits.Flush, proto.DownStalled)
	}
	l.mu.Unlock()
	if !flush {
		l.end(proto.DownHungUp)
	}
}

// endIn ends the link after a while, if nothing else does. The caller holds mu.
func (l *Link) endIn(wait time.Duration, why proto.DownWhy) {
	if l.timer == nil && l.why == 0 {
		l.timer = time.AfterFunc(wait, func() { l.end(why) })
	}
}

// goodbye: the other side will send nothing more over one of the connections.
// While it flushes the others, the link stays.
func (l *Link) goodbye() {
	l.mu.Lock()
	l.ended++
	last := l.ended == len(l.pipes)
	l.endIn(l.limits.Flush, proto.DownClosed)
	l.mu.Unlock()
	if last {
		l.end(proto.DownClosed)
	}
}

// end ends the link now. The first reason counts; it reports whether it was.
func (l *Link) end(why proto.DownWhy) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.why != 0 {
		return false
	}
	l.why = why
	if l.hungUp {
		l.why = proto.DownHungUp
	}
	close(l.over)
	for _, p := range l.pipes {
		p.conn.Close(why != proto.DownClosed)
	}
	if l.timer != nil {
		l.timer.Stop()
	}
	return true
}

// Suffer injects faults, in place of those before. What is dropped both ways
// breaks the link.
func (l *Link) Suffer(in, out Fault) {
	l.in.set(in)
	l.out.set(out)
	if in.Drop && out.Drop {
		l.end(proto.DownReset)
	}
}

// Measure tells how many lanes the link has, and how many bytes wait in its queues.
func (l *Link) Measure() (lanes, queued int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	pipes := l.pipes
	if l.bulk != nil && !slices.Contains(pipes, l.bulk) {
		pipes = append(slices.Clone(pipes), l.bulk)
	}
	for _, p := range pipes {
		p.mu.Lock()
		queued += p.q.size()
		p.mu.Unlock()
	}
	return max(len(l.pipes)-1, 0), queued
}
