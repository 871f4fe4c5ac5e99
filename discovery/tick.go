package discovery

import (
	"slices"
	"time"
)

// tick does what time alone brings: expiries, forgetting, refreshes that a doubt
// wants. It returns the sources to ask again.
func (l *ledger) tick(now time.Time) (ask []int) {
	for key, r := range l.records {
		for _, w := range r.words {
			if l.expired(w, now) {
				// The grace runs from when we notice: after a long pause of this
				// process everything is late, and nobody has gone.
				l.withdraw(now, w)
			}
		}
		r.former = slices.DeleteFunc(r.former, func(a string) bool {
			if len(l.living[a]) > 0 {
				return false
			}
			l.unindex(a, r)
			return true
		})
		if l.forgettable(r, now) {
			for _, a := range slices.Concat(r.addrs(), r.former) {
				l.unindex(a, r)
			}
			delete(l.records, key)
		}
	}
	for a, h := range l.hints {
		if !h.fresh(now) {
			delete(l.hints, a)
		}
	}
	for i, b := range l.books {
		if b.doubt.why != "" && !now.Before(b.doubt.askAt) {
			b.doubt.askAt = now.Add(l.cfg.Grace / (confirmations + 1))
			ask = append(ask, i)
		}
	}
	return ask
}

func (l *ledger) expired(w *word, now time.Time) bool {
	return w.withdrawn.IsZero() && !w.cand.Expires.IsZero() &&
		!now.Before(w.cand.Expires) && l.books[w.src].failing.IsZero()
}

// forgettable is the rule of two signals.
func (l *ledger) forgettable(r *record, now time.Time) bool {
	overlayHasASay := false
	for _, w := range r.words {
		if w.withdrawn.IsZero() || now.Sub(w.withdrawn) < l.cfg.Grace {
			return false
		}
		if l.books[w.src].removal != RemoveSource {
			overlayHasASay = true
		}
	}
	return !overlayHasASay || !l.alive(r, now) && len(r.former) == 0
}

// deadline is when tick will next have something to do; zero is never.
func (l *ledger) deadline(now time.Time) time.Time {
	var next time.Time
	sooner := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, r := range l.records {
		for _, w := range r.words {
			switch {
			case !w.withdrawn.IsZero():
				sooner(w.withdrawn.Add(l.cfg.Grace))
			case !w.cand.Expires.IsZero() && l.books[w.src].failing.IsZero():
				sooner(w.cand.Expires)
			}
		}
		if r.end == wentAway {
			sooner(r.endAt.Add(leftHold))
		}
	}
	for _, b := range l.books {
		if b.doubt.why != "" {
			sooner(b.doubt.askAt)
		}
		if !b.selfMissing.IsZero() {
			sooner(b.selfMissing.Add(selfMissingAfter))
		}
	}
	return next
}

// ageCache starts the clock of what was read from disk: once a source has
// answered, the past is worth a few minutes more.
func (l *ledger) ageCache(now time.Time) {
	src := len(l.books) - 1
	for _, r := range l.records {
		if w := r.word(src); w != nil && w.cand.Expires.IsZero() && w.withdrawn.IsZero() {
			w.cand.Expires = now.Add(cacheKeep)
		}
	}
}
