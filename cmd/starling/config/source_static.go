package config

import (
	"time"

	"github.com/starlingmesh/starling/strategies/static"
)

// Static is a list of addresses. Names in it are looked up again and again; nothing written down is ever withdrawn.
type Static struct {
	// host:port of one or more sidecars. Not all are needed: three that are usually there suffice.
	Contacts []string `yaml:"contacts" eg:"[cart-0.example:7827, cart-1.example:7827]"`
	// How often names are looked up. Longer: a contact that moved is missed; shorter: load on the resolver.
	Refresh time.Duration `yaml:"refresh" range:"1s..1h"`
	// How long an address is kept that a name no longer has.
	Keep time.Duration `yaml:"keep" range:"1s..168h"`
}

// Validate is the strategy's own word.
func (o *Static) Validate() error { return static.Config(*o).Validate() }

func defaultStatic() Options {
	o := Static(static.Default())
	return &o
}
