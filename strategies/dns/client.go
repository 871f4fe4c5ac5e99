package dns

import (
	"context"
	stdtls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/starlingmesh/starling/discovery"
)

// kind is what is asked for.
type kind uint16

const (
	kindA    = kind(dns.TypeA)
	kindAAAA = kind(dns.TypeAAAA)
	kindSRV  = kind(dns.TypeSRV)
)

func (k kind) String() string { return dns.TypeToString[uint16(k)] }

// answer is what one server said. Without addrs and srvs it is: no such name.
type answer struct {
	addrs []netip.Addr            // of the name
	srvs  []service               // of the name
	glue  map[string][]netip.Addr // of the services' targets
	ttl   time.Duration           // of the shortest-lived record
	part  bool                    // there is more that we could not get
	bare  bool                    // the name exists, without such records
	size  int                     // bytes
}

func (a answer) empty() bool { return len(a.addrs) == 0 && len(a.srvs) == 0 }

type service struct {
	target           string // lower case, without the last dot
	port             uint16
	priority, weight uint16
}

// client asks one server one question. An error means that the server could not
// or would not say; "no such name" is an empty answer. It is the one place that
// knows the library.
type client interface {
	ask(ctx context.Context, server, name string, k kind) (answer, error)
}

type miekg struct {
	transport string
	tlsName   string
	roots     *x509.CertPool // nil: the system's
	timeout   time.Duration
	edns      int
}

func newClient(cfg Config) (*miekg, error) {
	m := &miekg{transport: cfg.Transport, tlsName: cfg.TLSName, timeout: cfg.Timeout, edns: cfg.EDNSSize}
	if cfg.TLSCA == "" {
		return m, nil
	}
	pem, err := os.ReadFile(cfg.TLSCA)
	if err != nil {
		return nil, fmt.Errorf("tls_ca: %w", err)
	}
	m.roots = x509.NewCertPool()
	if !m.roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("tls_ca: %s holds no certificate in PEM", cfg.TLSCA)
	}
	return m, nil
}

func (m *miekg) ask(ctx context.Context, server, name string, k kind) (answer, error) {
	q := new(dns.Msg)
	q.SetQuestion(name, uint16(k))
	if m.edns > 0 {
		q.SetEdns0(uint16(m.edns), false)
	}
	reply, err := m.exchange(ctx, server, q, m.transport)
	if err == nil && reply.Rcode == dns.RcodeFormatError && m.edns > 0 {
		// A server from before EDNS (RFC 6891, 7) is asked without it.
		q.Extra = nil
		reply, err = m.exchange(ctx, server, q, m.transport)
	}
	cut := false
	if err == nil && reply.Truncated && m.transport == udp {
		// The library does not do this for us. "the client SHOULD ... retry using
		// TCP" (RFC 7766, 5). What was cut short is a part, not the answer.
		whole, tcpErr := m.exchange(ctx, server, q, tcp)
		if cut = tcpErr != nil || whole.Rcode != reply.Rcode; !cut {
			reply = whole
		}
	}
	if err != nil {
		return answer{}, fmt.Errorf("ask %s for %s %s: %w", server, k, name, err)
	}
	a, err := read(reply, name, k)
	if err != nil {
		return answer{}, fmt.Errorf("ask %s for %s %s: %w", server, k, name, err)
	}
	a.part = a.part || cut || reply.Truncated
	if a.part && a.empty() {
		return answer{}, fmt.Errorf("ask %s for %s %s: the answer was cut short to nothing, and tcp does not work", server, k, name)
	}
	return a, nil
}

func (m *miekg) exchange(ctx context.Context, server string, q *dns.Msg, transport string) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	c := &dns.Client{Net: transport, Timeout: m.timeout}
	switch transport {
	case udp:
		c.UDPSize = uint16(max(m.edns, dns.MinMsgSize))
	case tls:
		c.Net = "tcp-tls"
		name := m.tlsName
		if name == "" {
			name = netip.MustParseAddrPort(server).Addr().String()
		}
		c.TLSConfig = &stdtls.Config{ServerName: name, RootCAs: m.roots, MinVersion: stdtls.VersionTLS12}
	}
	reply, _, err := c.ExchangeContext(ctx, q, server)
	if err != nil && reply != nil && reply.Truncated {
		return reply, nil // cut in the middle of a record: tcp will tell
	}
	return reply, err
}

// read takes a reply apart.
func read(reply *dns.Msg, name string, k kind) (answer, error) {
	if len(reply.Question) != 1 || reply.Question[0].Qtype != uint16(k) || !strings.EqualFold(reply.Question[0].Name, name) {
		return answer{}, discovery.Classed(discovery.Unavailable, "the answer is to another question")
	}
	switch reply.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
	case dns.RcodeRefused, dns.RcodeNotAuth:
		return answer{}, discovery.Classed(discovery.Auth, "the server says %s", dns.RcodeToString[reply.Rcode])
	default:
		return answer{}, discovery.Classed(discovery.Unavailable, "the server says %s", dns.RcodeToString[reply.Rcode])
	}
	a := answer{glue: map[string][]netip.Addr{}, size: reply.Len()}
	lives := lifetimes{}
	owner := follow(reply.Answer, name)
	for _, rr := range reply.Answer {
		if rr.Header().Rrtype == uint16(k) && strings.EqualFold(rr.Header().Name, owner) {
			a.take(rr)
		}
		lives.add(rr.Header().Ttl)
	}
	if k == kindSRV {
		for _, rr := range reply.Extra {
			if ip, ok := address(rr); ok {
				a.glue[host(rr.Header().Name)] = append(a.glue[host(rr.Header().Name)], ip)
				lives.add(rr.Header().Ttl)
			}
		}
	}
	if a.empty() && reply.Rcode == dns.RcodeSuccess && !reply.Authoritative && !reply.RecursionAvailable && len(reply.Ns) > 0 {
		// A referral: this server does not know and will not find out.
		return answer{}, discovery.Classed(discovery.Unavailable, "the server refers us to others instead of answering")
	}
	if a.empty() {
		a.bare = reply.Rcode == dns.RcodeSuccess
		lives = lifetimes{}
		for _, rr := range reply.Ns {
			if soa, ok := rr.(*dns.SOA); ok {
				lives.add(min(soa.Hdr.Ttl, soa.Minttl)) // RFC 2308, 5
			}
		}
	}
	a.ttl = lives.shortest
	return a, nil
}

func (a *answer) take(rr dns.RR) {
	if ip, ok := address(rr); ok {
		a.addrs = append(a.addrs, ip)
	}
	// The target "." means that the service is not there (RFC 2782).
	if s, ok := rr.(*dns.SRV); ok && s.Target != "." && s.Port != 0 {
		a.srvs = append(a.srvs, service{host(s.Target), s.Port, s.Priority, s.Weight})
	}
}

// follow walks the CNAMEs of an answer from name to who owns the records.
func follow(rrs []dns.RR, name string) string {
	for range 16 {
		next := ""
		for _, rr := range rrs {
			if c, ok := rr.(*dns.CNAME); ok && strings.EqualFold(c.Hdr.Name, name) {
				next = c.Target
			}
		}
		if next == "" {
			return name
		}
		name = next
	}
	return name
}

func address(rr dns.RR) (netip.Addr, bool) {
	switch rr := rr.(type) {
	case *dns.A:
		ip, ok := netip.AddrFromSlice(rr.A)
		return ip.Unmap(), ok
	case *dns.AAAA:
		ip, ok := netip.AddrFromSlice(rr.AAAA)
		return ip.Unmap(), ok
	default:
		return netip.Addr{}, false
	}
}

func host(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

type lifetimes struct{ shortest time.Duration }

// add notes a TTL. Zero is "do not keep", so ask again as soon as allowed.
func (l *lifetimes) add(seconds uint32) {
	ttl := max(time.Duration(seconds)*time.Second, time.Millisecond)
	if l.shortest == 0 || ttl < l.shortest {
		l.shortest = ttl
	}
}

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
