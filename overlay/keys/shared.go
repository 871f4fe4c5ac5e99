package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base32"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

const (
	keyPrefix = "starling1-"
	keyLen    = 32 // bytes of chance
	keySumLen = 3  // bytes of checksum: a lost or mistyped character is told at once, not by handshakes that fail
)

var keyText = base32.StdEncoding.WithPadding(base32.NoPadding)

// Key is a pre-shared key of a cluster: 256 random bits. Whoever has it is a
// member. It does not print itself; Reveal does.
type Key struct{ secret [keyLen]byte }

// New makes a key from the system's source of chance.
func New() Key {
	var k Key
	_, _ = rand.Read(k.secret[:]) // never fails: crypto/rand ends the process instead
	return k
}

// Reveal is the key in the printable form that Parse reads.
func (k Key) Reveal() string {
	sum := sha256.Sum256(k.secret[:])
	return keyPrefix + strings.ToLower(keyText.EncodeToString(append(bytes.Clone(k.secret[:]), sum[:keySumLen]...)))
}

// String hides the key, in logs too.
func (Key) String() string { return "(secret)" }

// GoString hides the key.
func (Key) GoString() string { return "keys.Key(secret)" }

// Parse reads what Reveal printed; space around it does not matter. Its
// errors never contain the text.
func Parse(text string) (Key, error) {
	const advice = `; make a key with "starling keygen"`
	var k Key
	text = strings.TrimSpace(text)
	if text == "" {
		return k, errors.New("cluster key: it is empty" + advice)
	}
	body, ok := strings.CutPrefix(text, keyPrefix)
	if !ok {
		return k, errors.New("cluster key: it does not begin with " + keyPrefix + advice)
	}
	want := keyText.EncodedLen(keyLen + keySumLen)
	if len(body) != want {
		return k, fmt.Errorf("cluster key: want %d characters after %s, got %d: was it cut off?", want, keyPrefix, len(body))
	}
	raw, err := keyText.DecodeString(strings.ToUpper(body))
	if err != nil {
		return k, errors.New("cluster key: only a-z and 2-7 may follow " + keyPrefix)
	}
	sum := sha256.Sum256(raw[:keyLen])
	if !bytes.Equal(sum[:keySumLen], raw[keyLen:]) {
		return k, errors.New("cluster key: its checksum does not match: was it mistyped?")
	}
	copy(k.secret[:], raw)
	return k, nil
}

// Derive gives the key of 32 bytes that this key and a cluster's ID make for a
// purpose (RFC 5869). It tells nothing about the key, nor about one of another
// purpose.
func (k Key) Derive(cluster, purpose string) []byte {
	derived, err := hkdf.Key(sha256.New, k.secret[:], []byte(cluster), "starling "+purpose, sha256.Size)
	if err != nil {
		panic(err) // only for lengths that we do not ask for
	}
	return derived
}

// shared is a Source from pre-shared keys.
type shared struct {
	own   *tls.Certificate
	roots *x509.CertPool
}

// FromKeys makes a Source from pre-shared keys of a cluster. Each key and the
// cluster's ID give one certificate authority (RFC 5869), the same at every
// node; the first key signs this process's own certificate, all are accepted.
// To change a key: old; old, new; new, old; new. At most two are taken.
//
// A name is a claim here: who has the key may call itself anything. The node
// ID is bound to a key of the process all the same.
func FromKeys(cluster string, keys ...Key) (Source, error) {
	if cluster == "" {
		return nil, errors.New("cluster keys: the cluster has no ID")
	}
	if len(keys) == 0 || len(keys) > 2 {
		return nil, fmt.Errorf("cluster keys: want one, or two while one replaces the other; got %d", len(keys))
	}
	s := &shared{roots: x509.NewCertPool()}
	for i, k := range keys {
		ca, signer, err := authority(k, cluster)
		if err != nil {
			return nil, fmt.Errorf("cluster keys: %w", err)
		}
		s.roots.AddCert(ca)
		if i > 0 {
			continue
		}
		if s.own, err = mint(ca, signer); err != nil {
			return nil, fmt.Errorf("cluster keys: %w", err)
		}
	}
	return s, nil
}

// Known makes a Source from a key that everybody knows. It keeps nobody out.
func Known(cluster string) (Source, error) { return FromKeys(cluster, Key{}) }

// A certificate made from a pre-shared key proves no more than the key does,
// and whoever has the key can make another. So an end date protects nobody,
// and without one no wrong clock keeps a node out.
var (
	mintedFrom  = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	mintedUntil = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) // RFC 5280, section 4.1.2.5: no end
)

// authority derives the certificate authority of key and cluster. It is the
// same bytes everywhere: Ed25519 signs without chance (RFC 8032, section 5.1.6).
func authority(k Key, cluster string) (*x509.Certificate, ed25519.PrivateKey, error) {
	seed, err := hkdf.Key(sha256.New, k.secret[:], []byte(cluster), "starling cluster authority 1", ed25519.SeedSize)
	if err != nil {
		return nil, nil, fmt.Errorf("derive the authority: %w", err)
	}
	signer := ed25519.NewKeyFromSeed(seed)
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "starling cluster"},
		NotBefore:             mintedFrom,
		NotAfter:              mintedUntil,
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, signer.Public(), signer)
	if err != nil {
		return nil, nil, fmt.Errorf("make the authority's certificate: %w", err)
	}
	if ca, err = x509.ParseCertificate(der); err != nil {
		return nil, nil, fmt.Errorf("read the authority's certificate: %w", err)
	}
	return ca, signer, nil
}

// mint signs a certificate for this process.
func mint(ca *x509.Certificate, signer ed25519.PrivateKey) (*tls.Certificate, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	leaf := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "starling node"},
		NotBefore:    mintedFrom,
		NotAfter:     mintedUntil,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, public, signer)
	if err != nil {
		return nil, fmt.Errorf("make the node's certificate: %w", err)
	}
	if leaf, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("read the node's certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}, nil
}

func (s *shared) Own() (*tls.Certificate, error) { return s.own, nil }

func (s *shared) Check(chain []*x509.Certificate, server bool) error {
	return verify(chain, s.roots, server)
}

func (*shared) ProvesNames() bool { return false }

func (*shared) CheckName(*x509.Certificate, string) error { return nil }

// verify checks a chain against the roots, for the role it was shown in.
func verify(chain []*x509.Certificate, roots *x509.CertPool, server bool) error {
	usage := x509.ExtKeyUsageClientAuth
	if server {
		usage = x509.ExtKeyUsageServerAuth
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}})
	if err != nil {
		return fmt.Errorf("check the certificate: %w", err)
	}
	return nil
}
