package figures

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var page = flag.Bool("page", false, "write the page of docs and its plots from the committed report")

const docs = "../../../docs/figures/"

// TestThePageIsWrittenFromTheReport writes it if asked to, and holds it against the report.
func TestThePageIsWrittenFromTheReport(t *testing.T) {
	text, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"protocols.md": markdown(text),
		"figure2.svg": plot("share of survivors reached at once, %, by share crashed, %; hollow: the paper's, of 10,000", false,
			points(text, `figure 2: (\d+) % crash, broadcasts at once`, "")),
		"figure4.svg": plot("cycles to heal, by share crashed, %; hollow: the paper's, of 10,000", false,
			points(text, `figure 4: (\d+) % crash, cycles`, "")),
		"wave.svg": plot("messages of one wave, by nodes; hollow: the design's", true,
			points(text, `^(\d+) \| .*wave: messages`, `(?:messages, |, )?([\d,]+)(?: messages)?$`)),
	} {
		if *page {
			if err := os.WriteFile(docs+name, []byte(want), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if have, err := os.ReadFile(docs + name); err != nil || string(have) != want {
			t.Errorf("%s is not what the report says: %v: run make figures", name, err)
		}
	}
}

// lines are the rows of a report.
func lines(text []byte) (rows []string) {
	in := bufio.NewScanner(bytes.NewReader(text))
	for in.Scan() {
		if line := strings.TrimSpace(in.Text()); !strings.HasPrefix(line, "#") {
			rows = append(rows, line)
		}
	}
	return rows
}

func markdown(text []byte) string {
	var b strings.Builder
	b.WriteString(`# The protocols' figures, in virtual time

Generated from ` + "`overlay/sim/testdata/report.golden`" + ` by ` + "`make figures`" + `; the same on every machine. Links take 0.2 to 0.8 ms,
nothing is lost, applications answer within 0.5 ms. One seed each. The papers' numbers are for 10,000 nodes, ours for the number in
the first column.

Rows of *the overlay alone* are of nodes that are whole but for their directory: views, broadcasts, calls, links, healing and wire are
production's, every message is encoded and parsed and every invariant watched, but who is a member is told by the experiment and shared
by all, because ten thousand directories of ten thousand members take more memory than a machine has. Nobody is declared down in
them, and islands that the views leave stay. All other rows are of whole nodes. A broadcast "at once" is one of 50 in the ten seconds
(a cycle: the time in which each node shuffles once) after the crash, and counts as arrived until two seconds after the last: repairs
are in it, unlike in the paper's figure 2, which counts what gets through while the views are still broken; the paper has 1,000 there.
"30 s later" is from the third cycle on, with a discovery that names three living nodes to whoever asks. Before a crash the nodes
have joined one by one, each at one other, and shuffled once, before table 1 twenty times, before the rest five times (the paper: fifty).

![reached after a crash](figure2.svg)
![cycles to heal](figure4.svg)
![messages of a wave](wave.svg)

| nodes | figure | the paper's | our goal | measured | goal met |
|---|---|---|---|---|---|
`)
	for _, line := range lines(text) {
		cells := strings.Split(line, "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	return b.String()
}

// points are the figures of rows that match, by the pattern's last group, and beside them what was expected, where that is a
// number or holds one. Of an experiment at several sizes the largest counts, unless the size is what it is by.
func points(text []byte, pattern, expected string) (xy [][3]float64) {
	re, want := regexp.MustCompile(pattern), regexp.MustCompile(`^([\d.]+)$`)
	if expected != "" {
		want = regexp.MustCompile(expected)
	}
	at := map[float64]int{}
	for _, line := range lines(text) {
		m := re.FindStringSubmatch(line)
		cells := strings.Split(line, "|")
		if m == nil || len(cells) < 5 {
			continue
		}
		p := [3]float64{number(m[len(m)-1]), number(cells[4]), math.NaN()}
		if w := want.FindStringSubmatch(strings.TrimSpace(cells[2])); w != nil {
			p[2] = number(w[1])
		}
		if i, again := at[p[0]]; again {
			xy[i] = p // rows are in the order of the sizes
			continue
		}
		at[p[0]] = len(xy)
		xy = append(xy, p)
	}
	return xy
}

func number(text string) float64 {
	v, err := strconv.ParseFloat(strings.ReplaceAll(strings.TrimSpace(text), ",", ""), 64)
	if err != nil {
		return math.NaN()
	}
	return v
}

// plot draws points, ours with their numbers, and what was expected as hollow ones.
func plot(title string, logarithmic bool, xy [][3]float64) string {
	scale := func(v float64) float64 { return v }
	if logarithmic {
		scale = math.Log10
	}
	most := [2]float64{scale(2), scale(2)}
	for _, p := range xy {
		most = [2]float64{max(most[0], scale(p[0])), max(most[1], scale(p[1]))}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="520" height="300" font-family="sans-serif" font-size="11">`+
		"\n"+`<text x="20" y="20" font-size="12">%s</text>`+"\n"+`<path d="M40 40V260H480" fill="none" stroke="black"/>`+"\n", title)
	for _, p := range xy {
		x, y := 40+400*scale(p[0])/most[0], 260-200*scale(p[1])/most[1]
		if !math.IsNaN(p[2]) {
			fmt.Fprintf(&b, `<circle cx="%.0f" cy="%.0f" r="5" fill="none" stroke="gray"/>`+"\n", x, 260-200*scale(p[2])/most[1])
		}
		fmt.Fprintf(&b, `<circle cx="%.0f" cy="%.0f" r="3"/><text x="%.0f" y="%.0f">%g</text><text x="%.0f" y="275">%g</text>`+"\n", x, y, x+6, y-6, p[1], x-5, p[0])
	}
	b.WriteString("</svg>\n")
	return b.String()
}
