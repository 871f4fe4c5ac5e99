package charttest

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	yaml "gopkg.in/yaml.v3"
)

// A Value is one setting of the chart: its comment in values.yaml is its documentation, its default tells its type.
type Value struct {
	Path     string // of keys, with dots between them
	Name     string // its last key
	Doc      string
	Default  string // as YAML in one line
	Schema   map[string]any
	Children []Value // of a section
}

// schemaMark begins the line of a comment that adds to what the default tells about the type, as JSON schema.
const schemaMark = "@schema "

// Values reads values.yaml.
func Values(file string) ([]Value, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the values: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return section(doc.Content[0], "")
}

// section reads the keys of a mapping.
func section(n *yaml.Node, path string) ([]Value, error) {
	var list []Value
	for i := 0; i < len(n.Content); i += 2 {
		v, err := value(n.Content[i], n.Content[i+1], path)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func value(key, n *yaml.Node, path string) (Value, error) {
	v := Value{Path: path + key.Value, Name: key.Value}
	marked := false
	var words []string
	for line := range strings.Lines(key.HeadComment) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "#"))
		if mark, ok := strings.CutPrefix(line, schemaMark); ok {
			marked = true
			if err := json.Unmarshal([]byte(mark), &v.Schema); err != nil {
				return v, fmt.Errorf("%s: %s: %w", v.Path, mark, err)
			}
			continue
		}
		words = append(words, line)
	}
	v.Doc = strings.Join(words, " ")
	if n.Kind == yaml.MappingNode && !marked {
		if len(n.Content) == 0 {
			return v, fmt.Errorf("%s: of what is it a map? Say so: # %s{...}", v.Path, schemaMark)
		}
		var err error
		v.Children, err = section(n, v.Path+".")
		return v, err
	}
	v.Default = oneLine(n)
	return v, v.typed(n, marked)
}

// typed adds the type that the default tells.
func (v *Value) typed(n *yaml.Node, marked bool) error {
	if v.Schema == nil {
		v.Schema = map[string]any{}
	}
	types := map[string]string{"!!str": "string", "!!bool": "boolean", "!!int": "integer", "!!map": "object", "!!seq": "array"}
	t, known := types[n.Tag]
	if !known || (t == "array" && !marked) {
		return fmt.Errorf("%s: a default of %s does not tell what it may be", v.Path, n.Tag)
	}
	v.Schema["type"] = t
	return nil
}

// oneLine is a value as YAML that fits into a table.
func oneLine(n *yaml.Node) string {
	flow := *n
	flow.HeadComment = ""
	flatten(&flow)
	text, err := yaml.Marshal(&flow)
	if err != nil {
		panic(err) // it was just read
	}
	return strings.Join(strings.Fields(string(text)), " ")
}

func flatten(n *yaml.Node) {
	n.Style |= yaml.FlowStyle
	if n.Kind == yaml.ScalarNode {
		n.Style &^= yaml.FlowStyle
	}
	for _, c := range n.Content {
		flatten(c)
	}
}
