package charttest

import (
	"encoding/json"
	"fmt"

	"github.com/starlingmesh/starling/cmd/starling/config"
)

// object is a JSON object on its way out.
type object = map[string]any

// Schema is values.schema.json: what Helm refuses. Nothing may be said that is not in values.yaml, and in config nothing that
// the agent would refuse.
func Schema(values []Value) (string, error) {
	agent, err := agentSchema()
	if err != nil {
		return "", err
	}
	s := sectionSchema(values, agent)
	s["$schema"] = "http://json-schema.org/draft-07/schema#"
	s["title"] = "Values of the Starling chart"
	s["properties"].(object)["global"] = object{"type": "object", "description": "Helm's own: what a chart shares with those it depends on."} //nolint:forcetypeassert // made by sectionSchema
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return "", fmt.Errorf("write the schema: %w", err)
	}
	return string(text) + "\n", nil
}

func sectionSchema(values []Value, agent object) object {
	properties := object{}
	for _, v := range values {
		switch {
		case v.Children != nil:
			properties[v.Name] = sectionSchema(v.Children, agent)
		case v.Schema["agent"] == true:
			properties[v.Name] = agent
		default:
			properties[v.Name] = v.Schema
		}
		if v.Doc != "" {
			properties[v.Name].(object)["description"] = v.Doc //nolint:forcetypeassert // all three are
		}
	}
	return object{"type": "object", "properties": properties, "additionalProperties": false}
}

// decided are the agent's keys that the chart writes itself, because probes, volumes and policies depend on them.
var decided = [][]string{
	{"cluster"}, {"listen"}, {"http"}, {"admin"}, {"security"}, {"api", "socket"},
}

// agentSchema is the agent's own schema of its configuration, without what the chart decides.
func agentSchema() (object, error) {
	var s object
	if err := json.Unmarshal(config.Schema(), &s); err != nil {
		return nil, fmt.Errorf("read the agent's schema: %w", err)
	}
	delete(s, "$schema")
	delete(s, "title")
	delete(s, "required")
	for _, path := range decided {
		in := s
		for i, key := range path {
			properties, ok := in["properties"].(object)
			if !ok || properties[key] == nil {
				return nil, fmt.Errorf("the agent has no key %v any more", path)
			}
			if i == len(path)-1 {
				delete(properties, key)
				break
			}
			in = properties[key].(object) //nolint:forcetypeassert // a schema
		}
	}
	return s, nil
}
