package kubernetes

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/starlingmesh/starling/discovery"
)

// teller reports what a watcher sees. Who came or changed is told at once, as a
// delta; who went is told with the whole picture, once things have settled: then
// the manager can be suspicious of a picture from which too many have vanished.
type teller struct {
	k    *Kubernetes
	w    *watcher
	sink discovery.Sink

	told      map[string]struct{} // keys the sink knows
	complete  bool                // it has had a whole picture
	began     time.Time
	unsettled time.Time // since when a whole picture is owed; zero: it is not
}

func (t *teller) run(ctx context.Context) {
	soon, later := time.NewTimer(firstWait), time.NewTimer(time.Hour)
	defer soon.Stop()
	defer later.Stop()
	waiting := true // soon is armed
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.k.ask:
			t.whole(false)
		case <-t.w.news:
			st := t.w.look()
			if st.failed != nil {
				t.fail(st)
			}
			switch {
			case !t.complete && st.synced && st.trouble == nil:
				t.whole(false)
				soon.Reset(gather) // what comes now need not wait for firstWait
			case (st.changed || st.full) && !waiting && (t.complete || time.Since(t.began) > firstWait):
				soon.Reset(gather)
				waiting = true
			}
		case <-soon.C:
			waiting = false
			t.changes()
			if !t.unsettled.IsZero() {
				later.Reset(min(settle, time.Until(t.unsettled.Add(settleMost))))
			}
		case <-later.C:
			t.whole(true)
		}
	}
}

// fail tells of a failure, and before it of what there is.
func (t *teller) fail(st state) {
	if !t.complete && st.changed {
		t.changes()
	}
	err := st.failed
	if apierrors.IsForbidden(err) {
		var namespaces []string
		for i := range t.w.scopes {
			namespaces = append(namespaces, t.w.scopes[i].namespace)
		}
		t.sink.Fail(t.k.forbidden(err, namespaces))
		return
	}
	t.sink.Fail(classify(err))
}

// changes tells who came and who changed.
func (t *teller) changes() {
	t.w.mu.Lock()
	if t.w.full && t.complete {
		t.w.mu.Unlock()
		t.whole(false)
		return
	}
	var upserts []discovery.Candidate
	mine, grouped := t.w.pic.ownRevision()
	for key := range t.w.pic.changed {
		t.settleLater()
		c, why, ok := t.w.pic.candidate(key)
		_, known := t.told[key]
		if !ok || grouped && otherRevision(&c, mine) != "" {
			continue
		}
		// Who is no longer offered because it terminates is told so: it gets no
		// contacts from now on, and not only once the grace is over.
		if why == "" || known && c.Terminating == discovery.Yes && len(c.Addrs) > 0 {
			upserts = append(upserts, c)
			t.told[key] = struct{}{}
		}
	}
	clear(t.w.pic.changed)
	trouble := t.trouble()
	t.w.mu.Unlock()
	switch {
	case len(upserts) == 0:
		return
	case t.complete:
		t.sink.Observe(discovery.Delta{Upserts: upserts})
	default:
		t.sink.Observe(discovery.Partial{Candidates: upserts})
	}
	if trouble != nil {
		t.sink.Fail(classify(trouble)) // the rest is still unknown
	}
}

// trouble needs the watcher's mu.
func (t *teller) trouble() error {
	for i := range t.w.scopes {
		if s := &t.w.scopes[i]; s.trouble != nil {
			return s.trouble
		}
	}
	return nil
}

func (t *teller) settleLater() {
	if t.unsettled.IsZero() {
		t.unsettled = time.Now()
	}
}

// whole tells the whole picture, if all of it is known and watched.
func (t *teller) whole(owed bool) {
	if owed && t.unsettled.IsZero() {
		return
	}
	t.w.mu.Lock()
	for i := range t.w.scopes {
		if s := &t.w.scopes[i]; !s.synced || s.trouble != nil {
			t.w.mu.Unlock()
			return
		}
	}
	cands, skipped := t.w.pic.all()
	clear(t.w.pic.changed)
	t.w.full = false
	t.w.mu.Unlock()
	t.unsettled, t.complete = time.Time{}, true
	clear(t.told)
	for i := range cands {
		t.told[cands[i].Key] = struct{}{}
	}
	t.sink.Observe(discovery.Complete{Candidates: cands, Skipped: skipped})
}
