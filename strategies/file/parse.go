package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/starlingmesh/starling/discovery"
)

// group is an element of Prometheus' file_sd format (prometheus.io/docs,
// configuration, file_sd_config).
type group struct {
	Targets []string          `json:"targets" yaml:"targets"`
	Labels  map[string]string `json:"labels" yaml:"labels"`
}

// parse returns the entries of a file. Errors say "file:line: what".
func parse(path, format string, data []byte) ([]discovery.Entry, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if format == Auto {
		switch strings.ToLower(filepath.Ext(path)) {
		case ".json":
			format = JSON
		case ".yaml", ".yml":
			format = YAML
		default:
			format = List
		}
	}
	var groups []group
	var err error
	switch format {
	case JSON:
		groups, err = parseJSON(path, data)
	case YAML:
		groups, err = parseYAML(path, data)
	case List:
		groups = parseList(data)
	default:
		panic("file: no such format: " + format)
	}
	if err != nil {
		return nil, err
	}
	return entries(path, data, groups)
}

func entries(path string, data []byte, groups []group) ([]discovery.Entry, error) {
	var all []discovery.Entry
	for _, g := range groups {
		for _, t := range g.Targets {
			if _, err := discovery.ParseAddr(t); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", path, lineOf(data, t), err)
			}
			if len(all) == targetsMax {
				return nil, fmt.Errorf("%s:%d: more than %d targets", path, lineOf(data, t), targetsMax)
			}
			all = append(all, discovery.Entry{Addr: t, Labels: maps.Clone(g.Labels)})
		}
	}
	return all, nil
}

func parseJSON(path string, data []byte) ([]group, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var groups []group
	err := dec.Decode(&groups)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is more after the list")
		}
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
		err, at = errors.New("the file ends too early"), int64(len(data))
	}
	return nil, fmt.Errorf("%s:%d: %w", path, lineAt(data, int(at)), err)
}

var yamlLine = regexp.MustCompile(`line (\d+): (.*)`)

func parseYAML(path string, data []byte) ([]group, error) {
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
		return nil, fmt.Errorf("%s:%s: %s", path, m[1], m[2])
	}
	return nil, fmt.Errorf("%s: %w", path, err)
}

func parseList(data []byte) []group {
	var g group
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			g.Targets = append(g.Targets, line)
		}
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
