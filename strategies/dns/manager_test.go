package dns

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/starlingmesh/starling/discovery"
)

// TestNoFaultOfTheDNSCostsAPeer runs a Manager on a server that gives a random 8
// of 20, cuts answers, fails, and says once that there is no such name.
func TestNoFaultOfTheDNSCostsAPeer(t *testing.T) {
	s := newServer(t)
	s.set("mesh.example.", "A", ips(20)...)
	s.edit(func() { s.sample = 8 })
	d := mustNew(t, testConfig(s))

	news := make(chan []discovery.Contact, 1000)
	cfg := discovery.Default()
	cfg.Grace, cfg.Debounce, cfg.StartJitter = time.Second, 0, 0
	cfg.Self = "self"
	cfg.Contacts = func(cs []discovery.Contact) { news <- cs }
	m, err := discovery.New([]discovery.Source{{Name: "dns", Strategy: d, Refresh: d.Refresh}}, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, ip := range ips(20) { // the overlay is well
		m.Up("node-"+ip, []string{ip + ":7000"})
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	defer func() { cancel(); <-done }()

	patience := time.After(20 * time.Second)
	for all := false; !all; {
		select {
		case cs := <-news:
			all = len(cs) == 20
		case <-patience:
			t.Fatal("the samples never made the whole")
		}
	}
	// until plays on until the source's health shows what is to be seen.
	until := func(what string, seen func(before, now discovery.Health) bool) {
		t.Helper()
		before := m.Snapshot().Sources[0]
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for !seen(before, m.Snapshot().Sources[0]) {
			select {
			case <-tick.C:
			case <-patience:
				t.Fatalf("never saw %s", what)
			}
		}
		offered := 0
		for _, c := range m.Snapshot().Candidates {
			if c.Use == discovery.UseContact {
				offered++
			}
		}
		if offered != 20 {
			t.Errorf("%s: %d contacts, want 20", what, offered)
		}
	}
	answered := func(before, now discovery.Health) bool { return now.Observations >= before.Observations+2 }
	failed := func(before, now discovery.Health) bool {
		return now.Failures["unavailable"]+now.Failures["auth"] > before.Failures["unavailable"]+before.Failures["auth"]
	}
	s.set("mesh.example.", "A")
	until("no such name", answered)
	s.set("mesh.example.", "A", ips(20)...)
	until("an answer", answered)
	s.setMode(servfail)
	until("SERVFAIL", failed)
	s.setMode(refused)
	until("REFUSED", failed)
	s.setMode(well)
	s.edit(func() { s.sample = 3 })
	until("smaller samples", answered)
}

// certificate makes a certificate for 127.0.0.1 that is its own authority.
func certificate(t *testing.T) (stdtls.Certificate, []byte) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	return stdtls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestTLSIsAlwaysVerified(t *testing.T) {
	s := newServer(t)
	s.set("mesh.example.", "A", "10.0.0.1")
	cert, ca := certificate(t)
	l, err := stdtls.Listen("tcp", "127.0.0.1:0", &stdtls.Config{Certificates: []stdtls.Certificate{cert}, MinVersion: stdtls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	up, over := make(chan struct{}), make(chan struct{})
	secure := &dns.Server{Listener: l, Handler: s, NotifyStartedFunc: func() { close(up) }}
	go func() { defer close(over); _ = secure.ActivateAndServe() }()
	<-up
	t.Cleanup(func() { _ = secure.Shutdown(); <-over })

	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig()
	cfg.Nameservers, cfg.Transport, cfg.Timeout = []string{l.Addr().String()}, tls, 2*time.Second
	wantLook(t, mustNew(t, cfg), "nothing", "", "certificate signed by unknown authority")
	cfg.TLSCA = file
	wantLook(t, mustNew(t, cfg), "complete", "10.0.0.1:7000", "")
	cfg.TLSName = "another.example"
	wantLook(t, mustNew(t, cfg), "nothing", "", "certificate")
}
