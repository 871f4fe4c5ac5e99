// Package explore visits every state that a small world of real machines can
// reach, breadth first: each order of messages, each moment of a fault. It
// knows no machine; what a world is and may do, its caller says. It never
// copies a machine: a state is the moves that lead to it, played again, and is
// recognised by a hash of everything that its future depends on.
package explore

import (
	"fmt"
	"slices"
	"strings"
)

// A World is a few machines and what is under way between them. It must be
// deterministic: the same moves from the start give the same state.
type World interface {
	// Moves says what can happen now, in an order that depends on the state alone.
	Moves() []Move
	// Dump writes everything that the future depends on.
	Dump(d *Dump)
	// Check tells what is broken in this very state, or nil.
	Check() error
	// End is called where no move is left, after which the world is not used any
	// more: it may let time run on and demand what must come true in the end.
	End() error
}

// A Move is one thing that can happen. Its name is for people, and made only
// for a failure.
type Move struct {
	Name func() string
	Do   func()
}

// Report is what a search saw.
type Report struct {
	States int  // different ones
	Moves  int  // carried out, those that led to known states too
	Ends   int  // states without a further move
	Depth  int  // moves to the farthest state
	Whole  bool // nothing was left out
}

func (r Report) String() string {
	whole := "all"
	if !r.Whole {
		whole = "cut off"
	}
	return fmt.Sprintf("%d states (%s), %d moves, %d ends, depth %d", r.States, whole, r.Moves, r.Ends, r.Depth)
}

// Failure is a broken promise, with the shortest way there.
type Failure struct {
	Path []string
	Err  error
}

func (f *Failure) Error() string {
	var text strings.Builder
	text.WriteString(f.Err.Error())
	for i, name := range f.Path {
		fmt.Fprintf(&text, "\n  %2d %s", i+1, name)
	}
	return text.String()
}

// Search visits the states that follow from begin(), at most so many (0: all).
// It ends at the first failure, of which the shortest way is told. A panic of a
// machine is a failure, too.
func Search(begin func() World, most int) (Report, error) {
	s := search{begin: begin, most: most, seen: map[Sum]struct{}{}, report: Report{Whole: true}}
	err := s.visit(-1, 0)
	for i := 0; i < len(s.steps) && err == nil; i++ {
		for m := range s.steps[i].moves {
			if err = s.visit(int32(i), m); err != nil {
				break
			}
		}
	}
	s.report.States = len(s.steps)
	return s.report, err
}

// search is one under way.
type search struct {
	begin  func() World
	most   int
	seen   map[Sum]struct{}
	steps  []step // one for each state, in the order they were found
	path   []uint16
	report Report
}

// step is how a state was reached: by which move from which other.
type step struct {
	before int32 // index of the state before; -1 at the root
	move   uint16
	moves  uint16 // how many the state has
}

// visit plays the way to a state and one move more, and takes the state that
// follows if it is new. The root has no move.
func (s *search) visit(before int32, move uint16) error {
	s.path = s.path[:0]
	if before >= 0 {
		s.report.Moves++
		s.path = append(s.path, move)
		for i := before; s.steps[i].before >= 0; i = s.steps[i].before {
			s.path = append(s.path, s.steps[i].move)
		}
		slices.Reverse(s.path)
	}
	w := s.begin()
	err := guarded(func() error {
		for _, m := range s.path {
			w.Moves()[m].Do()
		}
		return w.Check()
	})
	if err != nil {
		return s.failure(err)
	}
	sum := SumOf(w)
	if _, known := s.seen[sum]; known {
		return nil
	}
	if s.most > 0 && len(s.steps) >= s.most {
		s.report.Whole = false
		return nil
	}
	moves := len(w.Moves())
	s.seen[sum] = struct{}{}
	s.steps = append(s.steps, step{before, move, uint16(moves)})
	s.report.Depth = max(s.report.Depth, len(s.path))
	if moves > 0 {
		return nil
	}
	s.report.Ends++
	if err := guarded(w.End); err != nil {
		return s.failure(fmt.Errorf("in the end: %w", err))
	}
	return nil
}

// failure plays the way once more, for the names of its moves.
func (s *search) failure(err error) error {
	f := &Failure{Err: err}
	w := s.begin()
	_ = guarded(func() error {
		for _, m := range s.path {
			move := w.Moves()[m]
			f.Path = append(f.Path, move.Name())
			move.Do()
		}
		return nil
	})
	return f
}

// guarded makes an error of a panic.
func guarded(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return do()
}
