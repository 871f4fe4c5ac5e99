package dns

import (
	"context"
	stdtls "crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"
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
	alias string                  // whom to ask for instead: the server did not
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
// knows the library. It may be asked several questions at a time.
type client interface {
	ask(ctx context.Context, server, name string, k kind) (answer, error)
}

// aliasesMax is how many CNAMEs in a row we follow, within an answer and after it.
const aliasesMax = 8

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

// ask follows the aliases that the server leaves to us.
func (m *miekg) ask(ctx context.Context, server, name string, k kind) (answer, error) {
	at, ttl := name, time.Duration(0)
	for range aliasesMax {
		a, err := m.askOnce(ctx, server, at, k)
		if err != nil {
			return answer{}, fmt.Errorf("ask %s for %s %s: %w", server, k, at, err)
		}
		ttl = shorter(ttl, a.ttl)
		if a.alias == "" {
			a.ttl = ttl
			return a, nil
		}
		at = a.alias
	}
	return answer{}, discovery.Classed(discovery.Unavailable, "ask %s for %s %s: more than %d aliases", server, k, name, aliasesMax)
}

func (m *miekg) askOnce(ctx context.Context, server, name string, k kind) (answer, error) {
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
		return answer{}, err
	}
	a, err := read(reply, name, k)
	if err != nil {
		return answer{}, err
	}
	a.part = a.part || cut || reply.Truncated
	if a.part && a.empty() {
		return answer{}, discovery.Classed(discovery.Unavailable, "the answer was cut short to nothing, and tcp does not work")
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
