package dns

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// server is a DNS server on loopback, over UDP and TCP, that the test rules.
type server struct {
	addr string

	mu      sync.Mutex          // guards the rest
	rrs     map[string][]string // "NAME TYPE" to records, without owner and type
	ttl     uint32
	mode    mode
	sample  int  // answer with so many at random
	tcpDown bool // TCP says SERVFAIL
	noGlue  bool
	oldUDP  bool // knows no EDNS
	aliases bool // says what a CNAME stands for, and nothing on that
	asked   []string
	rng     *rand.Rand
}

type mode int

const (
	well mode = iota
	servfail
	refused
	drops
	referral
	otherQuestion
	modes
)

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{rrs: map[string][]string{}, ttl: 0, rng: rand.New(rand.NewPCG(1, 2))}
	var pc net.PacketConn
	var l net.Listener
	for range 20 { // one port number on both
		var err error
		if pc, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if l, err = net.Listen("tcp", pc.LocalAddr().String()); err == nil {
			break
		}
		_ = pc.Close()
	}
	if l == nil {
		t.Fatal("no port that is free for udp and tcp")
	}
	s.addr = pc.LocalAddr().String()
	var wg sync.WaitGroup
	for _, d := range []*dns.Server{{PacketConn: pc, Handler: s}, {Listener: l, Handler: s}} {
		up := make(chan struct{})
		d.NotifyStartedFunc = func() { close(up) }
		wg.Go(func() { _ = d.ActivateAndServe() })
		<-up
		t.Cleanup(func() { _ = d.Shutdown() })
	}
	return s
}

// edit changes the server's state.
func (s *server) edit(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// set gives a name its records of a type.
func (s *server) set(name, typ string, data ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rrs[name+" "+typ] = data
}

func (s *server) setMode(m mode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode = m
}

func (s *server) setTCPDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tcpDown = down
}

func (s *server) questions() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.asked, "\n")
}

func (s *server) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	transport := w.LocalAddr().Network()
	name, typ := strings.ToLower(q.Question[0].Name), dns.TypeToString[q.Question[0].Qtype]
	s.asked = append(s.asked, fmt.Sprintf("%s %s %s", transport, name, typ))
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	size := dns.MinMsgSize
	if opt := q.IsEdns0(); opt != nil {
		size = int(opt.UDPSize())
	}
	if transport == "tcp" {
		size = dns.MaxMsgSize
	}
	switch {
	case s.mode == drops:
		return
	case s.mode == servfail, s.tcpDown && transport == "tcp":
		m.Rcode = dns.RcodeServerFailure
	case s.mode == refused:
		m.Rcode = dns.RcodeRefused
	case s.mode == referral:
		m.RecursionAvailable = false
		m.Ns = []dns.RR{rr(". 60 IN NS ns.example.")}
	case s.mode == otherQuestion:
		m.Question[0].Name = "other.example."
		m.Answer = []dns.RR{rr("other.example. 60 IN A 10.66.6.6")}
	case s.oldUDP && q.IsEdns0() != nil:
		m.Rcode = dns.RcodeFormatError
	default:
		s.fill(m, name, typ)
	}
	m.Truncate(size)
	_ = w.WriteMsg(m)
}

// fill needs mu.
func (s *server) fill(m *dns.Msg, name, typ string) {
	exists := false
	for key := range s.rrs {
		exists = exists || strings.HasPrefix(key, name+" ")
	}
	if cname := s.rrs[name+" CNAME"]; len(cname) == 1 {
		m.Answer = append(m.Answer, rr(fmt.Sprintf("%s %d IN CNAME %s", name, s.ttl, cname[0])))
		name = cname[0]
		if s.aliases {
			return
		}
	}
	data := append([]string(nil), s.rrs[name+" "+typ]...)
	if s.sample > 0 && s.sample < len(data) {
		s.rng.Shuffle(len(data), func(i, j int) { data[i], data[j] = data[j], data[i] })
		data = data[:s.sample]
	}
	for _, d := range data {
		r := rr(fmt.Sprintf("%s %d IN %s %s", name, s.ttl, typ, d))
		m.Answer = append(m.Answer, r)
		if srv, ok := r.(*dns.SRV); ok && !s.noGlue {
			for _, t := range []string{"A", "AAAA"} {
				for _, ip := range s.rrs[srv.Target+" "+t] {
					m.Extra = append(m.Extra, rr(fmt.Sprintf("%s %d IN %s %s", srv.Target, s.ttl, t, ip)))
				}
			}
		}
	}
	if len(m.Answer) == 0 {
		m.Ns = []dns.RR{rr("example. 60 IN SOA ns.example. root.example. 1 1 1 1 7")}
		if !exists {
			m.Rcode = dns.RcodeNameError
		}
	}
}

func rr(text string) dns.RR {
	r, err := dns.NewRR(text)
	if err != nil {
		panic(err)
	}
	return r
}

func testConfig(servers ...*server) Config {
	cfg := Default()
	cfg.Names, cfg.Port = []string{"mesh.example."}, 7000
	cfg.ResolvConf = ""
	for _, s := range servers {
		cfg.Nameservers = append(cfg.Nameservers, s.addr)
	}
	cfg.Timeout, cfg.Attempts = 100*time.Millisecond, 2
	cfg.MinRefresh, cfg.MaxRefresh = 20*time.Millisecond, 100*time.Millisecond
	return cfg
}
