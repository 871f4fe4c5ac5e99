package local

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// strictJSON is connect's JSON codec with unknown fields refused by name and
// default values written, so that a reader sees every field there is.
type strictJSON struct{ name string }

// Name of the codec, as it stands in the content type.
func (c strictJSON) Name() string { return c.name }

// Marshal writes the message and ends the line, for terminals.
func (strictJSON) Marshal(v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is no protobuf message", v)
	}
	out, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
	return append(out, '\n'), err
}

// Unmarshal reads the message.
func (strictJSON) Unmarshal(data []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is no protobuf message", v)
	}
	if len(data) == 0 {
		return nil // an empty body is an empty request
	}
	if err := protojson.Unmarshal(data, m); err != nil {
		d := m.ProtoReflect().Descriptor()
		return fmt.Errorf("%w; %s has: %s", err, d.Name(), fieldsOf(d))
	}
	return nil
}

// fieldsOf lists the JSON names of a message's fields.
func fieldsOf(d protoreflect.MessageDescriptor) string {
	if d.Fields().Len() == 0 {
		return "no fields"
	}
	var names []string
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		name := f.JSONName()
		if f.Message() != nil && f.Message().FullName() == "starling.v1.Payload" {
			name += " {text | data (base64) | json, contentType}"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}
