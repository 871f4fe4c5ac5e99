package config

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// object is a JSON object on its way out.
type object = map[string]any

// Schema is the JSON schema of a configuration, for editors and CI.
func Schema() []byte {
	s := structSchema(reflect.TypeFor[Config](), nil)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Starling"
	s["description"] = docs()["Config"]
	s["required"] = []string{"cluster"}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // maps, slices and strings only
	}
	return append(text, '\n')
}

func structSchema(t reflect.Type, also object) object {
	properties := object{}
	maps.Copy(properties, also)
	for f := range t.Fields() {
		if name := f.Tag.Get("yaml"); name != "-" {
			p := typeSchema(f.Type, f.Tag)
			if doc := docs()[t.Name()+"."+f.Name]; doc != "" {
				p["description"] = doc
			}
			properties[name] = p
		}
	}
	return object{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
}

func typeSchema(t reflect.Type, tag reflect.StructTag) object {
	switch {
	case t == reflect.TypeFor[Source]():
		return sourceSchema()
	case t == reflect.TypeFor[time.Duration]():
		return object{"type": "string", "pattern": `^([0-9.]+(ns|us|ms|s|m|h))+$|^0$|\$\{`}
	case t == reflect.TypeFor[Size]():
		return object{"type": []string{"string", "integer"}, "pattern": `^[0-9]+ *([KMG]i)?B?$|\$\{`}
	case t.Kind() == reflect.Bool:
		return object{"type": []string{"boolean", "string"}}
	case t.Kind() == reflect.Int:
		return intSchema(tag)
	case t.Kind() == reflect.Slice:
		return object{"type": []string{"array", "null"}, "items": typeSchema(t.Elem(), "")}
	case t.Kind() == reflect.Map:
		return object{"type": []string{"object", "null"}, "additionalProperties": typeSchema(t.Elem(), "")}
	case t.Kind() == reflect.Struct:
		return structSchema(t, nil)
	case tag.Get("oneof") != "":
		return object{"enum": strings.Split(tag.Get("oneof"), ",")}
	default:
		return object{"type": "string"}
	}
}

func intSchema(tag reflect.StructTag) object {
	s := object{"type": "integer"}
	if low, high, ok := strings.Cut(tag.Get("range"), ".."); ok {
		s["minimum"], s["maximum"] = bound(reflect.TypeFor[int](), low), bound(reflect.TypeFor[int](), high)
	}
	return s
}

// sourceSchema is one alternative for each kind.
func sourceSchema() object {
	var kinds []object
	for _, k := range Kinds {
		shared := structSchema(reflect.TypeFor[Source](), nil)["properties"].(object) //nolint:forcetypeassert // made three lines above
		shared["kind"] = object{"const": k.Name}
		s := structSchema(reflect.TypeOf(k.Defaults()).Elem(), shared)
		s["required"] = []string{"kind"}
		kinds = append(kinds, s)
	}
	return object{"oneOf": slices.Clip(kinds)}
}
