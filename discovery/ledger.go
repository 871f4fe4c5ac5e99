package discovery

import (
	"fmt"
	"slices"
	"time"
)

const (
	// confirmations is how often a suspicious answer must be repeated.
	confirmations = 3
	// suspectFrom is from how many living peers on a source may be suspected of
	// having lost half of them.
	suspectFrom = 4
	// selfMissingAfter is how long a complete answer may lack this node.
	selfMissingAfter = time.Minute
	skippedMax       = 64
)

// ledger is who vouched for what, and what the overlay says to it. It is a pure
// state machine: time is an argument, nothing blocks, nothing is random.
// Its owner guards it.
type ledger struct {
	cfg      Config
	books    []*book
	records  map[string]*record              // by candidate key
	byAddr   map[string]map[*record]struct{} // where a record's addresses lead to it
	nodes    map[string][]string             // living nodes: addresses they advertise
	living   map[string][]string             // address: living nodes that advertise it
	hints    map[string]hint                 // address: who answered there
	isolated bool
}

// book is what the ledger keeps on one source.
type book struct {
	name         string
	removal      Removal
	selfOptional bool
	cache        bool // what it says is a hint from the past, nobody's word

	failing     time.Time // since when it fails, zero while it does not
	doubt       doubt
	selfMissing time.Time // since when its complete answers lack us

	health Health // counters and latest events; the rest is filled on inspection
}

// record is one candidate.
type record struct {
	key   string
	hash  uint64  // its place in our own order
	words []*word // at most one a source, in the order of the sources

	// former are addresses that no source names any longer under this key while
	// a living member advertises them: a name that moved on does not cost us
	// the peer that had it.
	former []string

	tried     time.Time     // the last dial
	wait      time.Duration // the present backoff
	notBefore time.Time
	dialErr   string

	end     ending
	endAt   time.Time
	endNode string
}

// ending is the last bad news the overlay had of a record.
type ending uint8

const (
	notEnded ending = iota
	wentDown
	wentAway // by its own word
)

// word is what one source says about one candidate.
type word struct {
	src       int
	cand      Candidate
	since     time.Time // of the present stretch of vouching
	last      time.Time
	withdrawn time.Time // zero while it vouches
}

func newLedger(cfg Config, sources []Source) *ledger {
	l := &ledger{
		cfg:     cfg,
		records: map[string]*record{},
		byAddr:  map[string]map[*record]struct{}{},
		nodes:   map[string][]string{},
		living:  map[string][]string{},
		hints:   map[string]hint{},
	}
	for _, s := range sources {
		removal := s.Removal
		if removal == "" {
			removal = RemoveTwoSignal
		}
		l.books = append(l.books, &book{name: s.Name, removal: removal, selfOptional: s.SelfOptional})
	}
	l.books = append(l.books, &book{name: cacheSource, removal: RemoveTwoSignal, cache: true})
	return l
}

// observe takes an observation of source src.
func (l *ledger) observe(now time.Time, src int, o Observation) {
	b := l.books[src]
	l.recovered(now, src)
	b.health.LastSuccess = now
	b.health.Observations++
	switch o := o.(type) {
	case Complete:
		seen := l.upsert(now, src, o.Candidates, o.Skipped)
		l.withdrawMissing(now, src, seen)
		l.lookForSelf(now, b, seen)
	case Partial:
		l.upsert(now, src, o.Candidates, o.Skipped)
	case Delta:
		l.upsert(now, src, o.Upserts, nil)
		for _, key := range o.Withdrawn {
			if r := l.records[key]; r != nil {
				l.withdraw(now, r.word(src))
			}
		}
	default:
		panic(fmt.Sprintf("discovery: observation %T", o))
	}
	if !b.cache {
		l.ageCache(now)
	}
}

// fail notes that source src cannot be asked. Nothing is withdrawn: neither by
// an expiry while it lasts, nor by doubts that began before.
func (l *ledger) fail(now time.Time, src int, err error) {
	b := l.books[src]
	if b.failing.IsZero() {
		b.failing = now
	}
	b.doubt = doubt{}
	b.health.LastError, b.health.LastErrorAt, b.health.LastClass = err.Error(), now, ClassOf(err)
	b.health.failures[ClassOf(err)]++
}

// recovered ends a failure: the time it took does not count for expiries.
func (l *ledger) recovered(now time.Time, src int) {
	b := l.books[src]
	if b.failing.IsZero() {
		return
	}
	outage := now.Sub(b.failing)
	b.failing = time.Time{}
	for _, r := range l.records {
		if w := r.word(src); w != nil && !w.cand.Expires.IsZero() {
			w.cand.Expires = w.cand.Expires.Add(outage)
		}
	}
}

// upsert writes down what source src vouches for and returns the keys.
func (l *ledger) upsert(now time.Time, src int, cands []Candidate, skipped []Skipped) map[string]*record {
	seen := map[string]*record{}
	skipped = slices.Clone(skipped[:min(len(skipped), skippedMax)])
	skip := func(c Candidate, why string) {
		l.books[src].health.Rejected++
		if len(skipped) < skippedMax {
			skipped = append(skipped, Skipped{What: c.Key, Why: why})
		}
	}
	for _, c := range cands {
		c, err := c.normal()
		if err != nil {
			skip(c, err.Error())
			continue
		}
		r := l.records[c.Key]
		if r == nil && len(l.records) >= l.cfg.CandidatesMax {
			skip(c, fmt.Sprintf("more than %d candidates (candidates_max)", l.cfg.CandidatesMax))
			continue
		}
		if r == nil {
			r = &record{key: c.Key, hash: mix(l.cfg.Self, c.Key)}
			l.records[c.Key] = r
		}
		l.vouch(now, src, r, c)
		seen[c.Key] = r
	}
	l.books[src].health.Skipped = skipped
	return seen
}

func (l *ledger) vouch(now time.Time, src int, r *record, c Candidate) {
	w := r.word(src)
	if w == nil {
		w = &word{src: src, since: now}
		at, _ := slices.BinarySearchFunc(r.words, src, func(w *word, src int) int { return w.src - src })
		r.words = slices.Insert(r.words, at, w)
	}
	if !w.withdrawn.IsZero() {
		w.withdrawn, w.since = time.Time{}, now
	}
	before := r.addrs()
	w.cand, w.last = c, now
	l.readdress(r, before)
}

// readdress brings the index up to date after r's addresses changed.
func (l *ledger) readdress(r *record, before []string) {
	after := r.addrs()
	if slices.Equal(before, after) {
		return
	}
	for _, a := range before {
		if slices.Contains(after, a) {
			continue
		}
		if len(l.living[a]) > 0 && len(r.former) < addrsMax && !slices.Contains(r.former, a) {
			r.former = append(r.former, a)
			continue
		}
		l.unindex(a, r)
	}
	if !slices.ContainsFunc(after, func(a string) bool { return slices.Contains(before, a) }) {
		// Another address altogether: what we know is about somebody else. A
		// StatefulSet's pod comes back like this and is welcome at once.
		r.tried, r.wait, r.notBefore, r.dialErr, r.end = time.Time{}, 0, time.Time{}, "", notEnded
	}
	for _, a := range after {
		if l.byAddr[a] == nil {
			l.byAddr[a] = map[*record]struct{}{}
		}
		l.byAddr[a][r] = struct{}{}
	}
	r.former = slices.DeleteFunc(r.former, func(a string) bool { return slices.Contains(after, a) })
}

func (l *ledger) unindex(addr string, r *record) {
	delete(l.byAddr[addr], r)
	if len(l.byAddr[addr]) == 0 {
		delete(l.byAddr, addr)
	}
}

// withdrawMissing takes a complete answer at its word, or doubts it.
func (l *ledger) withdrawMissing(now time.Time, src int, seen map[string]*record) {
	b := l.books[src]
	var missing []*word
	var alive, aliveMissing int
	for _, r := range l.records {
		w := r.word(src)
		if w == nil || !w.withdrawn.IsZero() {
			continue
		}
		lives := l.alive(r, now)
		if lives {
			alive++
		}
		if seen[r.key] != nil {
			continue
		}
		missing = append(missing, w)
		if lives {
			aliveMissing++
		}
	}
	at := now
	switch {
	case len(missing) == 0:
		b.doubt = doubt{}
		return
	case len(seen) == 0:
		b.doubt.why = "empty answer after a non-empty one"
	case alive >= suspectFrom && 2*aliveMissing > alive:
		b.doubt.why = fmt.Sprintf("%d of %d living peers are missing from the answer", aliveMissing, alive)
	default:
		b.doubt = doubt{}
	}
	if b.doubt.why != "" {
		b.doubt.held = len(missing)
		if !b.doubt.confirm(now, l.cfg.Grace) {
			return
		}
		at = b.doubt.since // the grace has passed already
		b.doubt = doubt{}
	}
	for _, w := range missing {
		l.withdraw(at, w)
	}
}

func (l *ledger) withdraw(at time.Time, w *word) {
	if w != nil && w.withdrawn.IsZero() && l.books[w.src].removal != RemoveNever {
		w.withdrawn = at
	}
}

// doubt is a suspicious answer that waits to be confirmed.
type doubt struct {
	why       string // empty is no doubt
	held      int    // withdrawals held back
	since     time.Time
	last      time.Time
	confirmed int
	askAt     time.Time
}

// confirm counts one more such answer and reports whether it is to be believed.
// Answers in a quick row are one.
func (d *doubt) confirm(now time.Time, grace time.Duration) bool {
	if d.since.IsZero() {
		d.since, d.last, d.askAt = now, now, now.Add(grace/(confirmations+1))
		return false
	}
	if now.Sub(d.last) >= grace/(2*confirmations) {
		d.confirmed++
		d.last = now
	}
	return d.confirmed >= confirmations && now.Sub(d.since) >= grace
}

// lookForSelf notes whether a complete answer of b has this node in it.
func (l *ledger) lookForSelf(now time.Time, b *book, seen map[string]*record) {
	for _, r := range seen {
		if l.isSelf(r, now) {
			b.selfMissing = time.Time{}
			return
		}
	}
	if b.selfMissing.IsZero() && !b.selfOptional {
		b.selfMissing = now
	}
}

func (b *book) selfAlarm(now time.Time) bool {
	return !b.selfMissing.IsZero() && b.failing.IsZero() && now.Sub(b.selfMissing) >= selfMissingAfter
}

// word returns what source src says about r, or nil.
func (r *record) word(src int) *word {
	for _, w := range r.words {
		if w.src == src {
			return w
		}
	}
	return nil
}

// addrs returns all addresses of r, those that are vouched for first; not to be changed.
func (r *record) addrs() []string {
	if len(r.words) == 1 { // as mostly, and this is asked often
		return r.words[0].cand.Addrs
	}
	var addrs []string
	for _, vouched := range []bool{true, false} {
		for _, w := range r.words {
			if w.withdrawn.IsZero() != vouched {
				continue
			}
			for _, a := range w.cand.Addrs {
				if !slices.Contains(addrs, a) {
					addrs = append(addrs, a)
				}
			}
		}
	}
	return addrs
}

// newest returns the candidate in the words of its best source.
func (r *record) newest() Candidate {
	best := r.words[0]
	for _, w := range r.words[1:] {
		if !best.withdrawn.IsZero() && w.withdrawn.IsZero() {
			best = w
		}
	}
	return best.cand
}
