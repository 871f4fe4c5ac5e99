package wave

import "iter"

// roll keeps things in the order they came. What is over stays until it is
// half of the roll and is swept out then: leaving costs nothing, and nothing
// moves under whoever ranges.
type roll[T any] struct {
	over func(T) bool
	list []T
	left int // how many of list are over
}

func (r *roll[T]) add(x T) { r.list = append(r.list, x) }

// sweepMin is how many are over at the least before they are swept out.
const sweepMin = 16

// len is how many are not over.
func (r *roll[T]) len() int { return len(r.list) - r.left }

// leave counts one that is over now.
func (r *roll[T]) leave() {
	if r.left++; r.left < sweepMin || 2*r.left < len(r.list) {
		return
	}
	rest := make([]T, 0, r.len()+sweepMin)
	for _, x := range r.list {
		if !r.over(x) {
			rest = append(rest, x)
		}
	}
	r.list, r.left = rest, 0
}

// all ranges over what is in the roll now and not over when its turn comes.
func (r *roll[T]) all() iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, x := range r.list {
			if !r.over(x) && !yield(x) {
				return
			}
		}
	}
}
