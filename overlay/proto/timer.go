package proto

import "time"

// A timer of a machine is a field that holds when it is due; zero is never.

// Due tells whether a timer has come.
func Due(now, at time.Time) bool { return !at.IsZero() && !now.Before(at) }

// Sooner is the first of the timers that is set, or zero if none is.
func Sooner(timers ...time.Time) time.Time {
	var first time.Time
	for _, at := range timers {
		if !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}
