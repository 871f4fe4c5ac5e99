package config

import (
	"time"

	"github.com/starlingmesh/starling/strategies/exec"
)

// Exec runs a program that prints addresses, e.g. a cloud's command line: HashiCorp's go-netaddrs contract, or Prometheus'
// target groups. A run that fails changes nothing.
type Exec struct {
	// The program and its words. No shell reads it; for one write [sh, -c, "..."].
	Command []string `yaml:"command" eg:"[/usr/local/bin/peers, --tag, cart]"`
	// Variables that the program finds beside PATH, HOME, TMPDIR, LANG and TZ; nothing else of the sidecar's own is handed
	// on. They are not shown anywhere.
	Environment map[string]string `yaml:"environment" json:"-" eg:"{AWS_REGION: eu-west-1}"`
	// auto takes what begins like JSON for it, else for a list of addresses between blanks or line ends.
	Format string `yaml:"format" oneof:"auto,json,yaml,list"`
	// Of addresses that are printed without one.
	Port int `yaml:"port" range:"1..65535"`
	// How often it is run.
	Refresh time.Duration `yaml:"refresh" range:"1s..1h"`
	// After so long the program is killed, with all that it started.
	Timeout time.Duration `yaml:"timeout" range:"100ms..5m"`
	// Whether the output lists everybody, so that who is no longer in it is withdrawn.
	Complete bool `yaml:"complete"`
}

// Validate is the strategy's own word.
func (o *Exec) Validate() error { return exec.Config(*o).Validate() }

func defaultExec() Options {
	o := Exec(exec.Default())
	o.Port = defaultPort
	return &o
}
