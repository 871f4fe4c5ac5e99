package config

import (
	"time"

	"github.com/starlingmesh/starling/strategies/file"
)

// File reads addresses from a file: a plain list, or Prometheus' file_sd in JSON or YAML. One that cannot be read changes
// nothing.
type File struct {
	// The file. A renamed or swapped one is noticed.
	Path string `yaml:"path" eg:"/etc/starling/contacts"`
	// auto goes by the name: .json, .yaml, .yml, else a list of addresses between blanks or line ends.
	Format string `yaml:"format" oneof:"auto,json,yaml,list"`
	// Of addresses that the file gives no port.
	Port int `yaml:"port" range:"1..65535"`
	// How often to read it.
	Refresh time.Duration `yaml:"refresh" range:"100ms..1h"`
	// Whether the file lists everybody, so that who is taken out of it is withdrawn.
	Complete bool `yaml:"complete"`
}

// Validate is the strategy's own word.
func (o *File) Validate() error { return file.Config(*o).Validate() }

func defaultFile() Options {
	o := File(file.Default())
	o.Port = defaultPort
	return &o
}
