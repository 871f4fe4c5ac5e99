package config

import "time"

// Source is one way to find addresses: a kind, what all kinds share, and the kind's own keys beside them.
type Source struct {
	// Which strategy: static, dns or file.
	Kind string `yaml:"kind" oneof:"static,dns,file"`
	// What logs and metrics call it. Empty means the kind; two sources of one kind need names.
	Name string `yaml:"name" eg:"seeds"`
	// When an address that the source no longer lists is forgotten. two-signal: when the overlay does not see it either;
	// source: at once; never: not at all.
	Removal string `yaml:"removal" oneof:"two-signal,source,never"`

	// Options are *Static, *DNS or *File: the keys of this kind.
	Options any `yaml:"-"`
}

// Static is a list of addresses. Names are looked up again and again.
type Static struct {
	// host:port of one or more sidecars. Not all are needed: three that are usually there suffice.
	Contacts []string `yaml:"contacts" eg:"[cart-0.example:7827, cart-1.example:7827]"`
	// How often names are looked up. Literal addresses never are.
	Every time.Duration `yaml:"every" range:"1s..24h"`
}

// DNS asks name servers for A, AAAA or SRV records.
type DNS struct {
	// The names to ask for.
	Names []string `yaml:"names" eg:"[cart.shop.svc.cluster.local]"`
	// auto asks for SRV when a name begins with an underscore, else for A and AAAA.
	Type string `yaml:"type" oneof:"auto,a,aaaa,srv"`
	// The port of addresses that come without one: SRV records have their own.
	Port int `yaml:"port" range:"1..65535"`
	// Servers to ask, host:port. Empty means those of /etc/resolv.conf, read again when it changes.
	Nameservers []string `yaml:"nameservers" eg:"[10.96.0.10:53]"`
	// How to ask. A truncated udp answer is always asked for again by tcp.
	Transport string `yaml:"transport" oneof:"udp,tcp,tls"`
	// Wait for one answer.
	Timeout time.Duration `yaml:"timeout" range:"100ms..30s"`
	// Tries per server.
	Attempts int `yaml:"attempts" range:"1..10"`
	// Ask at least so often, whatever the records' TTL.
	MaxRefresh time.Duration `yaml:"max_refresh" range:"1s..24h"`
	// And at most so often.
	MinRefresh time.Duration `yaml:"min_refresh" range:"1s..1h"`
}

// File reads addresses from a file: a plain list, or Prometheus' file_sd in JSON or YAML.
type File struct {
	// The file. A replaced or swapped file is noticed; one that cannot be read keeps what is known.
	Path string `yaml:"path" eg:"/etc/starling/contacts"`
	// How often to look at it.
	Every time.Duration `yaml:"every" range:"100ms..1h"`
}

// Kinds are the kinds of sources in the order of their documentation, each with its keys at their defaults.
var Kinds = []Kind{
	{"static", func() any { return &Static{Every: 30 * time.Second} }},
	{"dns", func() any {
		return &DNS{
			Type: "auto", Port: 7827, Transport: "udp", Timeout: 2 * time.Second, Attempts: 2,
			MaxRefresh: 30 * time.Second, MinRefresh: 5 * time.Second,
		}
	}},
	{"file", func() any { return &File{Every: time.Second} }},
}

// Kind is one kind of source.
type Kind struct {
	Name     string
	Defaults func() any // a new Static, DNS or File
}

// kind finds a kind by its name.
func kind(name string) (Kind, bool) {
	for _, k := range Kinds {
		if k.Name == name {
			return k, true
		}
	}
	return Kind{}, false
}

// newSource is a source of a kind at its defaults.
func newSource(k Kind) Source {
	return Source{Kind: k.Name, Removal: "two-signal", Options: k.Defaults()}
}
