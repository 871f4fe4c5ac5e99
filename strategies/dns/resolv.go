package dns

import (
	"errors"
	"os"
	"strings"

	"github.com/miekg/dns"

	"github.com/starlingmesh/starling/discovery"
)

// resolver is whom to ask, and where to look for names.
type resolver struct {
	servers []string // "ip:port"
	search  []string
	ndots   int
}

// readResolv returns what the configuration says, completed by resolv.conf.
func readResolv(cfg Config) (resolver, error) {
	port := "53"
	if cfg.Transport == tls {
		port = "853"
	}
	r := resolver{search: cfg.Search, ndots: max(cfg.Ndots, 1)}
	if cfg.Ndots == 0 {
		r.ndots = 0
	}
	servers := cfg.Nameservers
	if cfg.ResolvConf != "" && (len(servers) == 0 || len(cfg.Search) == 0 || cfg.Ndots < 0) {
		conf, err := dns.ClientConfigFromFile(cfg.ResolvConf)
		if err != nil && (len(servers) == 0 || !errors.Is(err, os.ErrNotExist)) {
			return r, discovery.Classed(discovery.Misconfigured, "read the resolver's configuration: %w", err)
		}
		if err == nil {
			servers = orElse(servers, conf.Servers)
			r.search = orElse(r.search, conf.Search)
			if cfg.Ndots < 0 {
				r.ndots = conf.Ndots
			}
		}
	}
	for _, s := range servers {
		if addr, err := serverAddr(s, port); err == nil {
			r.servers = append(r.servers, addr)
		}
	}
	if len(r.servers) == 0 {
		return r, discovery.Classed(discovery.Misconfigured, "no nameserver in %s", cfg.ResolvConf)
	}
	return r, nil
}

func orElse(a, b []string) []string {
	if len(a) > 0 {
		return a
	}
	return b
}

// names returns the absolute names to try for name, in order (resolv.conf(5)).
func (r resolver) names(name string) []string {
	if strings.HasSuffix(name, ".") {
		return []string{name}
	}
	var searched []string
	for _, domain := range r.search {
		if full := dns.Fqdn(name + "." + strings.Trim(domain, ".")); len(full) <= 254 {
			searched = append(searched, full)
		}
	}
	if strings.Count(name, ".") >= r.ndots {
		return append([]string{name + "."}, searched...)
	}
	return append(searched, name+".")
}
