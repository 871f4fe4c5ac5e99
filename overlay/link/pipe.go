package link

import (
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/wire"
)

// pipe is one connection of a link, with its queue, its writer and its reader.
type pipe struct {
	link *Link
	conn Conn          // nil until a lane has been dialled
	wake chan struct{} // holds one when there is something to write

	mu     sync.Mutex // guards the rest
	q      queue
	hungUp bool // write what is there, then say goodbye
}

func (p *pipe) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pipe) hangup() {
	p.mu.Lock()
	p.hungUp = true
	p.mu.Unlock()
	p.poke()
}

// write is the only one that writes to the connection.
func (p *pipe) write() {
	var buf []byte
	for {
		p.mu.Lock()
		buf = p.q.take(buf[:0])
		hungUp := p.hungUp
		p.mu.Unlock()
		switch {
		case len(buf) > 0:
			if !p.put(buf) {
				return
			}
		case hungUp:
			_ = p.conn.SetWriteDeadline(time.Now().Add(p.link.limits.WriteStall))
			_ = p.conn.CloseWrite()
			return
		default:
			if cap(buf) > keepBuffer {
				buf = nil
			}
			select {
			case <-p.wake:
			case <-p.link.over:
				return
			}
		}
	}
}

func (p *pipe) put(buf []byte) bool {
	l, stall := p.link, p.link.limits.WriteStall
	err := l.out.pass(l.over, stall)
	if err == nil && l.out.drops() {
		return true
	}
	if err == nil {
		_ = p.conn.SetWriteDeadline(time.Now().Add(stall))
		_, err = p.conn.Write(buf)
	}
	if err == nil {
		return true
	}
	why := downWhy(err)
	if l.end(why) && why == proto.DownStalled {
		l.log.Warn("link failed: a write was blocked too long", "peer", l.Peer.Name, "addr", l.Addr)
	}
	return false
}

// read takes frames from the connection to the loop, as many at once as came at once.
func (p *pipe) read(in *Frames) {
	l := p.link
	var parser wire.Parser
	var items []proto.Input
	size := 0
	for {
		frame, err := in.Next()
		if err == nil {
			var msg proto.Message
			if msg, err = parser.Parse(frame); err == nil {
				items = append(items, proto.Received{Link: l.ID, Msg: msg, Size: len(frame)})
				size += len(frame)
			} else if errors.Is(err, wire.ErrSkip) {
				l.host.Unread("later_version")
				err = nil
			}
		}
		if len(items) > 0 && (err != nil || len(in.rest) == 0 || size >= maxWrite) {
			l.deliver(items, size)
			clear(items)
			items, size = items[:0], 0
		}
		if err != nil {
			p.readEnded(err)
			return
		}
	}
}

func (p *pipe) readEnded(err error) {
	l := p.link
	if errors.Is(err, io.EOF) {
		l.goodbye()
		return
	}
	var garbage *wire.Error
	if l.end(downWhy(err)) && errors.As(err, &garbage) {
		l.host.Unread(garbage.Why.String())
		l.log.Warn("link failed: the peer broke the protocol", "peer", l.Peer.Name, "addr", l.Addr, "err", err)
	}
}

// deliver hands received items to the loop and keeps nothing of them. It waits
// while the loop has enough; when the loop has ended, they are dropped.
func (l *Link) deliver(items []proto.Input, size int) {
	in := &l.in
	if in.pass(l.over, 0) != nil || in.drops() {
		return
	}
	if in.delays() {
		items = slices.Clone(items)
		if !in.later.add(in.delay(), func() { l.host.PostFrames(items, size) }) {
			l.end(proto.DownStalled)
		}
		return
	}
	l.host.PostFrames(items, size)
}

// downWhy puts what ended a connection into the core's words.
func downWhy(err error) proto.DownWhy {
	var garbage *wire.Error
	switch {
	case errors.Is(err, io.EOF):
		return proto.DownClosed
	case errors.As(err, &garbage):
		return proto.DownGarbage
	case errors.Is(err, os.ErrDeadlineExceeded):
		return proto.DownStalled
	default:
		return proto.DownReset
	}
}
