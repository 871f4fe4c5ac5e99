package kubernetes

import (
	"context"
	"time"

	"github.com/starlingmesh/starling/discovery"
)

// teller reports what a watcher sees. Who came or changed is told at once, as a
// delta; who went is told with the whole picture, once things have settled: then
// the manager can be suspicious of a picture from which too many have vanished.
type teller struct {
	k     *Kubernetes
	w     *watcher
	sink  discovery.Sink
	among *among // whom to tell besides; may be nil

	told     map[string]struct{} // keys the sink knows
	complete bool                // it has had a whole picture
	began    time.Time

	// When something is to be told; zero: never.
	changesAt time.Time
	wholeAt   time.Time
	owedSince time.Time // since when a whole picture is owed
}

func (t *teller) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if at := soonest(t.changesAt, t.wholeAt); !at.IsZero() {
			timer.Reset(time.Until(at))
		}
		select {
		case <-ctx.Done():
			return
		case <-t.k.ask:
			t.wholeAt = time.Now()
		case <-t.w.news:
			t.note(time.Now())
		case <-timer.C:
		}
		now := time.Now()
		if due(t.changesAt, now) {
			t.changes(now)
		}
		if due(t.wholeAt, now) {
			t.whole()
		}
	}
}

// note decides when the news are told.
func (t *teller) note(now time.Time) {
	st := t.w.look()
	if st.failed != nil {
		t.fail(st, now)
	}
	switch {
	case st.synced && st.trouble == nil && !t.complete:
		t.wholeAt = now
	case st.synced && st.trouble == nil && st.full:
		t.wholeAt = soonest(t.wholeAt, now.Add(gather))
	}
	if st.changed {
		at := now.Add(gather)
		if first := t.began.Add(firstWait); !t.complete && at.Before(first) {
			at = first
		}
		t.changesAt = soonest(t.changesAt, at)
	}
}

func due(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

func soonest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// fail tells of a failure, and before it of what there is.
func (t *teller) fail(st state, now time.Time) {
	if !t.complete && st.changed {
		t.changes(now)
	}
	err := t.k.explained(st.failed, t.w)
	t.among.stale(err)
	t.sink.Fail(err)
}

// changes tells who came and who changed.
func (t *teller) changes(now time.Time) {
	t.changesAt = time.Time{}
	if t.owedSince.IsZero() {
		t.owedSince = now
	}
	// It is put off while more comes, but not for ever.
	t.wholeAt = now.Add(settle)
	if most := t.owedSince.Add(settleMost); most.Before(t.wholeAt) {
		t.wholeAt = most
	}
	upserts, trouble := t.upserts()
	switch {
	case len(upserts) == 0:
		return
	case t.complete:
		t.among.changed(t.w, upserts)
		t.sink.Observe(discovery.Delta{Upserts: upserts})
	default:
		t.sink.Observe(discovery.Partial{Candidates: upserts})
	}
	if trouble != nil {
		t.sink.Fail(classify(trouble)) // the rest is still unknown
	}
}

// upserts are the candidates that changed.
func (t *teller) upserts() (list []discovery.Candidate, trouble error) {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	mine, grouped := t.w.pic.ownRevision()
	for key := range t.w.pic.changed {
		c, why, ok := t.w.pic.candidate(key)
		_, known := t.told[key]
		if !ok || grouped && otherRevision(&c, mine) != "" {
			continue
		}
		// Who is no longer offered because it terminates is told so: it gets no
		// contacts from now on, and not only once the grace is over.
		if why == "" || known && c.Terminating == discovery.Yes && len(c.Addrs) > 0 {
			list = append(list, c)
			t.told[key] = struct{}{}
		}
	}
	clear(t.w.pic.changed)
	return list, t.w.trouble()
}

// whole tells the whole picture, if all of it is known and watched.
func (t *teller) whole() {
	t.wholeAt = time.Time{}
	cands, skipped, ok := t.w.all()
	if !ok {
		return
	}
	t.changesAt, t.owedSince, t.complete = time.Time{}, time.Time{}, true
	clear(t.told)
	for i := range cands {
		t.told[cands[i].Key] = struct{}{}
	}
	t.among.saw(t.w, cands)
	t.sink.Observe(discovery.Complete{Candidates: cands, Skipped: skipped})
}
