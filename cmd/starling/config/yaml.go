package config

// The only file that names the YAML library, which is archived: its successors keep this interface, so that a change is
// the one line below.
import yaml "gopkg.in/yaml.v3"

type node = yaml.Node

const (
	mapping  = yaml.MappingNode
	sequence = yaml.SequenceNode
	scalar   = yaml.ScalarNode
	alias    = yaml.AliasNode
)

// parseYAML reads one document. No document gives nil.
func parseYAML(text []byte) (*node, error) {
	var doc node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	return doc.Content[0], nil
}

// UnmarshalYAML reads what all kinds share, then the keys of this kind. Unknown keys have been reported before.
func (s *Source) UnmarshalYAML(n *node) error {
	type shared Source
	var head struct {
		Kind string `yaml:"kind"`
	}
	if err := n.Decode(&head); err != nil {
		return err
	}
	k, ok := kind(head.Kind)
	if !ok {
		return nil
	}
	*s = newSource(k)
	if err := n.Decode((*shared)(s)); err != nil {
		return err
	}
	return n.Decode(s.Options)
}

// writeYAML is a value as YAML in one line, for documentation and errors.
func writeYAML(v any) string {
	var n node
	if err := n.Encode(v); err != nil {
		return "?"
	}
	flow(&n)
	text, err := yaml.Marshal(&n)
	if err != nil {
		return "?"
	}
	return string(text[:len(text)-1])
}

func flow(n *node) {
	n.Style |= yaml.FlowStyle
	for _, c := range n.Content {
		flow(c)
	}
}
