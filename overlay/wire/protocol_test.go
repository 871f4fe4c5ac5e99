package wire

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/starlingmesh/starling/overlay/proto"
)

// -golden adds frames of new samples; frames that are there are never rewritten.
var addGolden = flag.Bool("golden", false, "append the frames of new samples to testdata/golden.txt")

const goldenFile = "testdata/golden.txt"

// Golden frames are what released versions have written: they are parsed for ever, to the same values.
func TestGoldenFramesStayAsTheyAre(t *testing.T) {
	var lines []string
	if data, err := os.ReadFile(goldenFile); err == nil {
		lines = strings.Split(strings.TrimSpace(string(data)), "\n")
	}
	for i, g := range goldens() {
		want := fmt.Sprintf("%s %x", g.name, g.frame)
		switch {
		case i >= len(lines) && *addGolden:
			lines = append(lines, want)
		case i >= len(lines):
			t.Errorf("no golden frame %d, of %s: run with -golden", i, g.name)
		case lines[i] != want:
			t.Errorf("golden frame %d:\n was %s\n now %s", i, lines[i], want)
		}
	}
	if *addGolden {
		if err := os.WriteFile(goldenFile, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A sample with a field left at zero would show nothing of that field.
func TestSamplesSetEveryField(t *testing.T) {
	zeroWanted := map[string]bool{"Record.Entry": true, "Record.Down": true, "Record.Opinions": true, "Record.Tomb": true, "CallID.Target": true, "Tag.Value": true,
		"Request.Payload": true, // a call has it beside what all its copies share
	}
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer, reflect.Interface:
			if !v.IsNil() {
				walk(path, v.Elem())
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(path, v.Index(i))
			}
		case reflect.Struct:
			for i := range v.NumField() {
				f := v.Type().Field(i)
				if v.Field(i).IsZero() && !zeroWanted[v.Type().Name()+"."+f.Name] {
					t.Errorf("%s.%s is zero", path, f.Name)
				}
				walk(path+"."+f.Name, v.Field(i))
			}
		default:
		}
	}
	walk("hello", reflect.ValueOf(hello))
	walk("refusal", reflect.ValueOf(refusal))
	for _, s := range samples() {
		walk(s.name, reflect.ValueOf(s.msg))
	}
}

// page is PROTOCOL.md: the fields of each message and structure.
type page struct {
	fields map[string]map[uint64]row // by heading: "call (32)", "CallID"
	used   map[string]map[uint64]bool
	values map[string][]string
}

type row struct {
	name, what string
}

// kind is the wire kind that the table's words stand for, and the structure if it is one.
func (r row) kind() (kind uint8, structure string) {
	word, _, _ := strings.Cut(r.what, " ")
	switch word {
	case "number", "flag", "duration", "value":
		return kindNumber, ""
	case "hash":
		return kindFixed8, ""
	case "id":
		return kindID, ""
	case "text", "bytes", "ids":
		return kindBytes, ""
	default:
		return kindBytes, word
	}
}

func readPage(t *testing.T) page {
	t.Helper()
	data, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	p := page{fields: map[string]map[uint64]row{}, used: map[string]map[uint64]bool{}, values: map[string][]string{}}
	heading := ""
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		line := lines.Text()
		if name, ok := strings.CutPrefix(line, "### "); ok {
			heading = name
			p.fields[name], p.used[name] = map[uint64]row{}, map[uint64]bool{}
			continue
		}
		if strings.HasPrefix(line, "## ") {
			heading = line
		}
		cells := strings.Split(strings.Trim(line, "| "), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if heading == "## Values" && len(cells) > 1 && !strings.HasPrefix(cells[0], "-") {
			p.values[cells[0]] = strings.Fields(strings.Join(cells[1:], " "))
		}
		if n, err := strconv.ParseUint(cells[0], 10, 64); err == nil && p.fields[heading] != nil {
			p.fields[heading][n] = row{cells[1], cells[2]}
		}
	}
	return p
}

// walk decodes fields with nothing but the page.
func (p page) walk(heading string, b []byte) error {
	fields, ok := p.fields[heading]
	if !ok {
		return fmt.Errorf("no section %q", heading)
	}
	r := reader{in: b, end: len(b)}
	for r.tag() {
		row, ok := fields[r.field]
		if !ok {
			return fmt.Errorf("%s: no field %d in the table", heading, r.field)
		}
		p.used[heading][r.field] = true
		kind, structure := row.kind()
		if kind != r.kind {
			return fmt.Errorf("%s: field %d %s is of kind %d, not %d", heading, r.field, row.name, r.kind, kind)
		}
		before := r.i
		r.skip()
		if structure == "" {
			continue
		}
		section := p.section(structure)
		if section == "" {
			return fmt.Errorf("%s: no structure %q", heading, structure)
		}
		nested := reader{in: b, i: before, end: len(b)}
		if err := p.walk(section, nested.view()); err != nil {
			return fmt.Errorf("%s: %w", heading, err)
		}
	}
	if r.why != 0 {
		return fmt.Errorf("%s: %s", heading, r.why)
	}
	return nil
}

// section is the heading of a structure, which may be a message's: Echo is "echo (35)".
func (p page) section(structure string) string {
	for heading := range p.fields {
		if name, _, _ := strings.Cut(heading, " "); name == structure || name == strings.ToLower(structure) {
			return heading
		}
	}
	return ""
}

func TestThePageDescribesEveryFrame(t *testing.T) {
	p := readPage(t)
	for _, g := range goldens() {
		heading := fmt.Sprintf("%s (%d)", g.name, g.frame[0])
		if err := p.walk(heading, g.frame[1:]); err != nil {
			t.Error(err)
		}
	}
	for heading, fields := range p.fields {
		for n, row := range fields {
			if !p.used[heading][n] {
				t.Errorf("%s: field %d %s is in the table and in no golden frame", heading, n, row.name)
			}
		}
	}
	for _, name := range append(Types(), "hello", "refusal") {
		if p.section(name) == "" {
			t.Errorf("no section on %s", name)
		}
	}
}

func TestThePageListsEveryValue(t *testing.T) {
	lists := map[string][]string{
		"LinkKind": valuesOf(proto.LinkLane), "RefusedWhy": valuesOf(RefusedOther), "RefuseWhy": valuesOf(proto.RefuseSuperseded),
		"ByeWhy": valuesOf(proto.ByeTrimmed), "Mode": valuesOf(proto.ModeDeliverHandler), "Outcome": valuesOf(lastOutcome),
		"Executed": valuesOf(proto.ExecutedMaybe), "Stage": valuesOf(proto.StageFinished),
		"TestimonyKind": valuesOf(proto.TestifyPending), "DialWhy": valuesOf(proto.DialNetwork),
	}
	p := readPage(t)
	for name, want := range lists {
		if got := p.values[name]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the page has %v, the code %v", name, got, want)
		}
	}
	data, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range Reasons() {
		if !bytes.Contains(data, []byte("| `"+reason+"` |")) {
			t.Errorf("the page does not explain %s", reason)
		}
	}
}

func valuesOf[T interface {
	~uint8
	fmt.Stringer
}](last T) []string {
	var all []string
	for v := T(1); v <= last; v++ {
		all = append(all, v.String())
	}
	return all
}

func TestThePagesExampleIsTrue(t *testing.T) {
	data, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(data), "### An example")
	_, block, _ = strings.Cut(block, "```\n")
	block, _, _ = strings.Cut(block, "```")
	var got []byte
	for line := range strings.Lines(block) {
		b, err := hex.DecodeString(strings.ReplaceAll(regexp.MustCompile(`^([0-9a-f]{2} )+`).FindString(line), " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b...)
	}
	want, _ := AppendChunk(nil, 0, Append(nil, proto.Took{ID: wave, Round: 1}))
	if !bytes.Equal(got, want) {
		t.Errorf("the page says\n%x\nthe code\n%x", got, want)
	}
}
