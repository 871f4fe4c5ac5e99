package wave

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/wave/alarm"
	"github.com/starlingmesh/starling/overlay/wave/once"
)

// Members is what the wave reads of the directory.
type Members interface {
	Roster() *proto.Roster
	Member(id peer.ID) *proto.Member
	Self() *proto.Entry
}

// Wave is the machine: the calls of one node, as caller, relay and target. It
// belongs to one goroutine.
type Wave struct {
	// What most steps look at.
	self      peer.ID
	born      time.Time // calls older than this node are relayed, not run
	members   Members
	calls     map[proto.CallID]*call
	found     *call // last of them: most of what concerns one comes in a row
	alarms    alarm.Queue[sleeper]
	links     []link                   // overlay links that carry calls, in the order they came up
	clocks    map[proto.LinkID]*timing // of every open connection; looked up only
	windows   map[windowKey]*window
	order     roll[*call] // all of calls, oldest first
	openCalls int         // calls in the table that still owe something
	openBytes int         // of their requests
	cfg       Config
	stats     Stats
	leaving   bool

	amnesia   time.Time   // calls begun before it, of callers without a window, may have run here
	sweptAt   time.Time   // windows were looked through for idle ones
	kept      roll[*call] // with the payload of a kept result, oldest first
	keptBytes int

	questions roll[*question] // settled or not, until their wave has ended, oldest first
	byRef     map[uint64]*question
	direct    map[proto.CallID]*target // asks under an ID of their own
	waveSeq   once.Sequence
	directSeq map[peer.ID]*once.Sequence
	directMin uint64    // a new sequence of direct calls counts on from here
	helping   []helping // asks made for others, oldest first
	asks      int       // direct asks that have no receipt yet
	waiting   []*target // for room among them
	undialled peer.Map[failedDial]
	rng       *rand.Rand

	pooled []link    // open links to nodes that are no neighbours: a star may use them
	waved  int       // waves to everybody begun since wavedAt, which pooled links would make stars
	waveAt time.Time // when the first of them began
}

// Stats are counters since the start, for metrics.
type Stats struct {
	Waves, Stars, StarsWidened, Directs uint64 // calls begun here, by form
	Dispatched                          uint64
	Relayed                             uint64
	Asks, Helps, Adopts, Pulls          uint64
	Late                                uint64 // answers after their verdict
	Open, Kept, KeptBytes               int    // now
}

// link is one overlay link that calls may use.
type link struct {
	id       proto.LinkID
	node     peer.ID
	clock    *timing // nil: unknown
	draining bool
}

// New makes the machine of a node that was born now.
func New(cfg Config, self peer.ID, members Members, rng *rand.Rand, now time.Time) *Wave {
	return &Wave{
		cfg: cfg, self: self, born: now, rng: rng, members: members,
		clocks:    map[proto.LinkID]*timing{},
		calls:     map[proto.CallID]*call{},
		windows:   map[windowKey]*window{},
		byRef:     map[uint64]*question{},
		direct:    map[proto.CallID]*target{},
		directSeq: map[peer.ID]*once.Sequence{},
		order:     roll[*call]{over: func(c *call) bool { return c.forgotten }},
		kept:      roll[*call]{over: func(c *call) bool { return !c.kept }},
		questions: roll[*question]{over: func(q *question) bool { return q.retired }},
	}
}

// Stats copies the counters.
func (w *Wave) Stats() Stats {
	s := w.stats
	s.Open, s.Kept, s.KeptBytes = len(w.byRef), w.kept.len(), w.keptBytes
	return s
}

// clock is this node's monotonic clock as peers may compare it.
func (w *Wave) clock(now time.Time) time.Duration { return now.Sub(w.born) }

// NeighborUp: calls that begin from now on use this link.
func (w *Wave) NeighborUp(_ time.Time, id proto.LinkID, who proto.PeerInfo, _ *proto.Out) {
	if l := w.link(id); l != nil { // demoted, and back on the same connection
		l.draining = false
		return
	}
	w.links = append(w.links, link{id: id, node: who.ID, clock: w.clocks[id]})
}

// NeighborDraining: nothing new goes over this link.
func (w *Wave) NeighborDraining(id proto.LinkID) {
	if l := w.link(id); l != nil {
		l.draining = true
	}
}

// Leave: from now on nothing is dispatched here any more.
func (w *Wave) Leave() { w.leaving = true }

func (w *Wave) link(id proto.LinkID) *link {
	for i := range w.links {
		if w.links[i].id == id {
			return &w.links[i]
		}
	}
	return nil
}

// linkTo is the one of the links over which something new may go to a node.
func linkTo(links []link, id peer.ID) *link {
	for i := range links {
		if l := &links[i]; l.node == id && !l.draining {
			return l
		}
	}
	return nil
}

// LinkDown: a link of any kind is gone. Everything that waited for it is
// resolved, with testimony, or goes another way.
func (w *Wave) LinkDown(now time.Time, id proto.LinkID, who peer.ID, out *proto.Out) {
	gone := func(l link) bool { return l.id == id }
	w.links, w.pooled = slices.DeleteFunc(w.links, gone), slices.DeleteFunc(w.pooled, gone)
	delete(w.clocks, id)
	for c := range w.order.all() {
		w.callLinkDown(now, c, id, who, out)
	}
	for q := range w.questions.all() {
		w.questionLinkDown(now, q, who, out)
	}
	w.helpLinkDown(id, who, out)
}

// SendFailed: a message that was to go straight to a node could not; handed
// says that bytes of it may have left.
func (w *Wave) SendFailed(now time.Time, to peer.ID, msg proto.Message, why proto.DialWhy, handed bool, out *proto.Out) {
	switch m := msg.(type) {
	case proto.Ask:
		if !handed {
			w.noteUndialled(now, to, why)
		}
		if m.Call.ID.Caller != w.self {
			w.helpFailed(helpKey{m.Call.ID, to}, why, out)
			return
		}
		w.askFailed(now, m.Call.ID, to, peer.ID{}, why.String(), handed, out)
	case proto.Adopt:
		w.adoptFailed(now, m.Echo, out)
	case proto.Pull:
		if c := w.call(m.ID); c != nil && c.pulling && c.pullOn == 0 {
			w.pull(c, out)
		}
	} // the rest is best effort: the budget settles it
}

// Receive takes a message of a call from a link of any kind.
func (w *Wave) Receive(now time.Time, on proto.LinkID, from proto.PeerInfo, msg proto.Message, out *proto.Out) {
	switch m := msg.(type) {
	case proto.Call:
		w.receiveCall(now, on, from, m, out)
	case proto.Took:
		w.receiveTook(now, on, m, out)
	case proto.Seen:
		w.receiveSeen(now, on, m, out)
	case proto.Echo:
		w.receiveEcho(now, on, from, m, out)
	case proto.Adopt:
		w.receiveAdopt(now, on, from, m, out)
	case proto.Cancel:
		w.receiveCancel(now, m, out)
	case proto.Pull:
		w.receivePull(on, m, out)
	case proto.CallBody:
		w.receiveBody(now, m, out)
	case proto.Ask:
		w.receiveAsk(now, on, from, m, out)
	case proto.Answer:
		w.receiveAnswer(now, from, m, out)
	case proto.StatusAsk:
		w.receiveStatusAsk(on, m, out)
	case proto.StatusAnswer:
		w.receiveStatusAnswer(now, from, m, out)
	case proto.Help:
		w.receiveHelp(now, on, from, m, out)
	case proto.Helpless:
		w.askFailed(now, m.ID, m.Target, from.ID, "helper "+from.Name+": "+m.Why.String(), true, out)
	default:
		out.Add(proto.Ignored{Why: "wave_not_ours", Peer: from.ID})
	}
}

// Deadline is when Wake is wanted next; zero: never.
func (w *Wave) Deadline() time.Time { return w.alarms.First() }

// Wake does all that has come due.
func (w *Wave) Wake(now time.Time, out *proto.Out) {
	for a := w.alarms.Due(now); a != nil; a = w.alarms.Due(now) {
		a.Of.wake(w, now, out)
	}
}

// sleeper is what has an alarm: a call or a question.
type sleeper interface {
	wake(w *Wave, now time.Time, out *proto.Out)
}

// earliest is the first of the times that is set.
func earliest(times ...time.Time) time.Time {
	var first time.Time
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}
