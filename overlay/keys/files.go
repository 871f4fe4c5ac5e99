package keys

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// Identity says what a certificate from files proves beside membership.
type Identity string

const (
	// PerNode: the node's name is the only subject alternative name of its
	// certificate. Nobody can take another's name.
	PerNode Identity = "per_node"
	// Shared: all nodes show the same only subject alternative name (one Secret,
	// one SPIFFE ID for all pods). The name that a node announces is a claim.
	Shared Identity = "shared"
)

// certReload is how often a handshake may look whether the files changed.
const certReload = time.Second

// Files names the PEM files of a node's certificate.
type Files struct {
	Cert     string // the node's chain, leaf first
	Key      string // its private key
	CA       string // one or more authorities
	Identity Identity
}

// certs is a Source from files, read again when they change: each handshake looks
// (at most once a second), so that no goroutine and no watch is needed, and a
// symbolic link that is swapped is seen like any other change.
type certs struct {
	files Files // set by FromFiles, never changed
	log   *slog.Logger

	mu     sync.Mutex // guards the rest; held while files are read
	looked time.Time
	seen   [3]os.FileInfo
	now    certSet
}

// certSet is what one reading of the files gave; immutable.
type certSet struct {
	own   *tls.Certificate
	name  string // the only subject alternative name of our own leaf
	roots *x509.CertPool
}

// FromFiles makes a Source from certificate files and reads them again when they
// change. While they cannot be read, or do not fit together, the last good
// ones stay in use and the log says so, once for each change.
func FromFiles(files Files, log *slog.Logger) (Source, error) {
	if files.Identity != PerNode && files.Identity != Shared {
		return nil, fmt.Errorf("certificate files: identity %q: want %s or %s", files.Identity, PerNode, Shared)
	}
	c := &certs{files: files, log: log, looked: time.Now()}
	seen, err := c.stat()
	if err != nil {
		return nil, fmt.Errorf("certificate files: %w", err)
	}
	if c.now, err = c.load(); err != nil {
		return nil, fmt.Errorf("certificate files: %w", err)
	}
	c.seen = seen
	return c, nil
}

func (c *certs) current() certSet {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) >= certReload {
		c.looked = now
		c.reload()
	}
	return c.now
}

func (c *certs) reload() {
	seen, err := c.stat()
	if err == nil && slices.EqualFunc(seen[:], c.seen[:], sameFile) {
		return
	}
	var set certSet
	if err == nil {
		set, err = c.load()
	}
	if err != nil {
		if c.seen != seen {
			c.log.Warn("certificate files changed and cannot be used; the last good ones stay in use", "err", err)
		}
		c.seen = seen
		return
	}
	c.seen, c.now = seen, set
	c.log.Info("certificate files read again", "cert", c.files.Cert)
}

// sameFile tells whether nothing changed; a file that was not there never equals one.
func sameFile(a, b os.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func (c *certs) stat() (seen [3]os.FileInfo, err error) {
	for i, name := range []string{c.files.Cert, c.files.Key, c.files.CA} {
		if seen[i], err = os.Stat(name); err != nil {
			return [3]os.FileInfo{}, fmt.Errorf("look at the certificate files: %w", err)
		}
	}
	return seen, nil
}

func (c *certs) load() (certSet, error) {
	var set certSet
	pair, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil {
		return set, fmt.Errorf("read %s with %s: %w", c.files.Cert, c.files.Key, err)
	}
	pem, err := os.ReadFile(c.files.CA)
	if err != nil {
		return set, fmt.Errorf("read the authorities: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return set, fmt.Errorf("read the authorities: %s holds no PEM certificate", c.files.CA)
	}
	name, err := onlyName(pair.Leaf)
	if err != nil {
		return set, fmt.Errorf("%s: %w", c.files.Cert, err)
	}
	return certSet{own: &pair, name: name, roots: roots}, nil
}

// onlyName is the one subject alternative name of a certificate. With several
// it would be a choice whose certificate it is, so several are an error.
func onlyName(leaf *x509.Certificate) (string, error) {
	names := slices.Concat(leaf.DNSNames, leaf.EmailAddresses)
	for _, u := range leaf.URIs {
		names = append(names, u.String())
	}
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) != 1 {
		return "", fmt.Errorf("the certificate has %d subject alternative names, want exactly one", len(names))
	}
	return names[0], nil
}

func (c *certs) Own() (*tls.Certificate, error) { return c.current().own, nil }

func (c *certs) Check(chain []*x509.Certificate, server bool) error {
	set := c.current()
	if err := verify(chain, set.roots, server); err != nil {
		return err
	}
	name, err := onlyName(chain[0])
	if err != nil {
		return err
	}
	if c.files.Identity == Shared && name != set.name {
		return errors.New("the certificate is signed by our authority, but names another service than ours")
	}
	return nil
}

func (c *certs) ProvesNames() bool { return c.files.Identity == PerNode }

func (c *certs) CheckName(leaf *x509.Certificate, name string) error {
	if c.files.Identity == Shared {
		return nil
	}
	got, err := onlyName(leaf)
	if err != nil {
		return err
	}
	if got != name {
		return fmt.Errorf("the certificate is %q's, the node calls itself %q", got, name)
	}
	return nil
}
