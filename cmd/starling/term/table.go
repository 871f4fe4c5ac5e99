package term

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Table is what people read: columns as wide as they must be, colour only on a terminal that wants it.
type Table struct {
	head []string
	rows [][]Cell
}

// A Cell is one value of a table.
type Cell struct {
	Text  string
	Paint Colour
}

// Paint is a value in a colour.
func Paint(text string, c Colour) Cell { return Cell{Text: text, Paint: c} }

// A Colour is an ANSI SGR parameter; empty is none.
type Colour string

// The colours in use.
const (
	Plain  Colour = ""
	Green  Colour = "32"
	Yellow Colour = "33"
	Red    Colour = "31"
	Faint  Colour = "2"
)

// NewTable makes a table without rows.
func NewTable(head ...string) *Table { return &Table{head: head} }

// Row adds a line; values are strings, Cells, or print as fmt prints them.
func (t *Table) Row(values ...any) {
	cells := make([]Cell, 0, len(values))
	for _, v := range values {
		if c, ok := v.(Cell); ok {
			cells = append(cells, Cell{Visible(c.Text), c.Paint})
			continue
		}
		cells = append(cells, Cell{Text: Visible(fmt.Sprint(v))})
	}
	t.rows = append(t.rows, cells)
}

// Len is the number of rows.
func (t *Table) Len() int { return len(t.rows) }

// Note adds a line of its own below the last, that widens no column.
func (t *Table) Note(text string) { t.rows = append(t.rows, []Cell{{Text: Visible(text)}}) }

// Visible is text that a terminal only shows: an answer from another machine must not move the cursor, change colours
// or ring the bell.
func Visible(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r
	}, text)
}

// Write prints the table.
func (t *Table) Write(w io.Writer) {
	head := make([]Cell, 0, len(t.head))
	for _, h := range t.head {
		head = append(head, Cell{strings.ToUpper(h), Faint})
	}
	lines := append([][]Cell{head}, t.rows...)
	width := make([]int, len(t.head))
	for _, line := range lines {
		if len(line) < len(t.head) {
			continue // a note
		}
		for i, c := range line {
			width[i] = max(width[i], utf8.RuneCountInString(c.Text))
		}
	}
	colourful := wantsColour(w)
	for _, line := range lines {
		var b strings.Builder
		for i, c := range line {
			text := c.Text
			if i < len(line)-1 {
				text += strings.Repeat(" ", width[i]-utf8.RuneCountInString(c.Text)+2)
			}
			if colourful && c.Paint != Plain {
				text = "\x1b[" + string(c.Paint) + "m" + text + "\x1b[0m"
			}
			b.WriteString(text)
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// wantsColour follows no-color.org: a terminal, unless NO_COLOR is set or the terminal is dumb.
func wantsColour(w io.Writer) bool {
	return IsTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
