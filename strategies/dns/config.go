package dns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/starlingmesh/starling/discovery"
)

// Config says which names to ask whom for.
type Config struct {
	// Names (names, required, 1 to 64) are asked for together; who is under any
	// of them is a candidate. A name that ends in a dot is not searched for.
	Names []string `yaml:"names"`
	// Type (type, auto) is auto, a, aaaa or srv. auto: srv for names like
	// _mesh._tcp.example, else a and aaaa together.
	Type string `yaml:"type"`
	// Port (port, required unless all is srv) is where the nodes of a and aaaa
	// answers listen; srv answers carry theirs.
	Port int `yaml:"port"`

	// Nameservers (nameservers, empty = those of resolv_conf), "ip" or
	// "ip:port", are tried in this order.
	Nameservers []string `yaml:"nameservers"`
	// ResolvConf (resolv_conf, /etc/resolv.conf) is read again before each round.
	ResolvConf string `yaml:"resolv_conf"`
	// Search (search, empty = those of resolv_conf) are domains to try names in.
	Search []string `yaml:"search"`
	// Ndots (ndots, -1 = that of resolv_conf): a name with fewer dots is tried in
	// the search domains first.
	Ndots int `yaml:"ndots"`

	// Transport (transport, udp) is udp, tcp or tls. udp turns to tcp for an
	// answer that was cut short.
	Transport string `yaml:"transport"`
	// TLSName (tls_name, empty = the address of the server) is the name that the
	// servers' certificates must have; tls only.
	TLSName string `yaml:"tls_name"`
	// TLSCA (tls_ca, empty = the system's) is a PEM file with the authorities that
	// may have signed those certificates. They are always verified.
	TLSCA string `yaml:"tls_ca"`
	// Timeout (timeout, 2s, 50ms to 30s) is for one question to one server.
	Timeout time.Duration `yaml:"timeout"`
	// Attempts (attempts, 2, 1 to 10) is how often all servers are tried.
	Attempts int `yaml:"attempts"`
	// EDNSSize (edns_size, 1232 bytes, 0 or 512 to 4096) is how long an answer
	// over udp we offer to take; 1232 fits an IPv6 packet that no link breaks
	// up (DNS flag day 2020). 0 offers nothing.
	EDNSSize int `yaml:"edns_size"`
	// AllServers (all_servers, false) asks every server and takes all answers
	// together, for servers that know different halves.
	AllServers bool `yaml:"all_servers"`

	// MinRefresh and MaxRefresh (min_refresh, 2s; max_refresh, 30s) bound the
	// interval that the answers' TTL asks for. Below a second is for tests.
	MinRefresh time.Duration `yaml:"min_refresh"`
	MaxRefresh time.Duration `yaml:"max_refresh"`

	// Family (family, auto) is which addresses come first, or are taken at all:
	// auto (both, IPv4 first), ipv4 or ipv6 (only).
	Family string `yaml:"family"`
	// Sampling (sampling, auto): do answers show only some of the nodes at a
	// time? auto watches whether they vary as samples do; always; never.
	Sampling string `yaml:"sampling"`
	// Keep (keep, 15m, at least max_refresh) is for how long a node is offered
	// that answers no longer show while none of them is the whole: a sample, or
	// cut short. Too short: with many nodes and small samples, living ones
	// expire. The clock stands still while the servers fail.
	Keep time.Duration `yaml:"keep"`
}

const (
	namesMax = 64

	auto   = "auto"
	typeA  = "a"
	type4A = "aaaa"
	srv    = "srv"
	udp    = "udp"
	tcp    = "tcp"
	tls    = "tls"
	ipv4   = "ipv4"
	ipv6   = "ipv6"
	always = "always"
	never  = "never"
)

// Default returns the defaults; Names and Port have none.
func Default() Config {
	return Config{
		Type: auto, ResolvConf: "/etc/resolv.conf", Ndots: -1, Transport: udp,
		Timeout: 2 * time.Second, Attempts: 2, EDNSSize: 1232,
		MinRefresh: 2 * time.Second, MaxRefresh: 30 * time.Second,
		Family: auto, Sampling: auto, Keep: 15 * time.Minute,
	}
}

// Validate says what is wrong with c, naming its keys.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	oneOf := func(key, value string, values ...string) {
		check(slices.Contains(values, value), "%s: %q is none of %s", key, value, strings.Join(values, ", "))
	}
	check(len(c.Names) >= 1 && len(c.Names) <= namesMax, "names: %d entries, want 1 to %d", len(c.Names), namesMax)
	needPort := false
	for i, name := range c.Names {
		_, err := discovery.ParseAddr(net.JoinHostPort(strings.TrimSuffix(name, "."), "1"))
		_, ip := netip.ParseAddr(name)
		check(err == nil, "names[%d]: %q is not a domain name", i, name)
		check(ip != nil, "names[%d]: %q is an address, not a name; the static strategy takes it", i, name)
		needPort = needPort || c.typeOf(name) != srv
	}
	oneOf("type", c.Type, auto, typeA, type4A, srv)
	check(!needPort || c.Port >= 1 && c.Port <= 65535, "port: %d is not within 1 and 65535; a and aaaa answers carry no port", c.Port)
	for i, s := range c.Nameservers {
		_, err := serverAddr(s, "53")
		check(err == nil, "nameservers[%d]: %q is neither ip nor ip:port", i, s)
	}
	check(len(c.Nameservers) > 0 || c.ResolvConf != "", "resolv_conf: is empty, and nameservers too")
	check(c.Ndots >= -1 && c.Ndots <= 15, "ndots: %d is not within -1 and 15", c.Ndots)
	oneOf("transport", c.Transport, udp, tcp, tls)
	check(c.TLSName == "" || c.Transport == tls, "tls_name: is for transport tls only")
	check(c.TLSCA == "" || c.Transport == tls, "tls_ca: is for transport tls only")
	check(c.Timeout >= 50*time.Millisecond && c.Timeout <= 30*time.Second, "timeout: %v is not within 50ms and 30s", c.Timeout)
	check(c.Attempts >= 1 && c.Attempts <= 10, "attempts: %d is not within 1 and 10", c.Attempts)
	check(c.EDNSSize == 0 || c.EDNSSize >= 512 && c.EDNSSize <= 4096, "edns_size: %d is neither 0 nor within 512 and 4096", c.EDNSSize)
	check(c.MinRefresh >= 10*time.Millisecond, "min_refresh: %v is less than 10ms", c.MinRefresh)
	check(c.MaxRefresh >= c.MinRefresh && c.MaxRefresh <= time.Hour, "max_refresh: %v is not within min_refresh (%v) and 1h", c.MaxRefresh, c.MinRefresh)
	oneOf("family", c.Family, auto, ipv4, ipv6)
	oneOf("sampling", c.Sampling, auto, always, never)
	check(c.Keep >= c.MaxRefresh, "keep: %v is shorter than max_refresh (%v)", c.Keep, c.MaxRefresh)
	return errors.Join(errs...)
}

// typeOf returns a, aaaa, srv, or auto for a and aaaa together.
func (c Config) typeOf(name string) string {
	if c.Type == auto && strings.HasPrefix(name, "_") {
		return srv
	}
	return c.Type
}

// serverAddr completes "ip" or "ip:port".
func serverAddr(s, port string) (string, error) {
	if ip, err := netip.ParseAddr(s); err == nil {
		return net.JoinHostPort(ip.String(), port), nil
	}
	ap, err := netip.ParseAddrPort(s)
	return ap.String(), err
}
