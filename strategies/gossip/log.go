package gossip

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// warnGap is the least time between two lines that the library's errors make: a
// stranger can cause one with each packet.
const warnGap = time.Minute

// listener takes the lines that serf and memberlist log. It passes on what an
// operator should see now and then, and counts the rest. It is a [slog.Handler]
// because that is how a *log.Logger is made.
type listener struct {
	log *slog.Logger

	mu     sync.Mutex // guards the rest
	warned time.Time
	held   int // errors since then that were not logged
	counts map[string]uint64
}

func newListener(log *slog.Logger) *listener {
	return &listener{log: log, counts: map[string]uint64{}}
}

// What is counted.
const (
	countForeign = "foreign_label"
	countSealed  = "undecryptable"
	countErrors  = "library_errors"
	countJoins   = "joins"
	countNoJoins = "failed_joins"
)

var countNames = []string{countForeign, countSealed, countErrors, countJoins, countNoJoins}

func (l *listener) count(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[what]++
}

// counters has all names, also those at zero.
func (l *listener) counters() map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make(map[string]uint64, len(countNames))
	for _, name := range countNames {
		all[name] = l.counts[name]
	}
	return all
}

// Enabled says yes: errors are counted whether they are logged or not.
func (*listener) Enabled(context.Context, slog.Level) bool { return true }

// Handle takes a line such as "[ERR] memberlist: Decrypt packet failed: …".
func (l *listener) Handle(ctx context.Context, r slog.Record) error {
	level, text, tagged := strings.Cut(strings.TrimPrefix(r.Message, "["), "] ")
	if !tagged {
		text = r.Message
	}
	if level != "ERR" {
		l.log.DebugContext(ctx, "gossip library", "why", text)
		return nil
	}
	what := countErrors
	switch {
	case strings.Contains(text, "unacceptable label"):
		what = countForeign
	case strings.Contains(text, "decrypt"), strings.Contains(text, "Decrypt"), strings.Contains(text, "not encrypted"):
		what = countSealed
	}
	l.mu.Lock()
	l.counts[what]++
	quiet := r.Time.Sub(l.warned) < warnGap
	held := l.held
	if quiet {
		l.held++
	} else {
		l.warned, l.held = r.Time, 0
	}
	l.mu.Unlock()
	if quiet {
		l.log.DebugContext(ctx, "gossip library", "why", text)
		return nil
	}
	l.log.WarnContext(ctx, "gossip is in trouble, or somebody else's arrives here", "why", text, "not_logged_since_last", held)
	return nil
}

// WithAttrs changes nothing: lines of the library have none.
func (l *listener) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup changes nothing.
func (l *listener) WithGroup(string) slog.Handler { return l }
