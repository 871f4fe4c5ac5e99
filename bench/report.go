package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// A page is headings and tables that can be written for a terminal or as Markdown.
type page struct {
	parts []part
}

type part struct {
	heading, text string
	rows          [][]string // the first is the header
}

func (p *page) add(heading, text string, rows ...[]string) {
	p.parts = append(p.parts, part{heading, text, rows})
}

// page sets all figures out.
func (r *Results) page() *page {
	p := &page{}
	p.expected(r)
	p.multicalls(r)
	if r.Abcast != nil {
		p.abcast(r.Abcast)
	}
	if r.Idle != nil {
		p.idle(r.Idle)
	}
	return p
}

func (p *page) expected(r *Results) {
	rows := [][]string{{"figure", "expected", "reached", ""}}
	for _, e := range r.expectations() {
		rows = append(rows, []string{e.what, e.bound(), figure(e.reached, e.unit), e.verdict()})
	}
	p.add("Expected and reached", "", rows...)
}

func (p *page) multicalls(r *Results) {
	rows := [][]string{{"nodes", "callers", "who", "p50 ms", "(rounds)", "p99 ms", "calls/s", "calls", "answered by all", "CPU µs", "app's µs", "p50 ×"}}
	for _, m := range r.Multicall {
		for i, l := range m.Starling {
			rows = append(rows, append([]string{fmt.Sprint(m.Nodes), fmt.Sprint(l.Callers), "starling"}, append(l.cells(), "1")...))
			if i < len(m.Serf) {
				s := m.Serf[i]
				rows = append(rows, append([]string{fmt.Sprint(m.Nodes), fmt.Sprint(l.Callers), "serf"},
					append(s.cells(), fmt.Sprintf("%.0f", s.P50/l.P50))...))
			}
		}
	}
	p.add("Multicall", "32 B to everybody and back. CPU is per node and call: of the sidecar and of its application, or of serf with its "+
		"application in it. The last column is the p50 over Starling's.", rows...)
}

// cells are a load's figures.
func (l Load) cells() []string {
	app := "-"
	if l.AppCPU > 0 {
		app = fmt.Sprintf("%.0f", l.AppCPU)
	}
	return []string{
		fmt.Sprintf("%.3g", l.P50), fmt.Sprintf("%.3g-%.3g", l.Fastest, l.Slowest), fmt.Sprintf("%.3g", l.P99), fmt.Sprintf("%.4g", l.PerSecond),
		fmt.Sprint(l.Calls), fmt.Sprintf("%.2f %%", 100*l.Complete), fmt.Sprintf("%.0f", l.CPU), app,
	}
}

func (p *page) abcast(a *Abcast) {
	p.add("Abcast", fmt.Sprintf("32 B to the applications of %d nodes from one sender, %d messages a round, not confirmed.", a.Nodes, a.Messages),
		[]string{"accepted/s", "until all have all, messages/s", "delivered", "delivered twice"},
		[]string{fmt.Sprintf("%.0f", a.AcceptedPS), a.rate(), fmt.Sprintf("%.6g", a.Delivered), fmt.Sprint(a.Twice)})
	if len(a.Dropped) > 0 {
		rows := [][]string{{"counter of the sidecars", "all together"}}
		for _, what := range slices.Sorted(maps.Keys(a.Dropped)) {
			rows = append(rows, []string{what, fmt.Sprint(a.Dropped[what])})
		}
		p.add("", "Dropped or refused meanwhile:", rows...)
	}
	head := []string{"confirmed by", "p50 ms", "(rounds)", "p99 ms", "calls/s", "calls", "by all", "CPU µs", "app's µs"}
	p.add("", "Confirmed, one caller:", head, append([]string{"every node"}, a.Node.cells()...), append([]string{"every handler"}, a.Handler.cells()...))
}

// rate is of the rounds in which everything arrived; there may be none.
func (a *Abcast) rate() string {
	if a.PerSecond == 0 {
		return "never"
	}
	return fmt.Sprintf("%.0f", a.PerSecond)
}

func (p *page) idle(i *Idle) {
	p.add("Idle", fmt.Sprintf("%d members for %.0f s, nobody calls. They all knew all %.1f s after the first was started.", i.Nodes, i.Seconds, i.Joined),
		[]string{"of a sidecar", "median", "max"},
		[]string{"RSS, MB", fmt.Sprintf("%.1f", i.RSS), fmt.Sprintf("%.1f", i.RSSMax)},
		[]string{"of it allocated, MB", fmt.Sprintf("%.1f", i.Anon), fmt.Sprintf("%.1f", i.AnonMax)},
		[]string{"RSS after all measurements, MB", fmt.Sprintf("%.1f", i.RSSAfter), "-"},
		[]string{"CPU, % of a core", fmt.Sprintf("%.2f", i.CPU), fmt.Sprintf("%.2f", i.CPUMax)},
		[]string{"bytes/s in, out (mean)", fmt.Sprintf("%.0f, %.0f", i.BytesIn, i.BytesOut), "-"})
}

// about says where the figures come from.
func (r *Results) about() string {
	return fmt.Sprintf("%s; %s. Starling %s, serf %s. Load average before %s, after %s.",
		r.Date, r.Machine, r.Starling, r.Serf, r.LoadBefore, r.LoadAfter)
}

// table writes everything for a terminal.
func (r *Results) table(w io.Writer) error {
	fmt.Fprintln(w, r.about())
	for _, part := range r.page().parts {
		fmt.Fprintln(w)
		for _, line := range []string{part.heading, part.text} {
			if line != "" {
				fmt.Fprintln(w, line)
			}
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, row := range part.rows {
			fmt.Fprintln(t, strings.Join(row, "\t"))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// write writes everything as a Markdown page.
func (r *Results) write(path string) error {
	var w bytes.Buffer
	fmt.Fprintf(&w, "# Figures of `make bench`\n\nWritten by `make bench REPORT=1`; do not edit.\n\n%s\n\n%s\n", r.about(),
		"Every sidecar is a process, and so is the application on each socket; the caller is one more process, on the first\n"+
			"sidecar's socket. A node of serf is one process, library and application in one, with serf's LAN profile. Each\n"+
			"process has one core at a time, as in a container (GOMAXPROCS=1); the caller has all. Medians over rounds; absolute figures are this machine's, ratios travel better.")
	for _, part := range r.page().parts {
		if part.heading != "" {
			fmt.Fprintf(&w, "\n## %s\n", part.heading)
		}
		if part.text != "" {
			fmt.Fprintf(&w, "\n%s\n", part.text)
		}
		fmt.Fprintln(&w)
		for i, row := range part.rows {
			fmt.Fprintf(&w, "| %s |\n", strings.Join(row, " | "))
			if i == 0 {
				fmt.Fprintf(&w, "|%s\n", strings.Repeat("---|", len(row)))
			}
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // documentation is for everybody
		return fmt.Errorf("write the report: %w", err)
	}
	if err := os.WriteFile(path, w.Bytes(), 0o644); err != nil { //nolint:gosec // documentation is for everybody
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
