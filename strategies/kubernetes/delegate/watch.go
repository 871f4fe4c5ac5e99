package delegate

import (
	"maps"
	"slices"
	"time"

	"github.com/starlingmesh/starling/discovery"
)

// own is what this node sees when it watches, and what it still has to say.
type own struct {
	version uint64
	cands   map[string]discovery.Candidate
	whole   bool // cands is all that this watch sees: the book is empty meanwhile
	stale   string
	pending map[string]pending // by candidate key
	beatAt  time.Time
	wantAt  time.Time // when to answer those who want a whole picture
	wholeAt time.Time // the last one
	wholes  uint64
	sum     digest // of cands
}

// pending is a statement that waits for its turn.
type pending struct {
	at      time.Time
	version uint64 // what we knew when we learned of it
	heard   int    // others that have said it meanwhile, and knew as much
}

func newOwn() own {
	return own{cands: map[string]discovery.Candidate{}, pending: map[string]pending{}}
}

// Watched tells what our own watch saw change, as of a version.
func (n *Node) Watched(now time.Time, version uint64, upserts []discovery.Candidate, gone []string) {
	n.own.stale = ""
	n.own.version = max(n.own.version, version)
	at := now.Add(time.Duration(min(n.rank, n.Watchers())) * stagger)
	for _, c := range upserts {
		if old, had := n.own.cands[c.Key]; had {
			n.own.sum.remove(digestOf(&old))
		}
		n.own.cands[c.Key] = c
		n.own.sum.add(digestOf(&c))
		n.own.pending[c.Key] = pending{at: at, version: n.own.version}
	}
	for _, key := range gone {
		if old, had := n.own.cands[key]; had {
			n.own.sum.remove(digestOf(&old))
			delete(n.own.cands, key)
			n.own.pending[key] = pending{at: at, version: n.own.version}
		}
	}
}

// WatchedAll tells all that our own watch sees.
func (n *Node) WatchedAll(now time.Time, version uint64, cands []discovery.Candidate) {
	n.started, n.vouched = true, len(cands)
	var changed []discovery.Candidate
	there := make(map[string]bool, len(cands))
	for _, c := range cands {
		there[c.Key] = true
		if old, had := n.own.cands[c.Key]; !had || digestOf(&old) != digestOf(&c) {
			changed = append(changed, c)
		}
	}
	var gone []string
	for key := range n.own.cands {
		if !there[key] {
			gone = append(gone, key)
		}
	}
	n.Watched(now, version, changed, gone)
	n.own.whole = true
	n.book.reset(0, nil)
}

// Stale tells that our own watch does not work at present, and why.
func (n *Node) Stale(why string) { n.own.stale = why }

// nextAt is when something is to be said; zero: nothing before the next beat.
func (o *own) nextAt() time.Time {
	next := o.wantAt
	for _, p := range o.pending {
		if next.IsZero() || p.at.Before(next) {
			next = p.at
		}
	}
	return next
}

// publish says what is due: a change, a whole picture, or just that we live.
func (n *Node) publish(now time.Time) {
	o := &n.own
	var upserts []discovery.Candidate
	var gone []string
	for _, key := range slices.Sorted(maps.Keys(o.pending)) {
		p := o.pending[key]
		c, there := o.cands[key]
		switch {
		case p.heard >= quorum, there && p.heard > 0:
		case now.Before(p.at):
			continue
		case there:
			upserts = append(upserts, c)
		default:
			gone = append(gone, key)
		}
		delete(o.pending, key)
	}
	for chunk := range slices.Chunk(upserts, statementsMax) {
		n.say(now, Message{Upserts: chunk})
	}
	for chunk := range slices.Chunk(gone, 4*statementsMax) {
		n.say(now, Message{Gone: chunk})
	}
	if !o.wantAt.IsZero() && !now.Before(o.wantAt) {
		o.wantAt = time.Time{}
		n.sayWhole(now)
	}
	if !now.Before(o.beatAt) {
		n.say(now, Message{})
	}
}

func (n *Node) say(now time.Time, m Message) {
	m.Version, m.Stale, m.Digest = n.own.version, n.own.stale, n.own.sum
	n.out = append(n.out, m)
	// A little sooner or later each time, so that watchers do not beat together.
	n.own.beatAt = now.Add(Heartbeat - time.Duration(n.rng.Float64()*float64(Heartbeat/5)))
}

func (n *Node) sayWhole(now time.Time) {
	if n.own.stale != "" || n.own.version == 0 && len(n.own.cands) == 0 {
		return
	}
	n.own.wholeAt = now
	n.own.wholes++
	keys := slices.Sorted(maps.Keys(n.own.cands))
	parts := max((len(keys)+statementsMax-1)/statementsMax, 1)
	for i := range parts {
		m := Message{Whole: n.own.wholes, Part: i, Parts: parts}
		for _, key := range keys[i*statementsMax : min((i+1)*statementsMax, len(keys))] {
			m.Upserts = append(m.Upserts, n.own.cands[key])
		}
		n.say(now, m)
	}
}

// wanted: somebody lacks something. Two watchers answer, those of the lowest
// ranks that are able to; the others hear them and keep quiet.
func (n *Node) wanted(now time.Time) {
	if n.mode == Watch && n.own.wantAt.IsZero() && now.Sub(n.own.wholeAt) >= wholeGap {
		n.own.wantAt = now.Add(time.Duration(min(n.rank, n.Watchers())/quorum) * 20 * stagger)
	}
}

// heard notes what another watcher said, so that it need not be said again.
func (n *Node) heard(m *Message) {
	for i := range m.Upserts {
		key := m.Upserts[i].Key
		if mine, there := n.own.cands[key]; there && digestOf(&mine) == digestOf(&m.Upserts[i]) {
			n.hear(key, m.Version)
		}
	}
	for _, key := range m.Gone {
		if _, there := n.own.cands[key]; !there {
			n.hear(key, m.Version)
		}
	}
	if m.Parts > 0 && m.Part == m.Parts-1 && n.rank >= quorum {
		n.own.wantAt = time.Time{}
	}
}

func (n *Node) hear(key string, version uint64) {
	if p, ok := n.own.pending[key]; ok && version >= p.version {
		p.heard++
		n.own.pending[key] = p
	}
}
