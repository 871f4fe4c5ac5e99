package inject

import (
	"fmt"

	yaml "gopkg.in/yaml.v3"
)

// at is where a key of a mapping is in its content, or -1. A nil mapping has none.
func at(m *yaml.Node, key string) int {
	if m == nil || m.Kind != yaml.MappingNode {
		return -1
	}
	for i := 0; i < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return i + 1
		}
	}
	return -1
}

// get is a mapping's value; nil if it has none, or null.
func get(m *yaml.Node, key string) *yaml.Node {
	i := at(m, key)
	if i < 0 || m.Content[i].Tag == "!!null" {
		return nil
	}
	return m.Content[i]
}

// text is a mapping's word.
func text(m *yaml.Node, key string) string {
	if v := get(m, key); v != nil && v.Kind == yaml.ScalarNode {
		return v.Value
	}
	return ""
}

// set gives a mapping a value, in place of the one it has.
func set(m *yaml.Node, key string, v *yaml.Node) {
	if i := at(m, key); i >= 0 {
		m.Content[i] = v
		return
	}
	m.Content = append(m.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, v)
}

// child is a mapping's value of a kind, made if there is none. What YAML takes from elsewhere is refused: to change it here
// would change it there, or hide it.
func child(m *yaml.Node, key string, kind yaml.Kind) (*yaml.Node, error) {
	if at(m, "<<") >= 0 {
		return nil, fmt.Errorf("line %d: a merge key (<<) beside %s: write it out", m.Line, key)
	}
	v := get(m, key)
	switch {
	case v == nil:
		v = &yaml.Node{Kind: kind}
		set(m, key, v)
	case v.Kind == yaml.AliasNode || v.Anchor != "":
		return nil, fmt.Errorf("line %d: %s is shared by an anchor: write it out", v.Line, key)
	case v.Kind != kind:
		return nil, fmt.Errorf("line %d: %s is no %s", v.Line, key, map[yaml.Kind]string{yaml.MappingNode: "map", yaml.SequenceNode: "list"}[kind])
	}
	return v, nil
}

// addKeys lays a mapping over the one that m has under a key.
func addKeys(m *yaml.Node, key string, more *yaml.Node) error {
	if more.Kind == 0 {
		return nil
	}
	v, err := child(m, key, yaml.MappingNode)
	if err != nil {
		return err
	}
	for i := 0; i < len(more.Content); i += 2 {
		set(v, more.Content[i].Value, more.Content[i+1])
	}
	return nil
}

// addItems puts items into the list that m has under a key: in place of the item of the same name, else at an end.
func addItems(m *yaml.Node, key, name string, more *yaml.Node, first bool) error {
	if more.Kind == 0 {
		return nil
	}
	list, err := child(m, key, yaml.SequenceNode)
	if err != nil {
		return err
	}
	var added []*yaml.Node
	for _, item := range more.Content {
		if i := indexOf(list, name, text(item, name)); i >= 0 {
			list.Content[i] = item
		} else {
			added = append(added, item)
		}
	}
	if first {
		list.Content = append(added, list.Content...)
	} else {
		list.Content = append(list.Content, added...)
	}
	return nil
}

func indexOf(list *yaml.Node, name, value string) int {
	for i, item := range list.Content {
		if text(item, name) == value {
			return i
		}
	}
	return -1
}

// same tells whether two values are written with the same words.
func same(a, b *yaml.Node) bool {
	if a == nil || b == nil || a.Kind != b.Kind || a.Value != b.Value || len(a.Content) != len(b.Content) {
		return a == b
	}
	for i := range a.Content {
		if !same(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}
