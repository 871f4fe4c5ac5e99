package delegate

import (
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/starlingmesh/starling/discovery"
)

// deadKeep is for how long a withdrawal is remembered, so that a watcher that
// lags does not undo it.
const deadKeep = 10 * time.Minute

// book is what a node that does not watch makes of what it is told.
type book struct {
	entries map[string]*entry
	wholes  map[string]*assembly // by watcher

	inSync  time.Time // when a watcher last had the picture that we have
	wantAt  time.Time // when we ask for a whole one; zero: we need not
	changed map[string]bool
	goneAt  time.Time // when withdrawals among them are handed on; zero: there are none

	sum digest // of the living
}

// entry is a candidate, or one that was.
type entry struct {
	cand discovery.Candidate
	sum  uint64            // of cand
	at   uint64            // the version it was last said to be there
	gone map[string]uint64 // watchers that withdrew it, and at which version
	dead time.Time         // since when it counts as withdrawn; zero: it does not
}

// assembly is a whole picture on its way.
type assembly struct {
	id      uint64
	version uint64
	parts   map[int]bool
	keys    map[string]bool
}

func newBook() book {
	return book{entries: map[string]*entry{}, wholes: map[string]*assembly{}, changed: map[string]bool{}}
}

// reset takes what we saw ourselves.
func (b *book) reset(version uint64, cands []discovery.Candidate) {
	clear(b.entries)
	clear(b.changed)
	b.goneAt, b.sum = time.Time{}, 0
	for _, c := range cands {
		e := &entry{cand: c, sum: digestOf(&c), at: version}
		if old := b.entries[c.Key]; old != nil {
			b.sum.remove(old.sum)
		}
		b.entries[c.Key] = e
		b.sum.add(e.sum)
	}
}

// forget drops the opinions of a watcher that is no more.
func (b *book) forget(id string) { delete(b.wholes, id) }

func (b *book) upsert(version uint64, c discovery.Candidate) {
	e := b.entries[c.Key]
	if e == nil {
		if len(b.entries) >= entriesMax {
			return
		}
		e = &entry{}
		b.entries[c.Key] = e
	} else {
		if version < e.at || !e.dead.IsZero() && outdated(version, e) {
			return
		}
		if e.dead.IsZero() {
			b.sum.remove(e.sum)
		}
	}
	e.cand, e.sum, e.at, e.dead = c, digestOf(&c), version, time.Time{}
	b.sum.add(e.sum)
	maps.DeleteFunc(e.gone, func(_ string, at uint64) bool { return at <= version })
	b.changed[c.Key] = true
}

// outdated: enough watchers withdrew e at a later version.
func outdated(version uint64, e *entry) bool {
	for _, at := range e.gone {
		if at > version {
			return true
		}
	}
	return false
}

func (b *book) withdraw(id string, version uint64, key string) {
	e := b.entries[key]
	if e == nil || version < e.at {
		return
	}
	if e.gone == nil {
		e.gone = map[string]uint64{}
	}
	e.gone[id] = version
}

// settle counts the withdrawals; enough watchers must agree.
func (b *book) settle(now time.Time, enough int) {
	for key, e := range b.entries {
		switch {
		case e.dead.IsZero() && len(e.gone) >= enough && len(e.gone) > 0:
			e.dead = now
			b.sum.remove(e.sum)
			b.changed[key] = true
		case !e.dead.IsZero() && now.Sub(e.dead) >= deadKeep:
			delete(b.entries, key)
			delete(b.changed, key)
		}
	}
}

func (b *book) living() map[string]discovery.Candidate {
	all := make(map[string]discovery.Candidate, len(b.entries))
	for key, e := range b.entries {
		if e.dead.IsZero() {
			all[key] = e.cand
		}
	}
	return all
}

// Receive takes what another node published.
func (n *Node) Receive(now time.Time, from string, m Message) {
	if from == n.self {
		return
	}
	if m.Want {
		n.book.wantAt = time.Time{} // the answer is for us, too
		n.wanted(now)
		return
	}
	if !slices.Contains(n.members, from) {
		return
	}
	n.beats[from] = beat{at: now, stale: m.Stale, digest: m.Digest}
	if m.Stale != "" {
		return // it knows nothing new
	}
	if n.mode == Watch {
		n.heard(&m)
		return
	}
	b := &n.book
	for _, c := range m.Upserts {
		b.upsert(m.Version, c)
	}
	for _, key := range m.Gone {
		b.withdraw(from, m.Version, key)
	}
	if m.Whole > 0 {
		b.assemble(from, &m)
	}
}

// assemble gathers a whole picture: who is not in it is withdrawn by its sender.
func (b *book) assemble(from string, m *Message) {
	a := b.wholes[from]
	if a == nil || a.id != m.Whole {
		a = &assembly{id: m.Whole, version: m.Version, parts: map[int]bool{}, keys: map[string]bool{}}
		b.wholes[from] = a
	}
	a.parts[m.Part] = true
	a.version = min(a.version, m.Version)
	for i := range m.Upserts {
		a.keys[m.Upserts[i].Key] = true
	}
	if len(a.parts) < m.Parts {
		return
	}
	delete(b.wholes, from)
	for key, e := range b.entries {
		if !a.keys[key] && e.dead.IsZero() {
			b.withdraw(from, a.version, key)
		}
	}
}

// follow makes observations of what was said since the last time.
func (n *Node) follow(now time.Time) {
	fresh, stale, last := n.audience(now)
	n.book.settle(now, min(quorum, max(fresh, 1)))
	switch {
	case fresh > 0:
	case stale != "":
		n.fail = discovery.Classed(discovery.Unavailable, "the nodes that watch for all cannot do so: %s", stale)
	case now.Sub(last) >= mute:
		n.fail = discovery.Classed(discovery.Unavailable, "no node that watches for all was heard for %v", mute)
	}
	n.compare(now, fresh)
	n.observe(now)
}

// audience counts the watchers that were heard lately and are well; of others it
// says why they are not, or when the last one was heard.
func (n *Node) audience(now time.Time) (fresh int, stale string, last time.Time) {
	last = n.rankedAt
	for _, id := range slices.Sorted(maps.Keys(n.beats)) {
		b := n.beats[id]
		if b.at.After(last) {
			last = b.at
		}
		switch {
		case now.Sub(b.at) >= 2*Heartbeat:
		case b.stale == "":
			fresh++
		default:
			stale = b.stale
		}
	}
	return fresh, stale, last
}

// compare asks for a whole picture when ours has been like nobody's for a while.
func (n *Node) compare(now time.Time, fresh int) {
	b := &n.book
	for _, w := range n.beats {
		if w.stale == "" && now.Sub(w.at) < 2*Heartbeat && w.digest == b.sum {
			b.inSync = now
		}
	}
	switch {
	case fresh == 0 || b.inSync.Equal(now):
		b.wantAt = time.Time{}
	case b.wantAt.IsZero():
		// All may lack the same: by chance one asks, and the others hear it.
		b.wantAt = now.Add(2*Heartbeat + time.Duration(n.rng.Float64()*float64(2*Heartbeat)))
	case !now.Before(b.wantAt):
		b.wantAt = time.Time{}
		n.out = append(n.out, Message{Want: true})
	}
}

// observe hands the changes on. Withdrawals come as a whole picture, of which the
// manager may be suspicious: those of a moment in one, while news of somebody new
// waits for nothing.
func (n *Node) observe(now time.Time) {
	b := &n.book
	var upserts []discovery.Candidate
	gone := false
	for key := range b.changed {
		if e := b.entries[key]; e.dead.IsZero() {
			upserts = append(upserts, e.cand)
			delete(b.changed, key)
		} else {
			gone = true
		}
	}
	if gone && b.goneAt.IsZero() {
		b.goneAt = now.Add(gather)
	}
	switch {
	case !n.told || !b.goneAt.IsZero() && !now.Before(b.goneAt):
		clear(b.changed)
		b.goneAt, n.told = time.Time{}, true
		n.seen = append(n.seen, n.Picture())
	case len(upserts) > 0:
		n.seen = append(n.seen, discovery.Delta{Upserts: upserts})
	}
}

// Picture is the whole picture as the watchers tell it.
func (n *Node) Picture() discovery.Complete {
	living := n.book.living()
	cands := make([]discovery.Candidate, 0, len(living))
	for _, key := range slices.Sorted(maps.Keys(living)) {
		cands = append(cands, living[key])
	}
	return discovery.Complete{Candidates: cands}
}

// A digest is the same for equal pictures, in whatever order they were drawn: the
// sum of what is in them. So one change of thousands costs one addition.
type digest uint64

func (d *digest) add(sum uint64)    { *d += digest(sum) }
func (d *digest) remove(sum uint64) { *d -= digest(sum) }

// digestOf sums up one candidate, so stirred that no two make up for each other by chance.
func digestOf(c *discovery.Candidate) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, c.Key+"\x00"+strings.Join(c.Addrs, " ")+"\x00"+c.Host)
	_, _ = h.Write([]byte{byte(c.Ready), byte(c.Serving), byte(c.Terminating)})
	for _, name := range slices.Sorted(maps.Keys(c.Labels)) {
		_, _ = fmt.Fprintf(h, "\x00%s=%s", name, c.Labels[name])
	}
	return stir(h.Sum64())
}
