package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAKeyReadsBackAsItWasRevealed(t *testing.T) {
	k := New()
	got, err := Parse("  " + k.Reveal() + "\n")
	if err != nil || got != k {
		t.Fatalf("read back: %v", err)
	}
	if k == New() {
		t.Error("two keys are the same")
	}
	if s := fmt.Sprintf("%v %s %+v %#v", k, k, k, k); strings.Contains(s, k.Reveal()[12:20]) || !strings.Contains(s, "secret") {
		t.Errorf("a key prints itself: %s", s)
	}
}

func TestAKeyThatIsNoneIsRefusedInWordsThatDoNotRepeatIt(t *testing.T) {
	good := New().Reveal()
	flipped := []byte(good)
	if flipped[20]++; flipped[20] > 'z' || flipped[20] == '8' {
		flipped[20] = 'b'
	}
	for text, want := range map[string]string{
		"":                          "empty",
		"hunter2":                   "begin with",
		good[:len(good)-1]:          "cut off",
		good[:20] + "1" + good[21:]: "only a-z",
		string(flipped):             "checksum",
	} {
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d characters: %v, want words on %q", len(text), err, want)
		} else if len(text) > 6 && strings.Contains(err.Error(), text[len(text)-6:]) {
			t.Errorf("the error repeats the key: %v", err)
		}
	}
}

// meet performs a TLS handshake and tells what each side says of it.
func meet(t *testing.T, server, client Source) (s, c *tls.Conn, serverErr, clientErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	y, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	x, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close(); _ = y.Close() })
	for _, p := range []net.Conn{x, y} {
		_ = p.SetDeadline(time.Now().Add(5 * time.Second))
	}
	s, c = tls.Server(x, TLS(server, true)), tls.Client(y, TLS(client, false))
	done := make(chan error, 1)
	go func() {
		err := s.Handshake()
		if err == nil {
			_, _ = s.Write([]byte{1})
		}
		done <- err
	}()
	clientErr = c.Handshake()
	if clientErr == nil {
		if _, err := c.Read(make([]byte, 1)); err != nil {
			clientErr = err // the server's alert comes after our own handshake (TLS 1.3)
		}
	} else {
		_ = y.Close()
	}
	serverErr = <-done
	return s, c, serverErr, clientErr
}

func source(t *testing.T, cluster string, ks ...Key) Source {
	t.Helper()
	s, err := FromKeys(cluster, ks...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhoHasTheKeyOfTheClusterIsAMember(t *testing.T) {
	older, newer, foreign := New(), New(), New()
	for name, test := range map[string]struct {
		a, b Source
		ok   bool
	}{
		"the same key":         {source(t, "c", older), source(t, "c", older), true},
		"another key":          {source(t, "c", older), source(t, "c", foreign), false},
		"another cluster":      {source(t, "c", older), source(t, "d", older), false},
		"rotation begins":      {source(t, "c", older), source(t, "c", older, newer), true},
		"rotation half way":    {source(t, "c", older, newer), source(t, "c", newer, older), true},
		"rotation ends":        {source(t, "c", newer), source(t, "c", newer, older), true},
		"rotation is over":     {source(t, "c", newer), source(t, "c", older), false},
		"the key all may know": {source(t, "c", older), source(t, "c", Key{}), false},
	} {
		for _, swap := range []bool{false, true} {
			if swap {
				test.a, test.b = test.b, test.a
			}
			_, _, serverErr, clientErr := meet(t, test.a, test.b)
			if test.ok && (serverErr != nil || clientErr != nil) || !test.ok && (serverErr == nil || clientErr == nil) {
				t.Errorf("%s: server says %v, client says %v, want both ok: %v", name, serverErr, clientErr, test.ok)
			}
		}
	}
}

func TestAProofBindsANodeToOneConnectionAndOneSide(t *testing.T) {
	k := source(t, "c", New())
	server, client, _, _ := meet(t, k, k)
	other, _, _, _ := meet(t, k, k)
	me, _ := NewNode()
	you, _ := NewNode()
	cs, ss, os := client.ConnectionState(), server.ConnectionState(), other.ConnectionState()
	proof, err := me.Proof(&cs, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckProof(&ss, me.ID, me.Public, proof, true); err != nil {
		t.Errorf("an honest proof: %v", err)
	}
	for name, err := range map[string]error{
		"on another connection": CheckProof(&os, me.ID, me.Public, proof, true),
		"sent back":             CheckProof(&ss, me.ID, me.Public, proof, false),
		"for another ID":        CheckProof(&ss, you.ID, me.Public, proof, true),
		"with another key":      CheckProof(&ss, you.ID, you.Public, proof, true),
		"without a key":         CheckProof(&ss, me.ID, nil, proof, true),
		"without a signature":   CheckProof(&ss, me.ID, me.Public, nil, true),
	} {
		if err == nil {
			t.Errorf("a proof %s was believed", name)
		}
	}
}

// authorityFiles is a certificate authority that issues into a directory.
type authorityFiles struct {
	t      *testing.T
	dir    string
	cert   *x509.Certificate
	signer ed25519.PrivateKey
}

func newAuthority(t *testing.T) *authorityFiles {
	t.Helper()
	cert, signer, err := authority(New(), "files")
	if err != nil {
		t.Fatal(err)
	}
	return &authorityFiles{t: t, dir: t.TempDir(), cert: cert, signer: signer}
}

// issue writes a certificate into a directory of its own, and returns that.
func (a *authorityFiles) issue(name string, change func(c *x509.Certificate)) string {
	a.t.Helper()
	dir, err := os.MkdirTemp(a.dir, "issued")
	if err != nil {
		a.t.Fatal(err)
	}
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(leaf)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.cert, public, a.signer)
	if err != nil {
		a.t.Fatal(err)
	}
	key, _ := x509.MarshalPKCS8PrivateKey(private)
	for file, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: key},
		"ca.crt": {Type: "CERTIFICATE", Bytes: a.cert.Raw},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return dir
}

func files(dir string, id Identity) Files {
	return Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), CA: filepath.Join(dir, "ca.crt"), Identity: id}
}

func fromFiles(t *testing.T, dir string, id Identity) *certs {
	t.Helper()
	s, err := FromFiles(files(dir, id), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s.(*certs)
}

func TestCertificatesFromFilesProveMembershipAndTheName(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	node := fromFiles(t, ca.issue("node-1", nil), PerNode)
	for name, test := range map[string]struct {
		peer Source
		ok   bool
	}{
		"another node of the authority": {fromFiles(t, ca.issue("node-2", nil), PerNode), true},
		"another authority":             {fromFiles(t, other.issue("node-2", nil), PerNode), false},
		"expired":                       {fromFiles(t, ca.issue("node-2", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), PerNode), false},
		"not for this use": {fromFiles(t, ca.issue("node-2", func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
		}), PerNode), false},
	} {
		for _, server := range []Source{node, test.peer} {
			client := test.peer
			if server == test.peer {
				client = node
			}
			_, _, serverErr, clientErr := meet(t, server, client)
			if ok := serverErr == nil && clientErr == nil; ok != test.ok {
				t.Errorf("%s: server says %v, client %v", name, serverErr, clientErr)
			}
		}
	}
	leaf := node.now.own.Leaf
	if err := node.CheckName(leaf, "node-1"); err != nil {
		t.Error(err)
	}
	for _, claim := range []string{"node-2", "NODE-1", "node-1.", "node", ""} {
		if node.CheckName(leaf, claim) == nil {
			t.Errorf("node-1 may call itself %q", claim)
		}
	}
}

func TestACertificateWithTwoNamesIsRefused(t *testing.T) {
	dir := newAuthority(t).issue("node-1", func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "node-2") })
	if _, err := FromFiles(files(dir, PerNode), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "exactly one") {
		t.Errorf("got %v", err)
	}
}

// One authority often signs for many services: being signed is not enough.
func TestASharedIdentityKeepsOtherServicesOut(t *testing.T) {
	ca := newAuthority(t)
	spiffe := func(id string) func(c *x509.Certificate) {
		return func(c *x509.Certificate) {
			u, _ := url.Parse(id)
			c.DNSNames, c.URIs = nil, []*url.URL{u}
		}
	}
	ours := fromFiles(t, ca.issue("", spiffe("spiffe://x/ours")), Shared)
	same := fromFiles(t, ca.issue("", spiffe("spiffe://x/ours")), Shared)
	theirs := fromFiles(t, ca.issue("", spiffe("spiffe://x/theirs")), Shared)
	if _, _, s, c := meet(t, ours, same); s != nil || c != nil {
		t.Errorf("the same service: %v, %v", s, c)
	}
	if _, _, s, c := meet(t, ours, theirs); s == nil || c == nil {
		t.Errorf("another service: %v, %v", s, c)
	}
	if err := ours.CheckName(ours.now.own.Leaf, "anything"); err != nil || ours.ProvesNames() {
		t.Errorf("a shared identity proves no name: %v", err)
	}
}

func TestFilesAreReadAgainWhenTheirLinkIsSwapped(t *testing.T) {
	ca := newAuthority(t)
	data := filepath.Join(ca.dir, "..data")
	swap := func(dir string) {
		t.Helper()
		_ = os.Remove(data + ".new")
		if err := os.Symlink(dir, data+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(data+".new", data); err != nil {
			t.Fatal(err)
		}
	}
	var said bytes.Buffer
	swap(ca.issue("node-1", nil))
	s, err := FromFiles(files(data, PerNode), slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	c := s.(*certs)
	later := func() certSet { c.looked = c.looked.Add(-certReload); return c.current() }
	first := later()
	if again := later(); again.own != first.own {
		t.Error("read again although nothing changed")
	}
	swap(ca.issue("node-1", nil))
	if c.current().own != first.own {
		t.Error("looked twice within a second")
	}
	second := later()
	if second.own == first.own {
		t.Error("a swapped link was not noticed")
	}
	broken := ca.issue("node-1", nil)
	if err := os.WriteFile(filepath.Join(broken, "tls.key"), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	swap(broken)
	for range 3 {
		if later().own != second.own {
			t.Error("broken files replaced good ones")
		}
	}
	_ = os.Remove(data)
	for range 3 {
		if later().own != second.own {
			t.Error("missing files replaced good ones")
		}
	}
	if n := strings.Count(said.String(), "cannot be used"); n != 2 {
		t.Errorf("it was said %d times, want once for each change:\n%s", n, said.String())
	}
	swap(ca.issue("node-1", nil))
	if later().own == second.own {
		t.Error("good files after bad ones were not read")
	}
}
