package figures

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// row is one figure: of how many nodes, what, what the paper says, what we want, what we got.
type row struct {
	nodes int
	what  string
	paper string
	goal  bound
	got   float64
	why   string // if the goal is missed
}

// bound is a goal: at most or at least so much; zero: none, the figure only must not get worse.
type bound struct {
	most bool
	at   float64
	none bool
}

func atMost(v float64) bound  { return bound{most: true, at: v} }
func atLeast(v float64) bound { return bound{at: v} }

// small is a figure without a goal, better when small.
var small = bound{most: true, none: true}

func (b bound) String() string {
	switch {
	case b.none:
		return "-"
	case b.most:
		return fmt.Sprintf("<= %g", b.at)
	}
	return fmt.Sprintf(">= %g", b.at)
}

// missed is by how much; 0: not.
func (b bound) missed(v float64) float64 {
	switch {
	case b.none:
		return 0
	case b.most:
		return max(0, v-b.at)
	}
	return max(0, b.at-v)
}

// worse tells whether a figure fell behind what it was by more than a twentieth.
func (b bound) worse(was, is float64) bool {
	if b.most {
		return is > was*1.05+0.01
	}
	return is < was*0.95-0.01
}

func (r *row) key() string { return fmt.Sprintf("%6d | %s", r.nodes, r.what) }

// kindOf is which experiments a row belongs to: of how many nodes, and whether of the overlay alone.
func kindOf(key string) string {
	size, what, _ := strings.Cut(key, "|")
	return fmt.Sprint(strings.TrimSpace(size), strings.Contains(what, overlayAlone))
}

func (r *row) String() string {
	word := "ok"
	if by := r.goal.missed(r.got); by > 0 {
		word = fmt.Sprintf("MISSED by %.3g: %s", by, r.why)
	} else if r.goal.none {
		word = ""
	}
	return strings.TrimRight(fmt.Sprintf("%-100s | %-22s | %-9s | %10.3f | %s", r.key(), r.paper, r.goal, r.got, word), " ")
}

const goldenFile = "../testdata/report.golden"

// compare holds the report against the committed one, or writes its rows into that. All rows of this size must be there if
// whole is set.
func compare(t *testing.T, rows []row, whole, update bool) {
	t.Helper()
	text, err := os.ReadFile(goldenFile)
	if err != nil && !update {
		t.Fatal(err)
	}
	was, lines := map[string]float64{}, map[string]string{}
	in := bufio.NewScanner(bytes.NewReader(text))
	for in.Scan() {
		f := strings.Split(in.Text(), "|")
		if len(f) < 5 || strings.HasPrefix(in.Text(), "#") {
			continue
		}
		key := fmt.Sprintf("%6s | %s", strings.TrimSpace(f[0]), strings.TrimSpace(f[1]))
		v, err := strconv.ParseFloat(strings.TrimSpace(f[4]), 64)
		if err != nil {
			t.Fatalf("%s: %q: %v", goldenFile, in.Text(), err)
		}
		was[key], lines[key] = v, in.Text()
	}
	seen, played := map[string]bool{}, map[string]bool{}
	for i := range rows {
		r := &rows[i]
		seen[r.key()], played[kindOf(r.key())] = true, true
		old, known := was[r.key()]
		lines[r.key()] = r.String()
		switch {
		case update:
		case !known:
			t.Logf("new, not in %s yet: %s", goldenFile, r)
		case r.goal.worse(old, r.got):
			t.Errorf("worse than %g: %s", old, r)
		}
	}
	for key := range was {
		switch gone := whole && !seen[key] && played[kindOf(key)]; {
		case gone && update:
			delete(lines, key)
		case gone:
			t.Errorf("absent: %s", lines[key])
		}
	}
	if !update {
		return
	}
	var b strings.Builder
	b.WriteString("# nodes | figure | the paper's | our goal | measured, in virtual time | goal met\n")
	all := make([]string, 0, len(lines))
	for key := range lines {
		all = append(all, key)
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Compare(a, b) })
	for _, key := range all {
		b.WriteString(lines[key] + "\n")
	}
	if err := os.WriteFile(goldenFile, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
