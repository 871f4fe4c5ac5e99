package starlingv1

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// The generated code must be of these very .proto files. Generating needs
// buf and a network, so this compares what both declare: every message, field,
// number, enum value and method.
func TestGeneratedCodeIsCurrent(t *testing.T) {
	files, err := filepath.Glob("*.proto")
	if err != nil || len(files) == 0 {
		t.Fatalf("no .proto files here: %v", err)
	}
	for _, name := range files {
		d, err := protoregistry.GlobalFiles.FindFileByPath("starling/v1/" + name)
		if err != nil {
			t.Errorf("%s has no generated code: %v", name, err)
			continue
		}
		said, made := declared(t, name), generated(d)
		for _, line := range said {
			if !slices.Contains(made, line) {
				t.Errorf("%s declares %q, the generated code does not; run make generate", name, line)
			}
		}
		for _, line := range made {
			if !slices.Contains(said, line) {
				t.Errorf("%s does not declare %q, the generated code does; run make generate", name, line)
			}
		}
	}
}

var (
	block  = regexp.MustCompile(`^(message|enum|service|oneof) (\w+) \{(\})?$`)
	field  = regexp.MustCompile(`^(?:(repeated|optional) )?(map<[\w., ]+>|[\w.]+) (\w+) = (\d+);$`)
	value  = regexp.MustCompile(`^(\w+) = (\d+);$`)
	method = regexp.MustCompile(`^rpc (\w+)\((stream )?(\w+)\) returns \((stream )?(\w+)\);$`)
)

// declared reads a .proto as buf formats it: one declaration a line.
func declared(t *testing.T, name string) []string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var out, in []string // in: the blocks around
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		switch m := block.FindStringSubmatch(line); {
		case m != nil && m[3] == "}":
			out = append(out, m[1]+" "+m[2])
		case m != nil:
			in = append(in, m[2])
			out = append(out, m[1]+" "+m[2])
		case line == "}":
			in = in[:len(in)-1]
		case len(in) == 0 || line == "" || strings.HasPrefix(line, "//"):
		case method.MatchString(line):
			m := method.FindStringSubmatch(line)
			out = append(out, fmt.Sprintf("%s.%s %v %s %v %s", in[0], m[1], m[2] != "", m[3], m[4] != "", m[5]))
		case value.MatchString(line):
			m := value.FindStringSubmatch(line)
			out = append(out, fmt.Sprintf("%s.%s %s", in[0], m[1], m[2]))
		case field.MatchString(line):
			m := field.FindStringSubmatch(line)
			kind := m[2][strings.LastIndex(m[2], ".")+1:]
			if strings.HasPrefix(m[2], "map<") {
				kind, m[1] = "map", "repeated"
			}
			out = append(out, fmt.Sprintf("%s.%s %s %v %s", in[0], m[3], kind, m[1] == "repeated", m[4]))
		default:
			t.Fatalf("%s: cannot read %q", name, line)
		}
	}
	return out
}

// generated tells the same of a descriptor.
func generated(d protoreflect.FileDescriptor) []string {
	var out []string
	for i := range d.Enums().Len() {
		e := d.Enums().Get(i)
		out = append(out, "enum "+string(e.Name()))
		for j := range e.Values().Len() {
			out = append(out, fmt.Sprintf("%s.%s %d", e.Name(), e.Values().Get(j).Name(), e.Values().Get(j).Number()))
		}
	}
	for i := range d.Messages().Len() {
		m := d.Messages().Get(i)
		out = append(out, "message "+string(m.Name()))
		for j := range m.Oneofs().Len() {
			out = append(out, "oneof "+string(m.Oneofs().Get(j).Name()))
		}
		for j := range m.Fields().Len() {
			f := m.Fields().Get(j)
			out = append(out, fmt.Sprintf("%s.%s %s %v %d", m.Name(), f.Name(), kindOf(f), f.Cardinality() == protoreflect.Repeated, f.Number()))
		}
	}
	for i := range d.Services().Len() {
		s := d.Services().Get(i)
		out = append(out, "service "+string(s.Name()))
		for j := range s.Methods().Len() {
			m := s.Methods().Get(j)
			out = append(out, fmt.Sprintf("%s.%s %v %s %v %s", s.Name(), m.Name(),
				m.IsStreamingClient(), m.Input().Name(), m.IsStreamingServer(), m.Output().Name()))
		}
	}
	return out
}

func kindOf(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsMap():
		return "map"
	case f.Message() != nil:
		return string(f.Message().Name())
	case f.Enum() != nil:
		return string(f.Enum().Name())
	default:
		return f.Kind().String()
	}
}
