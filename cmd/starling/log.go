package main

import (
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/starlingmesh/starling/cmd/starling/config"
)

// A logger is a slog.Logger whose level can be changed while it runs.
type logger struct {
	*slog.Logger
	level *slog.LevelVar
}

func newLogger(w io.Writer, c config.Log) logger {
	l := logger{level: new(slog.LevelVar)}
	if _, err := l.setLevel(c.Level); err != nil {
		panic(err) // the configuration was checked
	}
	options := &slog.HandlerOptions{Level: l.level}
	if c.Format == "json" {
		l.Logger = slog.New(slog.NewJSONHandler(w, options))
	} else {
		l.Logger = slog.New(slog.NewTextHandler(w, options))
	}
	return l
}

// setLevel takes debug, info, warn or error and returns the level before.
func (l logger) setLevel(name string) (before string, err error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(name)); err != nil {
		return "", fmt.Errorf("log level %q: there are debug, info, warn and error", name)
	}
	before = strings.ToLower(l.level.Level().String())
	l.level.Set(level)
	return before, nil
}
