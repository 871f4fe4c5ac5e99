// Package targets reads lists of addresses as other programs write them: Prometheus' target groups in JSON or YAML, and plain
// lists. It reads bytes that somebody else has fetched, resolves no name, and takes either all of a list or none of it.
package targets

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/starlingmesh/starling/discovery"
)

// The formats of a list.
const (
	Auto = "auto" // as the strategy can tell: by the file's name, by the answer's type
	JSON = "json" // Prometheus' file_sd and http_sd: [{"targets": ["host:port"], "labels": {"zone": "a"}}]
	YAML = "yaml" // the same
	List = "list" // addresses between blanks or line ends, # begins a comment
)

// Max is how many addresses a list may have.
const Max = 16384

// CheckFormat says what is wrong with a format, as in a configuration's errors.
func CheckFormat(format string) error {
	switch format {
	case Auto, JSON, YAML, List:
		return nil
	default:
		return fmt.Errorf("format: %q is none of auto, json, yaml, list", format)
	}
}

// CheckPort says what is wrong with the port of addresses without one.
func CheckPort(port int) error {
	if port < 1 || port > 65535 {
		return fmt.Errorf("port: %d is not within 1 and 65535", port)
	}
	return nil
}

// OfName is the format that a file's name tells: .json, .yaml, .yml, else a list.
func OfName(path string) string {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".json":
		return JSON
	case ".yaml", ".yml":
		return YAML
	default:
		return List
	}
}

// group is an element of Prometheus' file_sd format (prometheus.io/docs, configuration, file_sd_config).
type group struct {
	Targets []string          `json:"targets" yaml:"targets"`
	Labels  map[string]string `json:"labels" yaml:"labels"`
}

// Parse returns the entries of a list in JSON, YAML or List; port is that of addresses without one. An address that makes no
// sense is an error for all of it: who wrote it may have written others wrongly, too. Errors say "where:line: what".
func Parse(where, format string, port int, data []byte) ([]discovery.Entry, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var groups []group
	var err error
	switch format {
	case JSON:
		groups, err = parseJSON(where, data)
	case YAML:
		groups, err = parseYAML(where, data)
	case List:
		groups = parseList(data)
	default:
		panic("targets: no such format: " + format)
	}
	if err != nil {
		return nil, err
	}
	return entries(where, port, data, groups)
}

func entries(where string, port int, data []byte, groups []group) ([]discovery.Entry, error) {
	var all []discovery.Entry
	for _, g := range groups {
		for _, t := range g.Targets {
			addr, err := discovery.ParseAddr(withPort(t, port))
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %w", where, lineOf(data, t), err)
			}
			if len(all) == Max {
				return nil, fmt.Errorf("%s:%d: more than %d targets", where, lineOf(data, t), Max)
			}
			all = append(all, discovery.Entry{Addr: addr, Labels: maps.Clone(g.Labels)})
		}
	}
	return all, nil
}

// withPort adds the port to an address without one: 10.0.0.1, fd00::1, [fd00::1] or a name.
func withPort(s string, port int) string {
	bare := strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	if _, err := netip.ParseAddr(bare); err == nil || s != "" && !strings.ContainsAny(s, ":[]") {
		return net.JoinHostPort(bare, strconv.Itoa(port))
	}
	return s
}

func parseJSON(where string, data []byte) ([]group, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var groups []group
	err := dec.Decode(&groups)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is more after the list")
		}
	}
	if err == nil && groups == nil {
		err = errors.New("null is no list; an empty one is []")
	}
	if err == nil {
		return groups, nil
	}
	at := dec.InputOffset()
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		at = syntax.Offset
	case errors.As(err, &kind):
		at = kind.Offset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err, at = errors.New("the list ends too early"), int64(len(data))
	}
	return nil, fmt.Errorf("%s:%d: %w", where, lineAt(data, int(at)), err)
}

var yamlLine = regexp.MustCompile(`line (\d+): (.*)`)

func parseYAML(where string, data []byte) ([]group, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	var groups []group
	err := dec.Decode(&groups)
	switch {
	case errors.Is(err, io.EOF): // nothing but comments: an empty list
		return nil, nil
	case err == nil:
		return groups, nil
	}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		return nil, fmt.Errorf("%s:%s: %s", where, m[1], m[2])
	}
	return nil, fmt.Errorf("%s: %w", where, err)
}

func parseList(data []byte) []group {
	var g group
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		g.Targets = append(g.Targets, strings.Fields(line)...)
	}
	return []group{g}
}

// lineOf returns the first line that has target in it outside a comment.
func lineOf(data []byte, target string) int {
	for n, from := 1, data; ; n++ {
		line, rest, more := bytes.Cut(from, []byte("\n"))
		at := bytes.Index(line, []byte(target))
		if hash := bytes.IndexByte(line, '#'); at >= 0 && (hash < 0 || at < hash || target == "") {
			return n
		}
		if !more {
			return 1
		}
		from = rest
	}
}

func lineAt(data []byte, offset int) int {
	return 1 + bytes.Count(data[:min(max(offset, 0), len(data))], []byte("\n"))
}
