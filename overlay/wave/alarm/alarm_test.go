package alarm

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A queue does what a list would that is sorted each time.
func TestAlarmsComeInTheOrderOfTheirDeadlines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q Queue[int]
		start := time.Unix(0, 0)
		at := make([]time.Time, 20) // zero: not armed
		alarms := make([]Alarm[int], len(at))
		for i := range alarms {
			alarms[i].Of = i
		}
		first := func() (found time.Time) {
			for _, x := range at {
				if !x.IsZero() && (found.IsZero() || x.Before(found)) {
					found = x
				}
			}
			return found
		}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			i := rapid.IntRange(0, len(at)-1).Draw(t, "alarm")
			when := start.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "when")) * time.Second)
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				q.Set(&alarms[i], time.Time{})
				at[i] = time.Time{}
			case 1:
				a := q.Due(when)
				due := !first().IsZero() && !first().After(when)
				if (a != nil) != due || a != nil && !at[a.Of].Equal(first()) {
					t.Fatalf("due at %v: %v, the first is at %v", when, a, first())
				}
				if a != nil {
					at[a.Of] = time.Time{}
				}
			default:
				q.Set(&alarms[i], when)
				at[i] = when
			}
			armed := len(slices.DeleteFunc(slices.Clone(at), time.Time.IsZero))
			if !q.First().Equal(first()) || q.Len() != armed {
				t.Fatalf("the first of %d is at %v, want %v of %d", q.Len(), q.First(), first(), armed)
			}
		}
	})
}
