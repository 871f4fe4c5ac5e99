package once

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestAWindowForgetsNothingThatItSaw(t *testing.T) {
	w := Above(0)
	for _, n := range []uint64{5, 3, 4, 9, 1, 2} {
		if w.Has(n) {
			t.Fatalf("%d counts as seen before it came", n)
		}
		w.Mark(n)
	}
	if w.Spans() != 2 {
		t.Fatalf("%d spans, want 1-5 and 9", w.Spans())
	}
	if gone := slices.Collect(w.Below(4)); !slices.Equal(gone, []uint64{1, 2, 3}) {
		t.Errorf("below 4 it saw %v", gone)
	}
	w.Raise(4)
	for n := range uint64(12) {
		if want := n <= 5 || n == 9; w.Has(n) != want {
			t.Errorf("Has(%d) = %v", n, !want)
		}
	}
}

// A window does what a set of all numbers ever marked does, in bounded memory.
func TestAWindowIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Uint64Range(0, 10).Draw(t, "floor")
		w, floor, set, told := Above(start), start, map[uint64]bool{}, map[uint64]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			n := rapid.Uint64Range(0, 60).Draw(t, "n")
			if rapid.IntRange(0, 5).Draw(t, "raise") == 0 {
				for k := range w.Below(n) {
					if !set[k] || told[k] || k >= n || k < start {
						t.Fatalf("Below(%d) tells %d", n, k)
					}
					told[k] = true
				}
				w.Raise(n)
				floor = max(floor, n)
				for k := range set {
					if k < floor && k >= start && !told[k] {
						t.Fatalf("Below(%d) does not tell %d", n, k)
					}
				}
			} else {
				if n >= floor {
					set[n] = true
				}
				w.Mark(n)
			}
			for k := range uint64(62) {
				if want := k < floor || set[k]; w.Has(k) != want {
					t.Fatalf("Has(%d) = %v", k, !want)
				}
			}
		}
	})
}

func TestAWindowIsBoundedAndNeverCallsFreshWhatItSaw(t *testing.T) {
	w := Above(1)
	for n := uint64(1); n < 10*spansMax; n += 2 {
		w.Mark(n)
	}
	if w.Spans() > spansMax {
		t.Errorf("%d spans", w.Spans())
	}
	for n := uint64(1); n < 10*spansMax; n += 2 {
		if !w.Has(n) {
			t.Fatalf("%d is forgotten", n)
		}
	}
	if w.Jumps(10*spansMax) || !w.Jumps(100*spansMax) {
		t.Error("the jump is not bounded")
	}
}

func TestASequenceKnowsItsOldestOpenNumber(t *testing.T) {
	s := After(10)
	a, b, c := s.Next(), s.Next(), s.Next()
	s.Close(b)
	s.Close(b)
	if a != 11 || s.Oldest() != a || s.Open() != 2 {
		t.Errorf("after %d the oldest is %d of %d", a, s.Oldest(), s.Open())
	}
	s.Close(a)
	if s.Oldest() != c {
		t.Errorf("the oldest is %d, want %d", s.Oldest(), c)
	}
	s.Close(c)
	if s.Oldest() != c+1 || s.Last() != c {
		t.Error("with none open the next is the oldest")
	}
}
