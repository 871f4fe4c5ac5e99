package explore

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// always is a source of chance without any: what is drawn is the same in every
// state, so that chance is no part of it. Its number is chosen so that drawing
// below any small bound ends at once.
type always struct{}

func (always) Uint64() uint64 { return 0x5555555555555555 }

func noChance() *rand.Rand { return rand.New(always{}) }

var begin = time.Unix(1_700_000_000, 0)

func idOf(i int) peer.ID { return peer.ID{byte(i + 1)} }

func infoOf(i int) proto.PeerInfo {
	return proto.PeerInfo{ID: idOf(i), Name: fmt.Sprint("n", i), Addrs: []string{fmt.Sprint(i)}, Incarnation: 1}
}

// A conn carries messages in order, until it breaks: then each end may still
// read what had come, and learns of the end when it is told.
type conn struct {
	ID   proto.LinkID
	Ends [2]int // End 0 dialled
	Kind proto.LinkKind
	Tag  uint64
	Up   [2]bool // LinkUp was told
	Down [2]bool // the end is over here: told, or hung up
	Over bool    // nothing that is sent arrives any more
	// Flush: what was sent before the end arrives first. Otherwise the end may
	// overtake it, or not.
	Flush bool
	Q     [2][]proto.Message
}

// name is the name of a move, made when somebody asks.
func name(format string, args ...any) func() string {
	return func() string { return fmt.Sprintf(format, args...) }
}

// network is all connections of a world.
type network struct {
	Last  proto.LinkID
	Conns []*conn
	lost  func(proto.Message) bool // a planted fault: these never arrive; nil: none
}

func (n *network) open(a, b int, kind proto.LinkKind, tag uint64) *conn {
	n.Last++
	c := &conn{ID: n.Last, Ends: [2]int{a, b}, Kind: kind, Tag: tag}
	n.Conns = append(n.Conns, c)
	return c
}

func (n *network) find(id proto.LinkID) *conn {
	for _, c := range n.Conns {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// end tells which end of a connection a node is.
func (c *conn) end(node int) int {
	if c.Ends[0] == node {
		return 0
	}
	return 1
}

func (c *conn) between(a, b int) bool {
	return c.Ends == [2]int{a, b} || c.Ends == [2]int{b, a}
}

func (n *network) send(from int, id proto.LinkID, m proto.Message) {
	c := n.find(id)
	if c == nil || c.Over || c.Down[c.end(from)] || n.lost != nil && n.lost(m) {
		return
	}
	to := 1 - c.end(from)
	c.Q[to] = append(c.Q[to], m)
}

// finish breaks a connection, or ends it from one side.
func (c *conn) finish() { c.Over = true }

// sweep forgets connections that nobody knows any more.
func (n *network) sweep() {
	var rest []*conn
	for _, c := range n.Conns {
		gone := c.Over && c.Down[0] && (c.Down[1] || !c.Up[1] && len(c.Q[1]) == 0)
		if !gone {
			rest = append(rest, c)
		}
	}
	n.Conns = rest
}

// news is what connections have to tell: the next message for an end, that it
// is up, that it is over.
func (n *network) news(up, down func(c *conn, end int), receive func(c *conn, end int, m proto.Message)) (moves []Move) {
	add := func(do func(), format string, args ...any) {
		moves = append(moves, Move{name(format, args...), do})
	}
	for _, c := range n.Conns {
		for e := range 2 {
			node, other := c.Ends[e], c.Ends[1-e]
			switch {
			case c.Down[e]:
				continue
			case !c.Up[e]:
				if !c.Over || len(c.Q[e]) > 0 {
					add(func() { c.Up[e] = true; up(c, e) }, "n%d: link %d to n%d is up", node, c.ID, other)
				}
				continue
			case len(c.Q[e]) > 0:
				add(func() {
					m := c.Q[e][0]
					c.Q[e] = c.Q[e][1:]
					receive(c, e, m)
				}, "n%d gets %T from n%d on %d", node, c.Q[e][0], other, c.ID)
			}
			if c.Over && (!c.Flush || len(c.Q[e]) == 0) {
				add(func() { c.Down[e], c.Q[e] = true, nil; down(c, e); n.sweep() }, "n%d: link %d to n%d is down", node, c.ID, other)
			}
		}
	}
	return moves
}

// quiet: nothing is under way, and everybody knows what is up.
func (n *network) quiet() bool {
	for _, c := range n.Conns {
		for e := range 2 {
			if len(c.Q[e]) > 0 || c.Up[e] == c.Over && !c.Down[e] {
				return false
			}
		}
	}
	return true
}

// drain plays what is under way in one order, and lets time run, until the time
// has come. It is how a world is left alone.
func drain(moves func() []Move, tick func(until time.Time) bool, until time.Time) error {
	for range 200_000 {
		if list := moves(); len(list) > 0 {
			list[0].Do()
		} else if !tick(until) {
			return nil
		}
	}
	return fmt.Errorf("it never comes to rest")
}

// soonest is the earliest deadline.
func soonest[M interface{ Deadline() time.Time }](machines []M) time.Time {
	var at time.Time
	for _, m := range machines {
		at = proto.Sooner(at, m.Deadline())
	}
	return at
}
