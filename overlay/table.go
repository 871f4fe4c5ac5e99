package overlay

import (
	"sync"
	"time"

	"github.com/starlingmesh/starling/overlay/link"
	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// table is every link that is up, coming up or ending.
type table struct {
	max int

	mu    sync.RWMutex // guards the rest
	links map[proto.LinkID]*link.Link
	full  bool // for good: we are ending
}

// add puts a link in; false if there are too many, or we are ending.
func (t *table) add(l *link.Link) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.full || len(t.links) >= t.max {
		return false
	}
	t.links[l.ID] = l
	return true
}

func (t *table) remove(l *link.Link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.links, l.ID)
}

// get returns a link, or nil.
func (t *table) get(id proto.LinkID) *link.Link {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.links[id]
}

// laneOf returns the link with this peer that the peer calls by this number, or nil.
func (t *table) laneOf(id peer.ID, theirs proto.LinkID) *link.Link {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, l := range t.links {
		if l.Theirs == theirs && l.Peer.ID == id {
			return l
		}
	}
	return nil
}

// all is a copy.
func (t *table) all() []*link.Link {
	t.mu.RLock()
	defer t.mu.RUnlock()
	links := make([]*link.Link, 0, len(t.links))
	for _, l := range t.links {
		links = append(links, l)
	}
	return links
}

// close takes no more links and returns those that are there.
func (t *table) close() []*link.Link {
	t.mu.Lock()
	t.full = true
	t.mu.Unlock()
	return t.all()
}

// newLink makes the link of an admitted connection.
func (o *Overlay) newLink(g *greeted, addr string) *link.Link {
	l := link.New(host{o}, o.cfg.Limits.Link, o.log)
	l.ID, l.Theirs, l.Kind, l.Peer, l.Addr = g.id, g.hello.Lane, g.hello.Kind, g.hello.Self, addr
	return l
}

// linkUp runs a link that is in the table.
func (o *Overlay) linkUp(l *link.Link, g *greeted, up proto.LinkUp) {
	up.At = time.Now()
	o.applyFaultsTo(l)
	o.wg.Go(func() { l.Run(g.conn, g.in, up, func() { o.table.remove(l) }) })
}

// host is what links see of the overlay.
type host struct{ o *Overlay }

func (h host) Post(in proto.Input)                   { h.o.inbox.post(in) }
func (h host) PostFrames(in []proto.Input, size int) { h.o.inbox.postFrames(in, size) }
func (h host) Unread(why string)                     { h.o.unread.add(why) }
