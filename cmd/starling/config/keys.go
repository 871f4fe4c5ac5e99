package config

import (
	"embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"
	"sync"
)

//go:embed config.go sources.go source_*.go tuning.go
var typesSource embed.FS

// Key is one key of the configuration and all that is known about it.
type Key struct {
	Path    string // overlay.active; discovery.sources.dns.port
	Name    string // active
	Depth   int    // 0 for the top level
	Doc     string // one or more sentences
	Default string // as YAML; empty for a section
	Type    string // in words
	Section bool   // holds other keys
	Source  string // the kind of source it belongs to, if any

	field reflect.StructField
}

// Allowed says which values are accepted, if not all of the type.
func (k Key) Allowed() string {
	if k.Name == "kind" && k.Source != "" {
		return "one of " + strings.Join(kindNames(), ", ")
	}
	if choices := k.field.Tag.Get("oneof"); choices != "" {
		return "one of " + strings.ReplaceAll(choices, ",", ", ")
	}
	if low, high, ok := strings.Cut(k.field.Tag.Get("range"), ".."); ok {
		return low + " to " + high
	}
	return ""
}

// Example is a value to copy, where the default shows nothing.
func (k Key) Example() string { return k.field.Tag.Get("eg") }

// Keys are all keys in the order of config.example.yaml.
func Keys() []Key {
	c := Default()
	return keysOf(reflect.ValueOf(c), "", 0, "")
}

func keysOf(v reflect.Value, prefix string, depth int, source string) []Key {
	var keys []Key
	for f, value := range v.Fields() {
		name := f.Tag.Get("yaml")
		if name == "-" {
			continue
		}
		k := Key{
			Path: join(prefix, name), Name: name, Depth: depth, Source: source,
			Doc: docs()[v.Type().Name()+"."+f.Name], Type: typeInWords(f.Type), field: f,
		}
		switch {
		case f.Type.Kind() == reflect.Struct:
			k.Section = true
			keys = append(append(keys, k), keysOf(value, k.Path, depth+1, source)...)
		case f.Type == reflect.TypeFor[[]Source]():
			k.Default = "[]"
			keys = append(append(keys, k), sourceKeys(k.Path, depth+1)...)
		default:
			k.Default = writeYAML(value.Interface())
			keys = append(keys, k)
		}
	}
	return keys
}

// sourceKeys are what all sources share, then each kind's own.
func sourceKeys(prefix string, depth int) []Key {
	var keys []Key
	for _, kind := range Kinds {
		s := newSource(kind)
		at := join(prefix, kind.Name)
		keys = append(keys, Key{
			Path: at, Name: kind.Name, Depth: depth, Doc: docs()[reflect.TypeOf(s.Options).Elem().Name()],
			Type: "a source", Section: true, Source: kind.Name,
		})
		keys = append(keys, keysOf(reflect.ValueOf(s), at, depth+1, kind.Name)...)
		keys = append(keys, keysOf(reflect.ValueOf(s.Options).Elem(), at, depth+1, kind.Name)...)
	}
	return keys
}

// Explain finds a key by its path. A path that is not there gets the nearest one in the error.
func Explain(path string) (Key, error) {
	keys := Keys()
	paths := make([]string, 0, len(keys))
	for _, k := range keys {
		if k.Path == path {
			return k, nil
		}
		paths = append(paths, k.Path)
	}
	return Key{}, fmt.Errorf("there is no key %q%s", path, suggest(path, paths))
}

// Children are the keys right below a section.
func Children(section Key) []Key {
	var below []Key
	for _, k := range Keys() {
		if rest, ok := strings.CutPrefix(k.Path, section.Path+"."); ok && !strings.Contains(rest, ".") {
			below = append(below, k)
		}
	}
	return below
}

// docs are the comments of the types and fields: "Overlay", "Overlay.Active".
var docs = sync.OnceValue(func() map[string]string {
	all := map[string]string{}
	files, err := typesSource.ReadDir(".")
	if err != nil {
		panic(err)
	}
	for _, f := range files {
		text, err := typesSource.ReadFile(f.Name())
		if err != nil {
			panic(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), f.Name(), text, parser.ParseComments)
		if err != nil {
			panic(err)
		}
		for _, decl := range file.Decls {
			collect(decl, all)
		}
	}
	return all
})

func collect(decl ast.Decl, into map[string]string) {
	gen, ok := decl.(*ast.GenDecl)
	if !ok {
		return
	}
	for _, spec := range gen.Specs {
		typ, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		into[typ.Name.Name] = oneLine(gen.Doc.Text())
		if st, ok := typ.Type.(*ast.StructType); ok {
			for _, f := range st.Fields.List {
				for _, name := range f.Names {
					into[typ.Name.Name+"."+name.Name] = oneLine(f.Doc.Text())
				}
			}
		}
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func typeInWords(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[Secret]():
		return "a secret: text, ${NAME} or file:/path"
	case t == reflect.TypeFor[[]Source]():
		return "a list of sources"
	case isLeaf(t):
		return wanted(t)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Int:
		return "a list of numbers"
	case t.Kind() == reflect.Slice:
		return "a list of text"
	case t.Kind() == reflect.Map:
		return "pairs of a name and text"
	default:
		return "a section"
	}
}
