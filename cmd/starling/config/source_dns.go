package config

import (
	"time"

	"github.com/starlingmesh/starling/strategies/dns"
)

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
	// How long a node is offered that samples, or answers that were cut short, no longer show. Too short: with many
	// nodes and small samples, living ones expire.
	Keep time.Duration `yaml:"keep" range:"1s..168h"`
}

// Validate is the strategy's own word.
func (o *DNS) Validate() error { return dns.Config(*o).Validate() }

func defaultDNS() Options {
	o := DNS(dns.Default())
	o.Port = defaultPort
	return &o
}
