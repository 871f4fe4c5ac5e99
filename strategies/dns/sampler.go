package dns

import "slices"

// sampler tells from the answers whether they are samples of something larger.
// A cloud's service map, for one, answers with 8 of N, others each time.
//
// One answer that has as many members as the one before, but others for more
// than a quarter, is taken for a sample for once: a rolling update that looks
// like this is late by a round. A member that was missing and came back while the
// size stayed the same is hardly anything else, and is remembered.
type sampler struct {
	before []string       // the last answer
	gone   map[string]int // missing members: for how many rounds
	sticky int            // rounds for which answers are samples
}

const (
	goneMax       = 10 // rounds for which a missing member is remembered
	goneKeys      = 4096
	sampledRounds = 20 // after the last sign of sampling
)

// see takes an answer's members and reports whether they are a sample.
func (s *sampler) see(keys []string) bool {
	if s.gone == nil {
		s.gone = map[string]int{}
	}
	before := s.before
	s.before = slices.Sorted(slices.Values(keys))
	for k, rounds := range s.gone {
		if s.gone[k] = rounds + 1; rounds >= goneMax {
			delete(s.gone, k)
		}
	}
	dropped, back := 0, 0
	for _, k := range before {
		if _, still := slices.BinarySearch(s.before, k); !still {
			dropped++
			if len(s.gone) < goneKeys {
				s.gone[k] = 0
			}
		}
	}
	for _, k := range keys {
		if _, was := s.gone[k]; was {
			back++
			delete(s.gone, k)
		}
	}
	sameSize := len(before) == len(keys)
	s.sticky = max(s.sticky-1, 0)
	if sameSize && dropped > 0 && back > 0 {
		s.sticky = sampledRounds
	}
	return s.sticky > 0 || sameSize && 4*dropped > len(keys)
}
