package discovery

import (
	"context"
	"sync"
)

// Found is what one look through a strategy showed.
type Found struct {
	Kind       string      `json:"kind"` // complete, partial or delta
	Candidates []Candidate `json:"candidates"`
	Skipped    []Skipped   `json:"skipped,omitempty"` // seen, not offered, and why
}

// Look runs a strategy until its first report and returns what it found. With
// both a result and an error, the result is a part. It returns when the strategy
// has stopped; ctx bounds how long that may take.
func Look(ctx context.Context, s Strategy) (Found, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &looker{done: cancel}
	err := s.Run(ctx, l)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err != nil:
		return l.found, l.err
	case l.found.Kind != "":
		return l.found, nil
	case err != nil:
		return l.found, err
	default:
		return l.found, Classed(Timeout, "the strategy reported nothing before it was stopped: %w", context.Cause(ctx))
	}
}

type looker struct {
	done func()

	mu    sync.Mutex // guards the rest
	found Found
	err   error
}

func (l *looker) Fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	l.done()
}

func (l *looker) Observe(o Observation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.done()
	if l.found.Kind != "" {
		return
	}
	var cands []Candidate
	switch o := o.(type) {
	case Complete:
		l.found.Kind, cands, l.found.Skipped = "complete", o.Candidates, o.Skipped
	case Partial:
		l.found.Kind, cands, l.found.Skipped = "partial", o.Candidates, o.Skipped
	case Delta:
		l.found.Kind, cands = "delta", o.Upserts
	default:
		panic("discovery: unknown observation")
	}
	for _, c := range cands {
		if good, err := c.normal(); err != nil {
			l.found.Skipped = append(l.found.Skipped, Skipped{What: c.Key, Why: err.Error()})
		} else {
			l.found.Candidates = append(l.found.Candidates, good)
		}
	}
}
