package config

import (
	"time"

	"github.com/starlingmesh/starling/strategies/dns"
	"github.com/starlingmesh/starling/strategies/file"
	"github.com/starlingmesh/starling/strategies/static"
)

// Source is one way to find addresses: a kind, what all kinds share, and the kind's own keys beside them.
type Source struct {
	// Which strategy: static, dns or file.
	Kind string `yaml:"kind" oneof:"static,dns,file"`
	// What logs and metrics call it. Empty means the kind; two sources of one kind need names.
	Name string `yaml:"name" eg:"seeds"`
	// When an address that the source no longer lists is forgotten. two-signal: when the overlay does not see it either;
	// source: once the grace is over; never: not at all.
	Removal string `yaml:"removal" oneof:"two-signal,source,never"`

	// Options are *Static, *DNS or *File: the keys of this kind.
	Options Options `yaml:"-"`
}

// Options are the keys of one kind of source. Each type has the fields of its strategy's Config, in that order: the
// conversion beside it does not compile when one is forgotten.
type Options interface{ Validate() error }

// Static is a list of addresses. Names in it are looked up again and again; nothing written down is ever withdrawn.
type Static struct {
	// host:port of one or more sidecars. Not all are needed: three that are usually there suffice.
	Contacts []string `yaml:"contacts" eg:"[cart-0.example:7827, cart-1.example:7827]"`
	// How often names are looked up. Longer: a contact that moved is missed; shorter: load on the resolver.
	Refresh time.Duration `yaml:"refresh" range:"1s..1h"`
	// How long an address is kept that a name no longer has.
	Keep time.Duration `yaml:"keep" range:"1s..168h"`
}

// DNS asks name servers for A, AAAA or SRV records. A failure or a truncated answer withdraws nobody.
type DNS struct {
	// The names to ask for. One that ends in a dot is not searched for.
	Names []string `yaml:"names" eg:"[cart.shop.svc.cluster.local]"`
	// auto asks for SRV when a name begins with an underscore, else for A and AAAA.
	Type string `yaml:"type" oneof:"auto,a,aaaa,srv"`
	// The port of the sidecars behind A and AAAA records; SRV records have their own.
	Port int `yaml:"port" range:"1..65535"`
	// Servers to ask, ip or ip:port, in this order. Empty means those of resolv_conf.
	Nameservers []string `yaml:"nameservers" eg:"[10.96.0.10]"`
	// Read again before each round.
	ResolvConf string `yaml:"resolv_conf"`
	// Domains to try names in. Empty means those of resolv_conf.
	Search []string `yaml:"search" eg:"[shop.svc.cluster.local]"`
	// A name with fewer dots is tried in the search domains first. -1 means what resolv_conf says.
	Ndots int `yaml:"ndots" range:"-1..15"`
	// How to ask. A udp answer that was cut short is asked for again by tcp.
	Transport string `yaml:"transport" oneof:"udp,tcp,tls"`
	// With tls: the name the servers' certificates must have. Empty means the server's address.
	TLSName string `yaml:"tls_name" eg:"dns.example"`
	// With tls: a PEM file with the authorities that may have signed those certificates. Empty means the system's.
	TLSCA string `yaml:"tls_ca" eg:"/etc/ssl/dns-ca.pem"`
	// Wait for one answer of one server.
	Timeout time.Duration `yaml:"timeout" range:"50ms..30s"`
	// How often all servers are tried.
	Attempts int `yaml:"attempts" range:"1..10"`
	// How many bytes over udp are offered to be taken; 1232 fits a packet that no IPv6 link breaks up, 0 offers nothing.
	EDNSSize int `yaml:"edns_size" range:"0..4096"`
	// Ask every server and take all answers together, for servers that know different halves.
	AllServers bool `yaml:"all_servers"`
	// Ask at most so often, however short the records' TTL.
	MinRefresh time.Duration `yaml:"min_refresh" range:"10ms..1h"`
	// And at least so often, however long.
	MaxRefresh time.Duration `yaml:"max_refresh" range:"10ms..1h"`
	// Which addresses are taken; auto takes both, IPv4 first.
	Family string `yaml:"family" oneof:"auto,ipv4,ipv6"`
	// Whether an answer shows only some of the nodes at a time. auto watches whether answers vary as samples do.
	Sampling string `yaml:"sampling" oneof:"auto,always,never"`
	// How long a node of a sample is offered after it was last seen. Too short: with many nodes, living ones expire.
	SampleKeep time.Duration `yaml:"sample_keep" range:"1s..168h"`
}

// File reads addresses from a file: a plain list, or Prometheus' file_sd in JSON or YAML. One that cannot be read changes
// nothing.
type File struct {
	// The file. A renamed or swapped one is noticed.
	Path string `yaml:"path" eg:"/etc/starling/contacts"`
	// auto goes by the name: .json, .yaml, .yml, else a list with an address a line.
	Format string `yaml:"format" oneof:"auto,json,yaml,list"`
	// How often to read it.
	Refresh time.Duration `yaml:"refresh" range:"100ms..1h"`
	// Whether the file lists everybody, so that who is taken out of it is withdrawn.
	Complete bool `yaml:"complete"`
}

// Validate is the strategy's own word.
func (o *Static) Validate() error { return static.Config(*o).Validate() }

// Validate is the strategy's own word.
func (o *DNS) Validate() error { return dns.Config(*o).Validate() }

// Validate is the strategy's own word.
func (o *File) Validate() error { return file.Config(*o).Validate() }

// Kinds are the kinds of sources in the order of their documentation, each with its keys at their defaults.
var Kinds = []Kind{
	{"static", func() Options { o := Static(static.Default()); return &o }},
	{"dns", func() Options {
		o := DNS(dns.Default())
		o.Port = defaultPort
		return &o
	}},
	{"file", func() Options { o := File(file.Default()); return &o }},
}

// Kind is one kind of source.
type Kind struct {
	Name     string
	Defaults func() Options
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
