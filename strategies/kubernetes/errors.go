package kubernetes

import (
	"crypto/x509"
	"errors"
	"fmt"
	"regexp"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/starlingmesh/starling/discovery"
)

// Forbidden is a failure that a Role would end.
type Forbidden struct {
	Role string // YAML
	err  error
}

func (f *Forbidden) Error() string {
	return fmt.Sprintf("%v; this pod's ServiceAccount lacks a Role, `starling check -c FILE` prints it", f.err)
}
func (f *Forbidden) Unwrap() error { return f.err }

// classify says what kind of trouble an answer of the API server is.
func classify(err error) error {
	var class discovery.Class
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	switch {
	case apierrors.IsForbidden(err):
		class = discovery.Auth
	case apierrors.IsUnauthorized(err):
		return discovery.Classed(discovery.Auth, "%w (the token is invalid or has expired)", err)
	case apierrors.IsNotFound(err):
		class = discovery.NotFound
	case apierrors.IsTooManyRequests(err):
		class = discovery.Throttled
	case apierrors.IsTimeout(err), apierrors.IsServerTimeout(err):
		class = discovery.Timeout
	case apierrors.IsBadRequest(err), apierrors.IsInvalid(err):
		class = discovery.Misconfigured
	case errors.As(err, &authority), errors.As(err, &host):
		return discovery.Classed(discovery.Auth, "%w (the API server's certificate is not the one we trust)", err)
	default:
		class = discovery.ClassOf(err)
	}
	return discovery.Classed(class, "%w", err)
}

// bearer finds who the API server takes us for in its refusals: forbidden: User
// "system:serviceaccount:shop:cart" cannot list resource ...
var bearer = regexp.MustCompile(`User "system:serviceaccount:([^:"]+):([^:"]+)"`)

// accountOf is "namespace/name" of the refused ServiceAccount.
func accountOf(err error, namespace string) string {
	if m := bearer.FindStringSubmatch(err.Error()); m != nil {
		return m[1] + "/" + m[2]
	}
	return namespace + "/default"
}
