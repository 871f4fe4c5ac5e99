package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// Hostile is a process that has the key, keeps to the handshake and to wire's
// forms, and to no other rule. It is no member: it has no core.
type Hostile struct {
	*Node
	onUp  map[uint64]func(proto.LinkID) // by tag of the dial
	dials uint64
	// Refused counts dials that came to nothing.
	Refused int
}

// Hostile starts one on a host of its own.
func (w *World) Hostile() *Hostile {
	h := w.addHost()
	h.name = fmt.Sprintf("evil%d", h.index)
	var seed [24]byte
	binary.BigEndian.PutUint64(seed[:], w.cfg.Seed)
	binary.BigEndian.PutUint64(seed[16:], uint64(len(w.Nodes)))
	sum := sha256.Sum256(seed[:])
	n := &Node{world: w, host: h, Index: len(w.Nodes), Name: h.name, state: up, started: w.now}
	copy(n.ID[:], sum[:])
	h.node = n
	e := &Hostile{Node: n, onUp: map[uint64]func(proto.LinkID){}}
	n.script = e.got
	w.Nodes = append(w.Nodes, n)
	w.checks.startedHostile(n)
	return e
}

// Self is how it names itself.
func (e *Hostile) Self() proto.PeerInfo { return e.info() }

// Says dials a node and says so much over one link, in this order.
func (e *Hostile) Says(to *Node, kind proto.LinkKind, messages ...proto.Message) {
	e.SaysLater(to, kind, 0, messages...)
}

// SaysLater says the first message at once and each other after a pause.
func (e *Hostile) SaysLater(to *Node, kind proto.LinkKind, pause time.Duration, messages ...proto.Message) {
	w := e.world
	e.dials++
	tag := proto.DialTag(proto.OwnerViews, e.dials)
	e.onUp[tag] = func(link proto.LinkID) {
		for i, m := range messages {
			w.after(time.Duration(i)*pause, func() { w.send(e.Node, link, m) })
		}
	}
	w.dial(e.Node, proto.Dial{Tag: tag, Kind: kind, Addrs: []string{to.Addr()}, Timeout: time.Second})
}

// got is all that it does by itself: it talks where a dial of its own stands.
func (e *Hostile) got(in proto.Input) {
	switch in := in.(type) {
	case proto.LinkUp:
		if say := e.onUp[in.Tag]; in.Dialed && say != nil {
			say(in.Link)
		}
	case proto.DialFailed:
		e.Refused++
	default:
	}
}
