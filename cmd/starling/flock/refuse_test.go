package flock_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/starlingmesh/starling/cmd/starling/flock"
	"github.com/starlingmesh/starling/cmd/starling/flock/flocktest"
	"github.com/starlingmesh/starling/overlay/keys"
	"github.com/starlingmesh/starling/overlay/link"
	"github.com/starlingmesh/starling/overlay/proto"
	"github.com/starlingmesh/starling/overlay/wire"
)

const cluster = "refusals"

// wantUndisturbed wants that some birds know each other and nobody else, and answer each other.
func wantUndisturbed(t *testing.T, w *flocktest.World, members int, strangers ...*flock.Bird) {
	t.Helper()
	w.Await("the members know each other and nobody else", 10*time.Second, func() error { return w.Complete(members, strangers...) })
	for _, b := range w.Except(strangers...) {
		if a := w.Multicall(b); a.Summary.Asked != members || a.Summary.Replied != members {
			t.Errorf("%s: %d asked, %d replied, want %d: %+v", b.Name, a.Summary.Asked, a.Summary.Replied, members, a.Verdicts)
		}
	}
}

// refusedBy is how many connections some birds have refused for a reason, dialled or accepted.
func refusedBy(w *flocktest.World, reason string, birds ...*flock.Bird) (n int) {
	for _, b := range birds {
		n += w.Refused(b, reason)
	}
	return n
}

// startAll starts a flock in which not everybody will know everybody.
func startAll(t *testing.T, o flock.Options) *flocktest.World {
	t.Helper()
	w := flocktest.New(t, o)
	if err := w.Start(w.Patience(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return w
}

// Sidecars that find us by discovery and do not belong to us: neither side lets the other in.
func TestAWrongKeyAndAWrongClusterAreRefusedBothWays(t *testing.T) {
	wrongKey := keys.New().Reveal()
	w := startAll(t, flock.Options{Birds: 5, Change: func(name string, s *flock.Settings) {
		s.Cluster, s.Rest = cluster, flocktest.HTTP
		switch name {
		case "bird-4":
			s.Security = "{key: " + wrongKey + "}"
		case "bird-5":
			s.Cluster = "elsewhere"
		}
	}})
	members := w.Except(w.Bird(4), w.Bird(5))
	for _, stranger := range []*flock.Bird{w.Bird(4), w.Bird(5)} {
		w.Await(stranger.Name+" was refused, and has refused", 10*time.Second, func() error {
			if n := w.Refused(stranger, "tls"); n == 0 {
				return fmt.Errorf("it refused nobody: %v", w.Metrics(stranger))
			}
			return nil
		})
	}
	w.Await("the members refused them", 10*time.Second, func() error {
		if refusedBy(w, "tls", members...) == 0 {
			return fmt.Errorf("%v", w.Metrics(members[0]))
		}
		return nil
	})
	wantUndisturbed(t, w, 3, w.Bird(4), w.Bird(5))
	for _, stranger := range []*flock.Bird{w.Bird(4), w.Bird(5)} {
		if a := w.Multicall(stranger); a.Summary.Asked != 1 || a.Summary.Replied != 1 {
			t.Errorf("%s reaches %+v", stranger.Name, a.Verdicts)
		}
	}
}

// With certificates of one authority, who belongs to another cluster or bears another node's name is refused for just that.
func TestAnotherNodesNameIsRefused(t *testing.T) {
	authority := newAuthority(t)
	dir := tempDir(t)
	w := startAll(t, flock.Options{Birds: 4, Change: func(name string, s *flock.Settings) {
		s.Cluster, s.Rest, s.Security = cluster, flocktest.HTTP, authority.issue(t, dir, name).settings()
		if name == "bird-4" {
			s.Cluster = "elsewhere"
		}
	}})
	members := w.Except(w.Bird(4))
	wantUndisturbed(t, w, 3, w.Bird(4))
	w.Await("somebody is refused for its cluster", 10*time.Second, func() error {
		if refusedBy(w, "cluster", members...) == 0 {
			return fmt.Errorf("%v", w.Metrics(members[0]))
		}
		return nil
	})

	pretender := authority.issue(t, dir, "bird-9")
	c := secure(t, members[0], pretender.source(t))
	if err := link.WriteFrame(c, hello(t, c, "bird-2")); err != nil {
		t.Fatal(err)
	}
	frame, err := link.NewFrames(c).Next()
	if err == nil {
		_, err = wire.ParseHello(frame)
	}
	if said, ok := errors.AsType[*wire.Refusal](err); !ok || said.Why != wire.RefusedName {
		t.Errorf("bird-9 says that it is bird-2, and gets %v", err)
	}
	w.Await("the refusal is counted", 10*time.Second, func() error { // after it was sent: the pretender may know first
		if n := w.Refused(members[0], "name"); n != 1 {
			return fmt.Errorf("%d were refused for their name, want 1", n)
		}
		return nil
	})
	file := copyConfig(t, members[1], "name: bird-2", "name: bird-3")
	if said, code := w.Run("agent", "-c", file); code != 1 || !strings.Contains(said, `the certificate is "bird-2"'s, the node calls itself "bird-3"`) {
		t.Errorf("a sidecar with another's certificate ended with %d: %s", code, said)
	}
	wantUndisturbed(t, w, 3, w.Bird(4))
}

// What comes in over the port and makes no sense is refused with a reason, and calls go on.
func TestNonsenseIsRefusedAndCounted(t *testing.T) {
	key := keys.New()
	ours, err := keys.FromKeys(cluster, key)
	if err != nil {
		t.Fatal(err)
	}
	w := flocktest.Started(t, flock.Options{Birds: 3, Key: key.Reveal(), Change: func(_ string, s *flock.Settings) {
		s.Cluster, s.Rest = cluster, flocktest.HTTP
	}})
	target := w.Bird(2)
	calm := w.Memory(target)
	truncated := wire.Append(nil, proto.Ping{Seq: 1 << 60, Sent: time.Hour, Digest: 1 << 60})
	for _, c := range []struct {
		what, metric string
		do           func(t *testing.T) net.Conn
	}{
		{"plaintext", `starling_overlay_refused_total{reason="plaintext"}`, func(t *testing.T) net.Conn {
			return say(t, target, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
		}},
		{"a truncated handshake", `starling_overlay_refused_total{reason="timeout"}`, func(t *testing.T) net.Conn {
			return say(t, target, []byte{0x16, 3, 1, 1, 0, 1})
		}},
		{"a broken handshake", `starling_overlay_refused_total{reason="tls"}`, func(t *testing.T) net.Conn {
			return say(t, target, []byte{0x16, 3, 1, 0, 5, 1, 1, 1, 1, 1})
		}},
		{"a member's oversized hello", `starling_overlay_refused_total{reason="garbage"}`, func(t *testing.T) net.Conn {
			c := secure(t, target, ours)
			write(t, c, []byte{0, 0xff, 0xf0, 1})
			return c
		}},
		{"a member's truncated hello", `starling_overlay_refused_total{reason="garbage"}`, func(t *testing.T) net.Conn {
			c := secure(t, target, ours)
			full := hello(t, c, "stranger")
			if err := link.WriteFrame(c, full[:len(full)/2]); err != nil {
				t.Fatal(err)
			}
			return c
		}},
		{"a member's truncated frame", `starling_overlay_unread_total{reason="truncated"}`, func(t *testing.T) net.Conn {
			c := member(t, target, ours)
			if err := link.WriteFrame(c, truncated[:len(truncated)-1]); err != nil {
				t.Fatal(err)
			}
			return c
		}},
		{"a member's oversized frame", `starling_overlay_unread_total{reason="oversize"}`, func(t *testing.T) net.Conn {
			c := member(t, target, ours)
			piece := make([]byte, 3+60_000)
			piece[0], piece[1], piece[2] = 0x80, 60_000>>8, 60_000&0xff // more is to come, always
			for range proto.MaxFrame/60_000 + 1 {
				if _, err := c.Write(piece); err != nil {
					break // it has had enough
				}
			}
			return c
		}},
	} {
		before := w.Metrics(target)[c.metric]
		conn := c.do(t)
		_ = conn.SetReadDeadline(time.Now().Add(flocktest.Slack * 5 * time.Second))
		if _, err := io.Copy(io.Discard, conn); err != nil && os.IsTimeout(err) {
			t.Errorf("%s: the connection stays open", c.what)
		}
		w.Await(c.what+" is counted", 5*time.Second, func() error {
			if got := w.Metrics(target)[c.metric]; got != before+1 {
				return fmt.Errorf("%s: %v, want %v", c.metric, got, before+1)
			}
			return nil
		})
		for _, b := range w.Birds() {
			w.WantVerdicts(w.Multicall(b), nil)
		}
	}
	w.Await("its memory is back", 10*time.Second, func() error {
		if now := w.Memory(target); now > calm+20<<20 {
			return fmt.Errorf("it holds %d MiB, %d before", now>>20, calm>>20)
		}
		return nil
	})
}

func say(t *testing.T, b *flock.Bird, what []byte) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", b.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	write(t, c, what)
	return c
}

func write(t *testing.T, c net.Conn, what []byte) {
	t.Helper()
	if _, err := c.Write(what); err != nil {
		t.Fatal(err)
	}
}

// secure is a connection of somebody who has keys.
func secure(t *testing.T, b *flock.Bird, source keys.Source) *tls.Conn {
	t.Helper()
	c := tls.Client(say(t, b, nil), keys.TLS(source, false))
	ctx, cancel := context.WithTimeout(t.Context(), flocktest.Slack*time.Second)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

// hello is what a member says first.
func hello(t *testing.T, c *tls.Conn, name string) []byte {
	t.Helper()
	me, err := keys.NewNode()
	if err != nil {
		t.Fatal(err)
	}
	state := c.ConnectionState()
	proof, err := me.Proof(&state, true)
	if err != nil {
		t.Fatal(err)
	}
	return wire.AppendHello(nil, proto.Hello{
		VersionMin: wire.VersionMin, VersionMax: wire.VersionMax, Kind: proto.LinkProbe, Cluster: cluster,
		Self: proto.PeerInfo{ID: me.ID, Name: name}, Lane: 1, Key: me.Public, Proof: proof,
	})
}

// member is a connection that was let in.
func member(t *testing.T, b *flock.Bird, source keys.Source) *tls.Conn {
	t.Helper()
	c := secure(t, b, source)
	if err := link.WriteFrame(c, hello(t, c, "stranger")); err != nil {
		t.Fatal(err)
	}
	frame, err := link.NewFrames(c).Next()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wire.ParseHello(frame); err != nil {
		t.Fatal(err)
	}
	return c
}

// An authority issues certificates.
type authority struct {
	cert *x509.Certificate
	der  []byte
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{key: newECKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var err error
	if a.der, err = x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key); err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(a.der); err != nil {
		t.Fatal(err)
	}
	return a
}

func newECKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// papers are the files of one certificate.
type papers keys.Files

func (p papers) settings() string {
	return fmt.Sprintf("{certificate_file: %q, key_file: %q, authority_file: %q, identity: %s}", p.Cert, p.Key, p.CA, p.Identity)
}

func (p papers) source(t *testing.T) keys.Source {
	t.Helper()
	s, err := keys.FromFiles(keys.Files(p), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// issue writes a certificate for one name.
func (a *authority) issue(t *testing.T, dir, name string) papers {
	t.Helper()
	key := newECKey(t)
	leaf, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := func(kind, block string, der []byte) string {
		path := filepath.Join(dir, name+"."+kind)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: block, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return papers{
		Cert: file("crt", "CERTIFICATE", leaf), Key: file("key", "PRIVATE KEY", private), CA: file("ca", "CERTIFICATE", a.der),
		Identity: keys.PerNode,
	}
}
