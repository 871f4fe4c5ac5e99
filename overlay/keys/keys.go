// Package keys says who may speak in a cluster: certificates from a pre-shared
// key or from files, the TLS that demands them of both sides, and the key of a
// process that its node ID is made of. It opens no connection and holds no
// state of one.
package keys

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// Source says with which certificate a node shows that it is a member, and whom
// it believes to be one. Methods are called by many handshakes at once.
type Source interface {
	// Own is the certificate to show now.
	Own() (*tls.Certificate, error)
	// Check tells whether the chain (leaf first, never empty) proves membership;
	// server says in which role its holder showed it.
	Check(chain []*x509.Certificate, server bool) error
	// CheckName tells whether the holder of a checked leaf may call itself name.
	CheckName(leaf *x509.Certificate, name string) error
	// ProvesNames tells whether CheckName ever says no; if not, a name is a claim.
	ProvesNames() bool
}

// TLS is TLS 1.3 with a certificate demanded of both sides. Chains are
// checked in VerifyConnection, which resumed connections cannot skip, against
// roots that may change while we run; nothing is resumed all the same.
func TLS(keys Source, server bool) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{"starling"},
		SessionTicketsDisabled: true,
		// One record a write from the first on: small first records help browsers, not us.
		DynamicRecordSizingDisabled: true,
		GetCertificate:              func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return keys.Own() },
		GetClientCertificate:        func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return keys.Own() },
		ClientAuth:                  tls.RequireAnyClientCert,
		InsecureSkipVerify:          true, //nolint:gosec // VerifyConnection does it: membership counts here, not a host name
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return errors.New("the peer showed no certificate")
			}
			return keys.Check(state.PeerCertificates, !server)
		},
	}
}
