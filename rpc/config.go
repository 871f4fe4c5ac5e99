package rpc

import (
	"errors"
	"fmt"
	"time"

	"github.com/starlingmesh/starling/overlay/proto"
)

// Config bounds what local applications may cost, and tells what this node says
// of itself. Start from Defaults.
type Config struct {
	// Version of the sidecar, for people.
	Version string
	// Zone and Tags are what the node says of itself, sorted by key.
	Zone string
	Tags []proto.Tag

	// MessageMax is the largest payload, in bytes. Too small: applications must
	// split. Too large: a few messages fill the queues. All nodes should agree.
	MessageMax int
	// CallsMax is how many calls may be open in all, AppCallsMax in one
	// session. Each costs a record per target.
	CallsMax, AppCallsMax int
	// CastsPerSecond limits casts and unconfirmed abcasts; a burst may take one
	// second's worth. Too high: one application floods the cluster.
	CastsPerSecond int
	// AppsMax is how many applications may be attached.
	AppsMax int
	// HandlersMax is the largest number of requests that one application may
	// have open; an application asks for less by its credit.
	HandlersMax int
	// QueueBytes bounds the requests that one application holds: those waiting
	// and those it works on. Beyond it callers are told `overloaded`.
	QueueBytes int
	// EventBytes bounds the topics' messages that wait for one application, and
	// again those it has not acknowledged. Beyond it they are dropped, and it is
	// told by a gap.
	EventBytes int
	// AnswerBytes bounds the replies gathered for one call; what comes beyond it
	// is `result_lost`. It also bounds the answers that wait for one application
	// to read them; beyond it the application is disconnected.
	AnswerBytes int

	// Expected tells how many members discovery sees, if it has said. May be nil.
	Expected func() (members int, known bool)
}

// Defaults are bounds for an ordinary node.
func Defaults() Config {
	return Config{
		MessageMax: proto.MaxPayload, CallsMax: 1024, AppCallsMax: 512, CastsPerSecond: 20_000, AppsMax: 256,
		HandlersMax: 1024, QueueBytes: 32 << 20, EventBytes: 8 << 20, AnswerBytes: 64 << 20,
	}
}

// Check tells what is wrong with the configuration.
func (c *Config) Check() error {
	var errs []error
	for _, f := range []struct {
		name     string
		v, least int
	}{
		{"message_max", c.MessageMax, 1024}, {"calls_max", c.CallsMax, 1}, {"app_calls_max", c.AppCallsMax, 1},
		{"casts_per_second", c.CastsPerSecond, 1}, {"applications_max", c.AppsMax, 1}, {"handlers_max", c.HandlersMax, 1},
		{"queue_bytes", c.QueueBytes, c.MessageMax}, {"event_bytes", c.EventBytes, 1024}, {"answer_bytes", c.AnswerBytes, c.MessageMax},
	} {
		if f.v < f.least {
			errs = append(errs, fmt.Errorf("%s is %d: want at least %d", f.name, f.v, f.least))
		}
	}
	if c.MessageMax > proto.MaxPayload {
		errs = append(errs, fmt.Errorf("message_max is %d: frames between nodes carry at most %d", c.MessageMax, proto.MaxPayload))
	}
	return errors.Join(errs...)
}

const (
	// DefaultTimeout is what a call has if nobody says.
	DefaultTimeout = 5 * time.Second
	// MaxTimeout is the most that may be said.
	MaxTimeout = 10 * time.Minute

	namesMax    = 1024 // methods, topics or groups of one application
	tasksMax    = 8192 // requests that one application holds, waiting and open
	watchersMax = 1024
	itemBytes   = 64 // what a queued item costs beside its payload
)

// margin is how long before the caller's deadline the call ends, so that the
// answer with all its verdicts is there in time.
func margin(timeout time.Duration) time.Duration {
	return min(max(timeout/10, 10*time.Millisecond), 250*time.Millisecond, timeout/2)
}
