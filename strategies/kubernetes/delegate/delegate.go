// Package delegate decides which nodes of a large cluster watch a source of
// addresses for all, and what the others make of what the watchers tell them.
//
// It is a pure state machine: time is an argument, and it neither sends, waits
// nor asks anybody. Who watches follows from the members alone, by rendezvous
// hashing (Thaler and Ravishankar 1998): there is no election to lose.
//
//   - Up to 64 nodes all watch. Above it the 8 of highest rank do, and tell what
//     changes; every message is a heartbeat, too.
//   - A watcher that cannot reach its source says so, and still beats: when an
//     API server is down, nobody can help by asking it as well.
//   - When fewer than two of the ranks before it are heard, the next wave of 8
//     takes over: ranks 9 to 16 after two silent heartbeats, the next after
//     three, and so on.
//   - Any watcher adds a candidate; it takes two to withdraw one (one, if there is
//     only one). Statements carry the version they are true at, so that a
//     watcher that lags undoes nothing.
//   - A node without any other member lists by itself, now and then.
package delegate

import (
	"cmp"
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/starlingmesh/starling/discovery"
)

const (
	// Heartbeat is how often a watcher says something at least. Shorter: traffic
	// to everybody; longer: a takeover waits for longer.
	Heartbeat = 5 * time.Second

	allWatchMost  = 64 // nodes that all watch
	allWatchAgain = 56 // and when they do so again
	watchersAuto  = 8
	quorum        = 2 // watchers that are enough, and that must agree

	// stagger is how long a watcher waits for each rank before it, so that what
	// one has said the others need not repeat.
	stagger = 25 * time.Millisecond
	// wholeGap is the least time between two whole pictures of one watcher.
	wholeGap = 2 * Heartbeat
	// standIn is how long a node that took over keeps watching at least.
	standIn = 3 * Heartbeat
	// lonely is how often a node lists by itself, and up to as long again.
	lonely = 10 * time.Second
	// mute is after how long without any watcher the source counts as failing.
	mute = 6 * Heartbeat
	// gather is for how long withdrawals wait for others: each costs the manager a
	// look at all candidates, and none takes effect before its grace is over.
	gather = time.Second
)

// Mode is what a node does about its source.
type Mode uint8

// The modes.
const (
	Watch  Mode = iota // it watches
	Follow             // it listens to those that watch
	List               // it asks once, when List says so
)

func (m Mode) String() string {
	switch m {
	case Watch:
		return "watch"
	case Follow:
		return "follow"
	case List:
		return "list"
	default:
		panic("delegate: no such Mode")
	}
}

// Node is one node's part in it. Its owner guards it.
type Node struct {
	self    string
	k       int // watchers, 0 is auto
	rng     *rand.Rand
	named   []string // as Members named them last
	members []string // by rank, self included
	rank    int      // of self
	vouched int      // candidates of the last list, 0 if there was none
	started bool     // a list has come

	delegated bool
	mode      Mode
	tookOver  time.Time // since when it stands in; zero: it does not
	rankedAt  time.Time // since when it has a rank at all
	beats     map[string]beat
	listAt    time.Time

	book book
	own  own
	out  []Message
	seen []discovery.Observation
	fail error

	told bool // the sink has a whole picture by way of others
}

// beat is the last word of a watcher.
type beat struct {
	at     time.Time
	stale  string // why it cannot watch
	digest digest
}

// New returns a node. watchers is how many watch in any cluster, 0 is 8 in those
// of more than 64. Chance spreads out what nodes would else do together.
func New(self string, watchers int, rng *rand.Rand) *Node {
	return &Node{
		self: self, k: watchers, rng: rng, members: []string{self}, mode: List,
		beats: map[string]beat{}, book: newBook(), own: newOwn(),
	}
}

// Members tells who lives, self included or not.
func (n *Node) Members(now time.Time, ids []string) {
	if slices.Equal(ids, n.named) {
		return
	}
	n.named = slices.Clone(ids)
	n.members = append(slices.Clone(ids), n.self)
	slices.SortFunc(n.members, func(a, b string) int {
		return cmp.Or(cmp.Compare(score(b), score(a)), cmp.Compare(a, b))
	})
	n.members = slices.Compact(n.members)
	n.rank = slices.Index(n.members, n.self)
	switch {
	case len(n.members) == 1:
		n.rankedAt = time.Time{}
	case n.rankedAt.IsZero():
		n.rankedAt = now
	}
	for id := range n.beats {
		if !slices.Contains(n.members, id) {
			delete(n.beats, id)
			n.book.forget(id)
		}
	}
}

func score(id string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, id)
	return stir(h.Sum64())
}

// stir mixes the bits of a hash by FNV, which leaves the high ones alike for like
// names, with SplitMix64's finalizer.
func stir(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Watchers is how many nodes watch when not all do.
func (n *Node) Watchers() int {
	if n.k > 0 {
		return n.k
	}
	return watchersAuto
}

// Mode decides what this node does now.
func (n *Node) Mode(now time.Time) Mode {
	n.decide(now)
	return n.mode
}

func (n *Node) decide(now time.Time) {
	size := max(len(n.members), n.vouched)
	most, again := n.k, n.k
	if n.k == 0 {
		most, again = allWatchMost, allWatchAgain
	}
	n.delegated = size > most || n.delegated && size > again
	was := n.mode
	switch {
	case !n.started:
		n.mode = List
	case !n.delegated:
		n.mode, n.tookOver = Watch, time.Time{}
	case len(n.members) == 1:
		n.mode = List // thousands that are cut off must not watch, each for itself
	case n.rank < n.Watchers():
		n.mode, n.tookOver = Watch, time.Time{}
	default:
		n.mode = n.asReserve(now)
	}
	if n.mode == List && (was != List || n.listAt.IsZero()) {
		wait := lonely
		if !n.started {
			wait = time.Second / 2
		}
		n.listAt = now.Add(time.Duration(n.rng.Float64() * float64(wait)))
	}
	if was == Watch && n.mode != Watch && n.own.whole {
		n.book.reset(n.own.version, slices.Collect(maps.Values(n.own.cands))) // to go on with
		n.own.whole = false
	}
	if n.mode != Follow {
		n.told = false
	}
	if !n.tells() {
		clear(n.own.pending) // the others watch, too, or there are none
	}
}

// asReserve is the mode of a node behind the first wave.
func (n *Node) asReserve(now time.Time) Mode {
	wave := n.rank / n.Watchers()
	ahead := n.members[:wave*n.Watchers()]
	enough := min(quorum, n.Watchers())
	var heard []time.Time
	for _, id := range ahead {
		if b, ok := n.beats[id]; ok {
			heard = append(heard, b.at)
		}
	}
	slices.SortFunc(heard, func(a, b time.Time) int { return b.Compare(a) })
	last := n.rankedAt // nobody can be silent for longer than we listen
	if len(heard) >= enough && heard[enough-1].After(last) {
		last = heard[enough-1]
	}
	silent := now.Sub(last)
	switch {
	case silent >= time.Duration(wave+1)*Heartbeat:
		if n.tookOver.IsZero() {
			n.tookOver = now
		}
	case silent < 2*Heartbeat && now.Sub(n.tookOver) >= standIn:
		n.tookOver = time.Time{}
	}
	if n.tookOver.IsZero() {
		return Follow
	}
	return Watch
}

// Due reports whether a node in mode List is to list now.
func (n *Node) Due(now time.Time) bool {
	if n.mode != List || n.listAt.IsZero() || now.Before(n.listAt) {
		return false
	}
	n.listAt = now.Add(lonely + time.Duration(n.rng.Float64()*float64(lonely)))
	return true
}

// Listed tells what a list of our own showed.
func (n *Node) Listed(version uint64, cands []discovery.Candidate) {
	n.started, n.vouched = true, len(cands)
	n.book.reset(version, cands)
}

// Failed tells that a list of our own failed: no reason to hold back for ever.
func (n *Node) Failed() { n.started = true }

// Deadline is when Tick next has something to do.
func (n *Node) Deadline(now time.Time) time.Time {
	next := now.Add(Heartbeat / 5)
	var at time.Time
	switch {
	case n.mode == List:
		at = n.listAt
	case n.tells(): // who tells nobody has nothing to do, whatever it has seen
		at = n.own.nextAt()
	case n.mode == Follow:
		at = n.book.goneAt
	}
	if at.IsZero() || next.Before(at) {
		return next
	}
	return at
}

// tells reports whether this node tells others what it watches.
func (n *Node) tells() bool { return n.mode == Watch && n.delegated && len(n.members) > 1 }

// Outcome is what is to be done after a Tick.
type Outcome struct {
	Publish []Message // to all, in this order
	Observe []discovery.Observation
	Fail    error // the source fails; what was observed stays
}

// Tick does what is due.
func (n *Node) Tick(now time.Time) Outcome {
	n.decide(now)
	switch {
	case n.tells():
		n.publish(now)
	case n.mode == Follow:
		n.follow(now)
	}
	out := Outcome{Publish: n.out, Observe: n.seen, Fail: n.fail}
	n.out, n.seen, n.fail = nil, nil, nil
	return out
}
