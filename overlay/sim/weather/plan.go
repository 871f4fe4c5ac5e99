package weather

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Plan says which world is played: all that a seed draws, or less.
type Plan struct {
	Seed  uint64
	Nodes int // 0: as drawn
	// Only are the numbers of the strikes that happen, from 0 in the order of time; nil: all do.
	Only []int
	// Safety lets the storm go on to the end. Without it, it ends in the middle, and who can must recover.
	Safety bool
}

// String is the plan as flags of the swarm's test.
func (p Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "-seed %d", p.Seed)
	if p.Nodes > 0 {
		fmt.Fprintf(&b, " -nodes %d", p.Nodes)
	}
	if p.Safety {
		b.WriteString(" -safety")
	}
	if p.Only != nil {
		words := []string{}
		for _, n := range p.Only {
			words = append(words, strconv.Itoa(n))
		}
		if len(words) == 0 {
			words = append(words, "none")
		}
		fmt.Fprintf(&b, " -only %s", strings.Join(words, ","))
	}
	return b.String()
}

// ParseOnly reads numbers with commas between them, as String writes them: empty is nil, "none" no strike at all.
func ParseOnly(text string) ([]int, error) {
	switch text {
	case "":
		return nil, nil
	case "none":
		return []int{}, nil
	}
	var only []int
	for word := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(word)
		if err != nil {
			return nil, fmt.Errorf("the numbers of strikes %q: %w", text, err)
		}
		only = append(only, n)
	}
	return only, nil
}

// Shrink makes a plan that fails smaller, in at most so many plays: fewer nodes, then fewer strikes (Zeller's delta
// debugging). fails tells whether a plan still fails in the way that matters, and which strikes it had.
func Shrink(p Plan, nodes, plays int, fails func(Plan) (bool, []int)) Plan {
	try := func(q Plan) (bool, []int) {
		if plays--; plays < 0 {
			return false, nil
		}
		return fails(q)
	}
	bad, strikes := try(p)
	if !bad {
		return p
	}
	for _, n := range []int{3, 4, 6, 8, 12, 16, 24, 32, 48, 64} {
		q := Plan{Seed: p.Seed, Nodes: n, Safety: p.Safety}
		if n >= nodes {
			break
		}
		if bad, all := try(q); bad {
			p, strikes = q, all
			break
		}
	}
	keep := slices.Clone(strikes)
	for pieces := 2; len(keep) > 0 && plays > 0; {
		size := (len(keep) + pieces - 1) / pieces
		less := false
		for from := 0; from < len(keep); from += size {
			q := p
			q.Only = slices.Concat(keep[:from:from], keep[min(len(keep), from+size):])
			if q.Only == nil {
				q.Only = []int{}
			}
			if bad, _ := try(q); bad {
				p, keep, less = q, q.Only, true
				pieces = max(2, pieces-1)
				break
			}
		}
		if !less {
			if size == 1 {
				break
			}
			pieces = min(2*pieces, len(keep))
		}
	}
	return p
}
