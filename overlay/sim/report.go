package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report counts what happened in a world.
type Report struct {
	Faults, Messages, Ignored, Dials, Downs, Verdicts, Fatals map[string]int

	// Recovered is how long each core took to be one cluster again.
	Recovered []time.Duration

	Lost, Wanted, Calls, Casts, Delivered, Gaps, Changes int
}

// NewReport is an empty one.
func NewReport() Report {
	return Report{
		Faults: map[string]int{}, Messages: map[string]int{}, Ignored: map[string]int{}, Dials: map[string]int{},
		Downs: map[string]int{}, Verdicts: map[string]int{}, Fatals: map[string]int{},
	}
}

// Add adds another world's counts.
func (r *Report) Add(o *Report) {
	for _, pair := range [][2]map[string]int{
		{r.Faults, o.Faults}, {r.Messages, o.Messages}, {r.Ignored, o.Ignored}, {r.Dials, o.Dials},
		{r.Downs, o.Downs}, {r.Verdicts, o.Verdicts}, {r.Fatals, o.Fatals},
	} {
		for k, v := range pair[1] {
			pair[0][k] += v
		}
	}
	r.Recovered = append(r.Recovered, o.Recovered...)
	r.Lost += o.Lost
	r.Wanted += o.Wanted
	r.Calls += o.Calls
	r.Casts += o.Casts
	r.Delivered += o.Delivered
	r.Gaps += o.Gaps
	r.Changes += o.Changes
}

// String is the report for people, in the order of the names.
func (r *Report) String() string {
	var b strings.Builder
	for _, part := range []struct {
		name   string
		counts map[string]int
	}{
		{"faults", r.Faults}, {"messages", r.Messages}, {"ignored", r.Ignored}, {"dials", r.Dials},
		{"links down", r.Downs}, {"verdicts", r.Verdicts}, {"processes ended", r.Fatals},
	} {
		fmt.Fprintf(&b, "%s:\n", part.name)
		for _, k := range slices.Sorted(maps.Keys(part.counts)) {
			fmt.Fprintf(&b, "  %-32s %9d\n", k, part.counts[k])
		}
	}
	if all := slices.Sorted(slices.Values(r.Recovered)); len(all) > 0 {
		fmt.Fprintf(&b, "recovered: half within %v, all within %v\n", all[len(all)/2], all[len(all)-1])
	}
	fmt.Fprintf(&b, "frames lost %d, contacts wanted %d, calls %d, broadcasts %d delivered %d, gaps %d, member changes %d\n",
		r.Lost, r.Wanted, r.Calls, r.Casts, r.Delivered, r.Gaps, r.Changes)
	return b.String()
}
