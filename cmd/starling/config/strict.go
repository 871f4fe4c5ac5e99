package config

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// strict walks a YAML tree beside the Go types it is going to fill. It reports what the decoder would swallow or
// explain badly, and puts the environment's values and files' contents into the tree.
type strict struct {
	file     string
	env      func(string) (string, bool)
	readFile func(string) ([]byte, error)
	problems Problems
}

func (s *strict) report(n *node, key, format string, args ...any) {
	s.problems = append(s.problems, Problem{File: s.file, Line: n.Line, Key: key, What: fmt.Sprintf(format, args...)})
}

// check compares a node with the type it is for. tag is the field's: it has ranges and choices.
func (s *strict) check(n *node, t reflect.Type, key string, tag reflect.StructTag) {
	if n.Kind == alias {
		n = n.Alias
	}
	if n.Kind == scalar && n.ShortTag() == "!!null" {
		return // a heading without a body leaves the defaults
	}
	switch {
	case t == reflect.TypeFor[Source]():
		s.checkSource(n, key)
	case isLeaf(t):
		s.checkLeaf(n, t, key, tag)
	case t.Kind() == reflect.Struct:
		s.checkKeys(n, fieldsOf(t), key)
	case t.Kind() == reflect.Slice:
		if n.Kind != sequence {
			s.report(n, key, "wants a list")
			return
		}
		for i, item := range n.Content {
			s.check(item, t.Elem(), fmt.Sprintf("%s[%d]", key, i), "")
		}
	case t.Kind() == reflect.Map:
		if n.Kind != mapping {
			s.report(n, key, "wants pairs of a name and a value")
			return
		}
		for i := 0; i < len(n.Content); i += 2 {
			s.check(n.Content[i+1], t.Elem(), key+"."+n.Content[i].Value, "")
		}
	default:
		panic("config: no rule for " + t.String())
	}
}

// checkKeys reports unknown and repeated keys and descends into the known ones.
func (s *strict) checkKeys(n *node, fields map[string]reflect.StructField, key string) {
	if n.Kind != mapping {
		s.report(n, key, "wants keys, such as %s", strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
		return
	}
	seen := map[string]int{}
	for i := 0; i < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		full := join(key, name.Value)
		if line := seen[name.Value]; line > 0 {
			s.report(name, full, "is given twice, first in line %d", line)
		}
		seen[name.Value] = name.Line
		f, ok := fields[name.Value]
		if !ok {
			s.report(name, full, "unknown key%s", suggest(name.Value, slices.Sorted(maps.Keys(fields))))
			continue
		}
		s.check(value, f.Type, full, f.Tag)
	}
}

// checkSource knows that a source's keys depend on its kind.
func (s *strict) checkSource(n *node, key string) {
	fields := fieldsOf(reflect.TypeFor[Source]())
	names := kindNames()
	given := child(n, "kind")
	if given == nil {
		s.report(n, key, "a source needs its kind: %s", strings.Join(names, ", "))
		return
	}
	k, ok := kind(given.Value)
	if !ok {
		s.report(given, key+".kind", "there is no kind %q%s; there are %s", given.Value, suggest(given.Value, names), strings.Join(names, ", "))
		return
	}
	maps.Copy(fields, fieldsOf(reflect.TypeOf(k.Defaults()).Elem()))
	s.checkKeys(n, fields, key)
}

// checkLeaf fills in secrets and variables, then tries the value alone, so that the error can say which and where.
func (s *strict) checkLeaf(n *node, t reflect.Type, key string, tag reflect.StructTag) {
	if n.Kind != scalar {
		s.report(n, key, "wants %s", wanted(t))
		return
	}
	if !s.fill(n, t, key) {
		return
	}
	v := reflect.New(t)
	if err := n.Decode(v.Interface()); err != nil {
		s.report(n, key, "wants %s, not %q", wanted(t), shown(n, t))
		return
	}
	if why := outside(v.Elem(), tag); why != "" {
		s.report(n, key, "%s", why)
	}
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(:-[^}]*)?\}`)

// fill replaces ${NAME} in any value, and file:PATH in a secret. It tells whether the value can be used.
func (s *strict) fill(n *node, t reflect.Type, key string) bool {
	ok := true
	filled := variable.ReplaceAllStringFunc(n.Value, func(use string) string {
		m := variable.FindStringSubmatch(use)
		if v, set := s.env(m[1]); set {
			return v
		}
		if m[2] == "" {
			s.report(n, key, "the environment has no %s; set it, or write ${%s:-default}", m[1], m[1])
			ok = false
		}
		return strings.TrimPrefix(m[2], ":-")
	})
	if filled != n.Value {
		n.SetString(filled)
		if t.Kind() != reflect.String {
			n.Tag, n.Style = "", 0 // 7827 from the environment is a number, in quotes too
		}
	}
	path, isFile := strings.CutPrefix(n.Value, "file:")
	if !ok || !isFile || t != reflect.TypeFor[Secret]() {
		return ok
	}
	text, err := s.readFile(path)
	if err != nil {
		s.report(n, key, "read the secret: %v", err)
		return false
	}
	n.SetString(strings.TrimSpace(string(text)))
	return true
}

func shown(n *node, t reflect.Type) string {
	if t == reflect.TypeFor[Secret]() {
		return redacted
	}
	return n.Value
}

// wanted says in words what a type is written as.
func wanted(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "a duration such as 500ms, 10s or 2m"
	case t == reflect.TypeFor[Size]():
		return "a size such as 64KiB or 4MiB"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int:
		return "a whole number"
	default:
		return "text"
	}
}

// child is the value of a key of a mapping, or nil.
func child(n *node, key string) *node {
	if n.Kind != mapping {
		return nil
	}
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}
