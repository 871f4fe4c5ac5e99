package figures

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
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
		"figure2.svg":  plot("share of survivors reached, %, by share crashed, %", points(text, `^(\d+) \|.*figure 2: (\d+) % crash, broadcasts at once`)),
		"wave.svg":     plot("messages of one wave, by nodes", points(text, `^(\d+) \| wave: messages`)),
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
nothing is lost, applications answer within 0.5 ms. The papers' numbers are for 10,000 nodes, ours for the number in the first column.
Broadcasts "at once" begin with the crash and count as arrived until two seconds after the last: repairs are in them, unlike in the
paper's figure 2, which counts what gets through while the views are still broken. One seed each.

![reached after a crash](figure2.svg)
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

// points are the figures of rows that match: by the pattern's last group.
func points(text []byte, pattern string) (xy [][2]float64) {
	re := regexp.MustCompile(pattern)
	for _, line := range lines(text) {
		m := re.FindStringSubmatch(line)
		cells := strings.Split(line, "|")
		if m == nil || len(cells) < 5 {
			continue
		}
		x, _ := strconv.ParseFloat(m[len(m)-1], 64)
		y, _ := strconv.ParseFloat(strings.TrimSpace(cells[4]), 64)
		xy = append(xy, [2]float64{x, y})
	}
	return xy
}

// plot draws points, each with its numbers.
func plot(title string, xy [][2]float64) string {
	most := [2]float64{1, 1}
	for _, p := range xy {
		most = [2]float64{max(most[0], p[0]), max(most[1], p[1])}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="480" height="300" font-family="sans-serif" font-size="11">`+
		"\n"+`<text x="40" y="20" font-size="13">%s</text>`+"\n"+`<path d="M40 40V260H460" fill="none" stroke="black"/>`+"\n", title)
	for _, p := range xy {
		x, y := 40+380*p[0]/most[0], 260-200*p[1]/most[1]
		fmt.Fprintf(&b, `<circle cx="%.0f" cy="%.0f" r="3"/><text x="%.0f" y="%.0f">%g</text><text x="%.0f" y="275">%g</text>`+"\n", x, y, x+5, y-5, p[1], x-5, p[0])
	}
	b.WriteString("</svg>\n")
	return b.String()
}
