package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
)

// A Problem is one thing that is wrong with a configuration, and what to do about it.
type Problem struct {
	File string
	Line int // 0 if the trouble is what is missing
	Key  string
	What string
}

// String is the problem with its place.
func (p Problem) String() string {
	where := p.File
	if p.Line > 0 {
		where = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	if p.Key != "" {
		where += ": " + p.Key
	}
	return where + ": " + p.What
}

// Problems are all that is wrong, in the order of the file.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, 0, len(ps))
	for _, p := range ps {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

// Load reads and validates a file; "-" is standard input. The error is Problems if the file could be read.
func Load(file string) (Config, error) {
	text, err := read(file)
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	c, err := Parse(file, text)
	if err != nil {
		return Config{}, err
	}
	return c, c.Validate(file)
}

func read(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(file)
}

// Parse reads a configuration strictly over the defaults: keys, types and ranges. What must be given, and what fits
// together, is Validate's.
func Parse(file string, text []byte) (Config, error) {
	c := Default()
	root, err := parseYAML(text)
	if err != nil {
		return Config{}, Problems{{File: file, What: strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	if root == nil {
		return c, nil
	}
	s := strict{file: file, env: os.LookupEnv, readFile: os.ReadFile}
	s.check(root, reflect.TypeFor[Config](), "", "")
	if len(s.problems) > 0 {
		return Config{}, s.problems
	}
	if err := root.Decode(&c); err != nil {
		return Config{}, Problems{{File: file, What: err.Error()}}
	}
	return c, nil
}

// IsProblem tells whether an error is about what a configuration says.
func IsProblem(err error) bool {
	var ps Problems
	return errors.As(err, &ps)
}
