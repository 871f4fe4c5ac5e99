package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/starlingmesh/starling/discovery"
)

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
	reply.Compress = true // as it came; Len cannot know
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
	soa := slices.IndexFunc(reply.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeSOA })
	switch {
	case !a.empty():
	case reply.Rcode == dns.RcodeSuccess && owner != name && soa < 0:
		// An alias, and nothing on whom it stands for: that is not "nobody".
		a.alias = owner
	default:
		a.bare = reply.Rcode == dns.RcodeSuccess
		lives = lifetimes{}
		if soa >= 0 {
			lives.add(negativeTTL(reply.Ns[soa]))
		}
	}
	a.ttl = lives.shortest
	return a, nil
}

// negativeTTL is for how long "there is nothing" is good (RFC 2308, 5).
func negativeTTL(rr dns.RR) uint32 {
	soa, ok := rr.(*dns.SOA)
	if !ok {
		panic(fmt.Sprintf("dns: a record of type SOA is a %T", rr))
	}
	return min(soa.Hdr.Ttl, soa.Minttl)
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
	for range aliasesMax {
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
