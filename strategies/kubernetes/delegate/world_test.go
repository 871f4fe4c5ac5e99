package delegate

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/starlingmesh/starling/discovery"
)

// world is a cluster and its API server in virtual time.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	now   time.Time
	nodes map[string]*sim
	order []string
	mail  []letter

	version uint64
	pods    map[string]discovery.Candidate
	history []event
	broken  string // why nobody can watch
	watches int    // opened in all
	said    int    // candidates named as new or gone, in all messages
}

type sim struct {
	*Node
	id       string
	dead     bool
	hung     bool // lives for the others, does nothing
	mode     Mode
	modeAt   time.Time
	seen     int // events of the history it has
	lag      time.Duration
	knows    map[string]discovery.Candidate // what its sink holds
	failures int
	pictures int // whole ones that others' word made
	wakeAt   time.Time
	lists    int
}

type event struct {
	at      time.Time
	version uint64
	key     string
	cand    discovery.Candidate
	gone    bool
}

type letter struct {
	at       time.Time
	from, to string
	msg      Message
}

const step = 25 * time.Millisecond

func newWorld(t *testing.T, seed uint64, nodes, watchers int) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_000_000, 0), nodes: map[string]*sim{},
		version: 100, pods: map[string]discovery.Candidate{},
	}
	for i := range nodes {
		id := fmt.Sprintf("node-%03d", i)
		w.pods[id] = candidate(id, i)
		w.nodes[id] = &sim{
			Node: New(id, watchers, rand.New(rand.NewPCG(seed, uint64(i)))), id: id, mode: List,
			knows: map[string]discovery.Candidate{}, lag: time.Duration(w.rng.IntN(60)) * time.Millisecond,
		}
	}
	return w
}

func candidate(key string, i int) discovery.Candidate {
	return discovery.Candidate{Key: key, Addrs: []string{fmt.Sprintf("10.0.%d.%d:7827", i/200, i%200+1)}, Ready: discovery.Yes}
}

func (w *world) ids() []string {
	if w.order == nil {
		w.order = slices.Sorted(maps.Keys(w.nodes))
	}
	return w.order
}

// join makes all know each other.
func (w *world) join() {
	var living []string
	for _, id := range w.ids() {
		if !w.nodes[id].dead {
			living = append(living, id)
		}
	}
	for _, id := range living {
		w.nodes[id].Members(w.now, living)
	}
}

func (w *world) ranked() []*sim {
	for _, s := range w.nodes {
		if !s.dead {
			var list []*sim
			for _, id := range s.members {
				list = append(list, w.nodes[id])
			}
			return list
		}
	}
	return nil
}

func (w *world) add(key string, i int) {
	w.version++
	w.pods[key] = candidate(key, i)
	w.history = append(w.history, event{w.now, w.version, key, w.pods[key], false})
}

func (w *world) remove(key string) {
	w.version++
	delete(w.pods, key)
	w.history = append(w.history, event{at: w.now, version: w.version, key: key, gone: true})
}

func (w *world) run(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(step) {
		mail := w.mail
		w.mail = nil
		for _, l := range mail {
			switch s := w.nodes[l.to]; {
			case l.at.After(w.now):
				w.mail = append(w.mail, l)
			case !s.dead && !s.hung:
				s.Receive(w.now, l.from, l.msg)
				s.wakeAt = w.now
			}
		}
		for _, id := range w.ids() {
			if s := w.nodes[id]; !s.dead && !s.hung {
				w.turn(s)
			}
		}
	}
}

func (w *world) turn(s *sim) {
	if w.now.Before(s.wakeAt) && s.mode != Watch {
		return
	}
	if mode := s.Mode(w.now); mode != s.mode {
		s.mode, s.modeAt = mode, w.now
		if mode == Watch {
			w.watches++
			s.seen = -1
		}
	}
	switch {
	case s.mode == Watch && w.broken != "":
		s.Stale(w.broken)
	case s.mode == Watch:
		w.watch(s)
	case s.mode == List && s.Due(w.now):
		s.lists++
		if w.broken != "" {
			s.Failed()
			break
		}
		cands := slices.Collect(maps.Values(w.pods))
		s.Listed(w.version, cands)
		s.observe(discovery.Complete{Candidates: cands})
	}
	out := s.Tick(w.now)
	s.wakeAt = s.Deadline(w.now)
	for _, o := range out.Observe {
		if _, whole := o.(discovery.Complete); whole {
			s.pictures++
		}
		s.observe(o)
	}
	if out.Fail != nil {
		s.failures++
	}
	for _, m := range out.Publish {
		data, err := m.Encode()
		if err != nil {
			w.t.Fatal(err)
		}
		told, err := Decode(data)
		if err != nil {
			w.t.Fatal(err)
		}
		w.said += len(m.Upserts) + len(m.Gone)
		for _, to := range w.ids() {
			if to != s.id {
				w.mail = append(w.mail, letter{w.now.Add(time.Duration(1+w.rng.IntN(100)) * time.Millisecond), s.id, to, told})
			}
		}
	}
}

// watch brings a watcher what has reached it.
func (w *world) watch(s *sim) {
	if s.seen < 0 {
		s.seen = len(w.history)
		cands := slices.Collect(maps.Values(w.pods))
		s.WatchedAll(w.now, w.version, cands)
		s.sinkWhole(cands)
		return
	}
	s.Stale("")
	for s.seen < len(w.history) && !w.history[s.seen].at.Add(s.lag).After(w.now) {
		e := w.history[s.seen]
		s.seen++
		if e.gone {
			delete(s.knows, e.key)
			s.Watched(w.now, e.version, nil, []string{e.key})
		} else {
			s.knows[e.key] = e.cand
			s.Watched(w.now, e.version, []discovery.Candidate{e.cand}, nil)
		}
	}
}

func (s *sim) sinkWhole(cands []discovery.Candidate) {
	s.observe(discovery.Complete{Candidates: cands})
}

func (s *sim) observe(o discovery.Observation) {
	switch o := o.(type) {
	case discovery.Complete:
		clear(s.knows)
		for _, c := range o.Candidates {
			s.knows[c.Key] = c
		}
	case discovery.Delta:
		for _, c := range o.Upserts {
			s.knows[c.Key] = c
		}
		for _, key := range o.Withdrawn {
			delete(s.knows, key)
		}
	case discovery.Partial:
		panic("a watcher's word is no part")
	}
}

func (w *world) wantAllKnowAll() {
	w.t.Helper()
	w.wantTheirDigestsRight()
	want := slices.Sorted(maps.Keys(w.pods))
	for _, id := range w.ids() {
		if s := w.nodes[id]; !s.dead && !s.hung {
			if got := slices.Sorted(maps.Keys(s.knows)); !slices.Equal(got, want) {
				w.t.Errorf("%s (%v) knows %d candidates, there are %d", id, s.mode, len(got), len(want))
			}
		}
	}
}

// wantTheirDigestsRight draws up anew what is kept by adding and taking away.
func (w *world) wantTheirDigestsRight() {
	w.t.Helper()
	of := func(cands map[string]discovery.Candidate) (sum digest) {
		for _, c := range cands {
			sum.add(digestOf(&c))
		}
		return sum
	}
	for _, id := range w.ids() {
		s := w.nodes[id]
		if s.own.sum != of(s.own.cands) || s.book.sum != of(s.book.living()) {
			w.t.Errorf("%s (%v): a digest is not of what it stands for", id, s.mode)
		}
	}
}

func (w *world) count(m Mode) int {
	n := 0
	for _, s := range w.nodes {
		if !s.dead && !s.hung && s.mode == m {
			n++
		}
	}
	return n
}
