package charttest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// Readme is the chart's README: readme.tmpl, with the table of the values and with files of the example chart, so that what it
// shows is what is tested.
func Readme(values []Value, charts string) (string, error) {
	funcs := template.FuncMap{
		"values": func() string { return table(values) },
		"file": func(name string) (string, error) {
			text, err := os.ReadFile(filepath.Join(charts, name))
			return strings.TrimSpace(string(text)), err
		},
	}
	t, err := template.New("readme.tmpl").Delims("[[", "]]").Funcs(funcs).ParseFiles("readme.tmpl")
	if err != nil {
		return "", fmt.Errorf("read the README's template: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, nil); err != nil {
		return "", fmt.Errorf("write the README: %w", err)
	}
	return b.String(), nil
}

func table(values []Value) string {
	var b strings.Builder
	b.WriteString("| value | default | meaning |\n|---|---|---|\n")
	rows(&b, values)
	return strings.TrimSpace(b.String())
}

func rows(b *strings.Builder, values []Value) {
	cell := strings.NewReplacer("|", "\\|", "\n", " ")
	for _, v := range values {
		if v.Children != nil {
			rows(b, v.Children)
			continue
		}
		doc := v.Doc
		if choices, ok := v.Schema["enum"].([]any); ok {
			doc += fmt.Sprintf(" (%s)", strings.Trim(strings.ReplaceAll(fmt.Sprint(choices), " ", ", "), "[]"))
		}
		fmt.Fprintf(b, "| `%s` | `%s` | %s |\n", v.Path, cell.Replace(v.Default), cell.Replace(strings.TrimSpace(doc)))
	}
}
