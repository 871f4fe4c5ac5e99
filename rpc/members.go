package rpc

import (
	"context"
	"slices"
	"time"

	"github.com/starlingmesh/starling/overlay/peer"
	"github.com/starlingmesh/starling/overlay/proto"
)

// sizeOf remembers how many members of a roster live.
type sizeOf struct {
	revision uint64
	counted  bool
	living   int
}

func (s *Service) living(roster *proto.Roster) int {
	if s.size.counted && s.size.revision == roster.Revision {
		return s.size.living
	}
	n := 0
	for _, m := range roster.Members {
		if living(m) {
			n++
		}
	}
	s.size = sizeOf{roster.Revision, true, n}
	return n
}

func (s *Service) snapshot(roster *proto.Roster, now time.Time) Snapshot {
	snap := Snapshot{Version: roster.Revision, Size: s.living(roster), Age: now.Sub(s.changed)}
	if s.cfg.Expected != nil {
		if n, known := s.cfg.Expected(); known {
			snap.Expected, snap.Known = n, true
		}
	}
	return snap
}

func (s *Service) membersChanged(out proto.MembersChanged) {
	now := time.Now()
	s.changed = now
	for _, c := range out.Changes {
		switch c.Kind {
		case proto.ChangeUp, proto.ChangeDown, proto.ChangeLeft:
			s.stable = now
		default:
		}
	}
	for w := range s.watchers {
		w.wake()
	}
}

// Member is a member and what this node has to do with it.
type Member struct {
	*proto.Member
	Self, Linked bool
}

// Members lists the members that are meant, by name; those that are down or
// have left only if gone is set.
func (s *Service) Members(sel *Selector, gone bool) ([]Member, Snapshot, *Error) {
	roster := s.mesh.Roster()
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	want := *sel
	want.Sample = 0
	match, err := s.resolve(&want, roster, now)
	if err != nil {
		return nil, Snapshot{}, err
	}
	return s.list(roster, &match, gone), s.snapshot(roster, now), nil
}

func (s *Service) list(roster *proto.Roster, sel *proto.Selector, gone bool) []Member {
	list := make([]Member, 0, len(roster.Members))
	for _, m := range roster.Members {
		if (gone || living(m)) && sel.Match(m.Entry) && (!sel.NotSelf || m.Entry.ID != roster.Self) {
			list = append(list, s.member(roster, m))
		}
	}
	slices.SortFunc(list, func(a, b Member) int {
		if a.Entry.Name != b.Entry.Name {
			return cmpString(a.Entry.Name, b.Entry.Name)
		}
		return a.Entry.ID.Compare(b.Entry.ID)
	})
	return list
}

func (s *Service) member(roster *proto.Roster, m *proto.Member) Member {
	_, linked := s.links[m.Entry.ID]
	return Member{Member: m, Self: m.Entry.ID == roster.Self, Linked: linked}
}

// Status is how this node is.
type Status struct {
	Self                       Member
	Version                    string
	Uptime, StableFor          time.Duration
	Alive, Suspect, Down, Left int
	Links                      int
	Snapshot                   Snapshot
	Majority, Draining         bool
}

// Status tells how this node is.
func (s *Service) Status() Status {
	roster := s.mesh.Roster()
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{
		Version: s.cfg.Version, Uptime: now.Sub(s.started), StableFor: now.Sub(s.stable),
		Links: len(s.links), Draining: s.draining, Snapshot: s.snapshot(roster, now),
	}
	for _, m := range roster.Members {
		switch m.Status {
		case proto.StatusAlive:
			st.Alive++
		case proto.StatusSuspect:
			st.Suspect++
		case proto.StatusDown:
			st.Down++
		case proto.StatusLeft:
			st.Left++
		default:
			panic("rpc: a member without status")
		}
		if m.Entry.ID == roster.Self {
			st.Self = s.member(roster, m)
		}
	}
	// Who left did so on its own word and counts in no majority.
	all := max(st.Alive+st.Suspect+st.Down, st.Snapshot.Expected)
	st.Majority = 2*(st.Alive+st.Suspect) > all
	return st
}

// Watcher follows the members. It is level-triggered: it compares the roster
// with what it told last, so that it needs no queue however slow it is.
type Watcher struct {
	svc   *Service
	ready chan struct{}
	known map[peer.ID]*proto.Member // told as up, and not as gone since
	fresh bool
}

// Change is one change of one member.
type Change struct {
	Kind   proto.ChangeKind
	Member Member
}

// Watch begins to follow the members. Close ends it.
func (s *Service) Watch() (*Watcher, *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, s.refuse(ShuttingDown, "the sidecar is shutting down")
	}
	if len(s.watchers) >= watchersMax {
		return nil, s.refuse(TooManyWatchers, "%d watches are open: share one within a process", watchersMax)
	}
	w := &Watcher{svc: s, ready: make(chan struct{}, 1), known: map[peer.ID]*proto.Member{}, fresh: true}
	w.wake()
	s.watchers[w] = struct{}{}
	return w, nil
}

// Close ends the watch.
func (w *Watcher) Close() {
	w.svc.mu.Lock()
	defer w.svc.mu.Unlock()
	delete(w.svc.watchers, w)
}

func (w *Watcher) wake() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// Next waits for news and tells it: first all living members, then changes.
// Two goroutines must not call it at once.
func (w *Watcher) Next(ctx context.Context) (revision uint64, all []Member, changes []Change, err error) {
	for {
		select {
		case <-w.ready:
		case <-ctx.Done():
			return 0, nil, nil, context.Cause(ctx)
		}
		s := w.svc
		roster := s.mesh.Roster()
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return 0, nil, nil, Errorf(ShuttingDown, "the sidecar is shutting down")
		}
		if w.fresh {
			all = s.list(roster, &proto.Selector{}, false)
		}
		changes = w.diff(roster)
		s.mu.Unlock()
		if w.fresh {
			w.fresh = false
			return roster.Revision, all, nil, nil
		}
		if len(changes) > 0 {
			return roster.Revision, nil, changes, nil
		}
	}
}

// diff brings the watcher up to the roster. Each incarnation gets one up and
// then one down or left, also when it came back between two looks. All that
// ended comes before all that began, so that a name is never up twice.
func (w *Watcher) diff(roster *proto.Roster) []Change {
	var out []Change
	add := func(k proto.ChangeKind, m *proto.Member) {
		out = append(out, Change{Kind: k, Member: w.svc.member(roster, m)})
	}
	for _, old := range w.ended(roster) {
		delete(w.known, old.Entry.ID)
		if m := roster.Get(old.Entry.ID); m != nil && m.Entry.Incarnation == old.Entry.Incarnation {
			add(goneKind(m), m)
			continue
		}
		end := *old // it came back, or is forgotten already
		end.Status = proto.StatusDown
		add(proto.ChangeDown, &end)
	}
	for _, m := range roster.Members {
		id := m.Entry.ID
		old := w.known[id]
		switch {
		case old == m || !living(m):
			continue
		case old == nil:
			add(proto.ChangeUp, m)
			w.suspect(m, add)
		case m.Status != old.Status && m.Status == proto.StatusSuspect:
			add(proto.ChangeSuspect, m)
		case m.Status != old.Status || m.Entry != old.Entry:
			add(proto.ChangeUpdated, m)
		}
		w.known[id] = m
	}
	return out
}

// ended is who was up in an incarnation that is not up any more, by ID.
func (w *Watcher) ended(roster *proto.Roster) []*proto.Member {
	var list []*proto.Member
	for id, old := range w.known {
		m := roster.Get(id)
		if m == nil || !living(m) || m.Entry.Incarnation != old.Entry.Incarnation {
			list = append(list, old)
		}
	}
	slices.SortFunc(list, func(a, b *proto.Member) int { return a.Entry.ID.Compare(b.Entry.ID) })
	return list
}

func (w *Watcher) suspect(m *proto.Member, add func(proto.ChangeKind, *proto.Member)) {
	if m.Status == proto.StatusSuspect {
		add(proto.ChangeSuspect, m)
	}
}

func goneKind(m *proto.Member) proto.ChangeKind {
	if m.Status == proto.StatusLeft {
		return proto.ChangeLeft
	}
	return proto.ChangeDown
}

// Peers is how an Await ended.
type Peers struct {
	Satisfied     bool
	Alive, Wanted int
	Members       []Member
}

// Await waits until so many members are alive (0: as many as discovery
// expects) and their number has not changed for stableFor, or until timeout.
func (s *Service) Await(ctx context.Context, count int, sel *Selector, stableFor, timeout time.Duration) (Peers, error) {
	w, refused := s.Watch()
	if refused != nil {
		return Peers{}, refused
	}
	defer w.Close()
	end := time.NewTimer(timeout)
	defer end.Stop()
	look := time.NewTimer(0)
	defer look.Stop()
	since, last := time.Now(), -1
	for over := false; ; {
		p, err := s.peers(count, sel)
		if err != nil {
			return Peers{}, err
		}
		if p.Alive != last {
			since, last = time.Now(), p.Alive
		}
		quiet := time.Since(since)
		p.Satisfied = p.Wanted > 0 && p.Alive >= p.Wanted && quiet >= stableFor
		if p.Satisfied || over {
			return p, nil
		}
		next := 200 * time.Millisecond // discovery's expectation changes without a change of members
		if left := stableFor - quiet; left > 0 {
			next = min(next, left)
		}
		look.Reset(next)
		select {
		case <-w.ready:
		case <-look.C:
		case <-end.C:
			over = true
		case <-ctx.Done():
			return Peers{}, context.Cause(ctx)
		}
	}
}

func (s *Service) peers(count int, sel *Selector) (Peers, error) {
	list, snap, err := s.Members(sel, false)
	if err != nil {
		return Peers{}, err
	}
	p := Peers{Wanted: count, Members: list}
	if count == 0 && snap.Known {
		p.Wanted = snap.Expected
	}
	for _, m := range list {
		if m.Status == proto.StatusAlive {
			p.Alive++
		}
	}
	return p, nil
}
