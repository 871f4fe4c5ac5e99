package kubernetes

import (
	"errors"
	"slices"
	"time"
	"unique"

	"google.golang.org/protobuf/encoding/protowire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/starlingmesh/starling/discovery"
)

// The objects of the API, with the fields that matter here. They are decoded
// from protobuf by hand, by the numbers of k8s.io/api's generated.proto, which
// never change: the package itself would add 5 MB to the binary, and would keep
// whole pods in memory while a list of thousands is read.

// slice is a discovery.k8s.io/v1 EndpointSlice.
type slice struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	addressType string
	ends        []endpoint // without what the slice says of all
	ports       []port
}

// pod is a v1 Pod.
type pod struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	phase string
	end   endpoint // without what the metadata say
	ports []port   // of all containers
}

type port struct {
	name, protocol string
	number         int32
}

type (
	sliceList struct {
		metav1.TypeMeta
		metav1.ListMeta

		Items []slice
	}
	podList struct {
		metav1.TypeMeta
		metav1.ListMeta

		Items []pod
	}
)

// visit is called for a field: with v, the content of a string or message, or
// with n, the value of a number.
type visit func(num protowire.Number, v []byte, n uint64) error

func eachField(data []byte, f visit) error {
	for len(data) > 0 {
		num, typ, size := protowire.ConsumeTag(data)
		if size < 0 {
			return protowire.ParseError(size)
		}
		data = data[size:]
		var v []byte
		var n uint64
		switch typ {
		case protowire.BytesType:
			v, size = protowire.ConsumeBytes(data)
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(data)
		default:
			size = protowire.ConsumeFieldValue(num, typ, data)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		data = data[size:]
		if err := f(num, v, n); err != nil {
			return err
		}
	}
	return nil
}

// Unmarshal reads a slice.
func (s *slice) Unmarshal(data []byte) error {
	return eachField(data, func(num protowire.Number, v []byte, _ uint64) error {
		switch num {
		case 1:
			return readMeta(v, &s.ObjectMeta)
		case 2:
			e, err := readEndpoint(v)
			s.ends = append(s.ends, e)
			return err
		case 3:
			p, err := readPort(v, 3, 2)
			s.ports = append(s.ports, p)
			return err
		case 4:
			s.addressType = string(v)
		}
		return nil
	})
}

func readEndpoint(data []byte) (e endpoint, err error) {
	var ips []string
	// "A nil value should be interpreted as true" for ready; serving then means
	// the same; nil terminating is false (EndpointConditions, discovery.k8s.io/v1).
	e.ready, e.terminating = discovery.Yes, discovery.No
	err = eachField(data, func(num protowire.Number, v []byte, _ uint64) error {
		switch num {
		case 1:
			ips = append(ips, string(v))
		case 2:
			return readConditions(v, &e)
		case 3:
			e.host = string(v)
		case 4:
			return readTarget(v, &e)
		case 6:
			e.node = same(v)
		case 7:
			e.zone = same(v)
		}
		return nil
	})
	e.addrs = addresses(ips)
	if e.serving == discovery.Unknown {
		e.serving = e.ready
	}
	return e, err
}

func readConditions(data []byte, e *endpoint) error {
	return eachField(data, func(num protowire.Number, _ []byte, n uint64) error {
		is := discovery.No
		if n != 0 {
			is = discovery.Yes
		}
		switch num {
		case 1:
			e.ready = is
		case 2:
			e.serving = is
		case 3:
			e.terminating = is
		}
		return nil
	})
}

// readTarget takes the pod behind an endpoint. It may be something else, or
// nothing, in slices that were not made for a selector.
func readTarget(data []byte, e *endpoint) error {
	var kind, name, uid string
	err := eachField(data, func(num protowire.Number, v []byte, _ uint64) error {
		switch num {
		case 1:
			kind = string(v)
		case 3:
			name = string(v)
		case 4:
			uid = string(v)
		}
		return nil
	})
	if kind == "Pod" {
		e.pod, e.key = name, uid
	}
	return err
}

func readPort(data []byte, number, protocol protowire.Number) (p port, err error) {
	err = eachField(data, func(num protowire.Number, v []byte, n uint64) error {
		switch num {
		case 1:
			p.name = string(v)
		case number:
			p.number = int32(n)
		case protocol:
			p.protocol = string(v)
		}
		return nil
	})
	return p, err
}

// Unmarshal reads a pod.
func (p *pod) Unmarshal(data []byte) error {
	p.end.ready, p.end.terminating = discovery.No, discovery.No
	return eachField(data, func(num protowire.Number, v []byte, _ uint64) error {
		switch num {
		case 1:
			return readMeta(v, &p.ObjectMeta)
		case 2:
			return p.readSpec(v)
		case 3:
			return p.readStatus(v)
		}
		return nil
	})
}

func (p *pod) readSpec(data []byte) error {
	return eachField(data, func(num protowire.Number, v []byte, _ uint64) error {
		switch num {
		case 2, 20: // containers, init containers: a sidecar may be one of these
			return eachField(v, func(num protowire.Number, v []byte, _ uint64) error {
				if num != 6 {
					return nil
				}
				port, err := readPort(v, 3, 4)
				p.ports = append(p.ports, port)
				return err
			})
		case 10:
			p.end.node = same(v)
		case 16:
			p.end.host = string(v)
		case 17:
			p.end.service = same(v)
		}
		return nil
	})
}

func (p *pod) readStatus(data []byte) error {
	var first string
	var ips []string
	err := eachField(data, func(num protowire.Number, v []byte, _ uint64) error {
		switch num {
		case 1:
			p.phase = string(v)
		case 2:
			return p.readCondition(v)
		case 6:
			first = string(v)
		case 12:
			return eachField(v, func(num protowire.Number, v []byte, _ uint64) error {
				if num == 1 {
					ips = append(ips, string(v))
				}
				return nil
			})
		}
		return nil
	})
	if len(ips) == 0 {
		ips = []string{first}
	}
	p.end.addrs = addresses(ips)
	p.end.serving = p.end.ready
	return err
}

func (p *pod) readCondition(data []byte) error {
	var typ, status string
	err := eachField(data, func(num protowire.Number, v []byte, _ uint64) error {
		switch num {
		case 1:
			typ = string(v)
		case 2:
			status = string(v)
		}
		return nil
	})
	if typ == "Ready" && status == "True" {
		p.end.ready = discovery.Yes
	}
	return err
}

// The metadata that are kept of an object, beside its names.
var keptLabels = []string{labelService, labelPodHash, labelCtrlHash, labelZone}

func readMeta(data []byte, m *metav1.ObjectMeta) error {
	return eachField(data, func(num protowire.Number, v []byte, _ uint64) error {
		switch num {
		case 1:
			m.Name = string(v)
		case 3:
			m.Namespace = same(v)
		case 5:
			m.UID = types.UID(v)
		case 6:
			m.ResourceVersion = string(v)
		case 9:
			m.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} // that there is one is enough
		case 11:
			return readPair(v, &m.Labels, keptLabels)
		case 12: // marks the end of a streamed list
			return readPair(v, &m.Annotations, []string{metav1.InitialEventsAnnotationKey})
		}
		return nil
	})
}

func readPair(data []byte, into *map[string]string, keep []string) error {
	var name, value string
	err := eachField(data, func(num protowire.Number, v []byte, _ uint64) error {
		switch num {
		case 1:
			name = string(v)
		case 2:
			value = same(v)
		}
		return nil
	})
	if slices.Contains(keep, name) {
		if *into == nil {
			*into = map[string]string{}
		}
		(*into)[name] = value
	}
	return err
}

// Unmarshal reads a list.
func (l *sliceList) Unmarshal(data []byte) error {
	return readList(data, &l.ListMeta, func(v []byte) error {
		l.Items = append(l.Items, slice{})
		return l.Items[len(l.Items)-1].Unmarshal(v)
	})
}

// Unmarshal reads a list.
func (l *podList) Unmarshal(data []byte) error {
	return readList(data, &l.ListMeta, func(v []byte) error {
		l.Items = append(l.Items, pod{})
		return l.Items[len(l.Items)-1].Unmarshal(v)
	})
}

func readList(data []byte, m *metav1.ListMeta, item func([]byte) error) error {
	return eachField(data, func(num protowire.Number, v []byte, _ uint64) error {
		switch num {
		case 1:
			return eachField(v, func(num protowire.Number, v []byte, _ uint64) error {
				switch num {
				case 2:
					m.ResourceVersion = string(v)
				case 3:
					m.Continue = string(v)
				}
				return nil
			})
		case 2:
			return item(v)
		}
		return nil
	})
}

// same holds a string that thousands of endpoints share only once.
func same(v []byte) string { return unique.Make(string(v)).Value() }

// errJSON: without names for its fields, JSON would make an empty object.
var errJSON = errors.New("the API server answered in JSON; protobuf was asked for")

// What package runtime wants of objects. None is ever copied.

func (s *slice) Reset()                             { *s = slice{} }
func (p *pod) Reset()                               { *p = pod{} }
func (l *sliceList) Reset()                         { *l = sliceList{} }
func (l *podList) Reset()                           { *l = podList{} }
func (s *slice) UnmarshalJSON([]byte) error         { return errJSON }
func (p *pod) UnmarshalJSON([]byte) error           { return errJSON }
func (l *sliceList) UnmarshalJSON([]byte) error     { return errJSON }
func (l *podList) UnmarshalJSON([]byte) error       { return errJSON }
func (s *slice) DeepCopyObject() runtime.Object     { c := *s; return &c }
func (p *pod) DeepCopyObject() runtime.Object       { c := *p; return &c }
func (l *sliceList) DeepCopyObject() runtime.Object { c := *l; return &c }
func (l *podList) DeepCopyObject() runtime.Object   { c := *l; return &c }
