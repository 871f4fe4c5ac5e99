package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// A table is what people read: columns as wide as they must be, colour only on a terminal that wants it.
type table struct {
	head []string
	rows [][]cell
}

type cell struct {
	text  string
	paint colour
}

// A colour is an ANSI SGR parameter; empty is none.
type colour string

const (
	plain  colour = ""
	green  colour = "32"
	yellow colour = "33"
	red    colour = "31"
	faint  colour = "2"
)

func newTable(head ...string) *table { return &table{head: head} }

// row adds a line; values are strings, cells, or print as fmt prints them.
func (t *table) row(values ...any) {
	cells := make([]cell, 0, len(values))
	for _, v := range values {
		if c, ok := v.(cell); ok {
			cells = append(cells, c)
			continue
		}
		cells = append(cells, cell{text: fmt.Sprint(v)})
	}
	t.rows = append(t.rows, cells)
}

func (t *table) write(w io.Writer) {
	head := make([]cell, 0, len(t.head))
	for _, h := range t.head {
		head = append(head, cell{strings.ToUpper(h), faint})
	}
	lines := append([][]cell{head}, t.rows...)
	width := make([]int, len(t.head))
	for _, line := range lines {
		for i, c := range line {
			width[i] = max(width[i], utf8.RuneCountInString(c.text))
		}
	}
	colourful := wantsColour(w)
	for _, line := range lines {
		var b strings.Builder
		for i, c := range line {
			text := c.text
			if i < len(line)-1 {
				text += strings.Repeat(" ", width[i]-utf8.RuneCountInString(c.text)+2)
			}
			if colourful && c.paint != plain {
				text = "\x1b[" + string(c.paint) + "m" + text + "\x1b[0m"
			}
			b.WriteString(text)
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// wantsColour follows no-color.org: a terminal, unless NO_COLOR is set or the terminal is dumb.
func wantsColour(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// jsonVersion is raised when a field of the commands' JSON changes its meaning or goes; new fields may come at any time.
const jsonVersion = 1

// writeJSON is what scripts read.
func writeJSON(w io.Writer, kind string, data any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		Version int    `json:"version"`
		Kind    string `json:"kind"`
		Data    any    `json:"data"`
	}{jsonVersion, kind, data})
}
