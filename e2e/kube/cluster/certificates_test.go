package cluster

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/starlingmesh/starling/e2e/kube/build"
)

// issuers are an authority of the namespace's own: cert-manager makes its certificate, too.
const issuers = `apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: bootstrap}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: authority}
spec:
  isCA: true
  commonName: birds
  secretName: authority
  privateKey: {algorithm: Ed25519}
  issuerRef: {name: bootstrap}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: birds}
spec: {ca: {secretName: authority}}
`

// The certificate is replaced half a minute after it was made, and every half minute from then on: sooner than that is not allowed.
func TestACertificateOfCertManagersIsUsedAndRenewed(t *testing.T) {
	w := newWorld(t)
	w.certManager()
	path := filepath.Join(t.TempDir(), "issuers.yaml")
	w.must("write it down", os.WriteFile(path, []byte(issuers), 0o600))
	w.kubectl("apply", "-f", path)
	w.install("birds", "demo.replicas=3", "security.certificates.certManager.enabled=true",
		"security.certificates.certManager.issuer.name=birds",
		"security.certificates.certManager.duration=1h", "security.certificates.certManager.renewBefore=59m30s")
	pods := w.pods(demo)
	w.awaitMembers("all are members", names(pods))
	first := map[string]string{}
	for _, p := range pods {
		leaf, err := shown(t.Context(), p)
		w.must("look at a sidecar's certificate", err)
		first[p.Name] = leaf.SerialNumber.String()
		if _, ok := leaf.PublicKey.(ed25519.PublicKey); !ok || !slices.Equal(leaf.DNSNames, []string{"birds-starling." + w.ns + ".svc"}) {
			t.Errorf("%s shows a certificate for %v with a %T", p.Name, leaf.DNSNames, leaf.PublicKey)
		}
	}
	t.Logf("they show %v", first)
	w.await("every sidecar shows another certificate", func() error {
		for _, p := range pods {
			if leaf, err := shown(t.Context(), p); err != nil || leaf.SerialNumber.String() == first[p.Name] {
				return errors.Join(fmt.Errorf("%s shows the first", p.Name), err)
			}
		}
		return nil
	})
	// New links are made with it: one pod is replaced, and joins.
	w.kubectl("delete", "pod", pods[0].Name)
	w.kubectl("rollout", "status", "deployment/birds-starling-demo", "--timeout="+patience.String())
	after := names(w.pods(demo))
	w.awaitMembers("a new pod is a member, too", after)
	out, err := w.starling(after[0], "multicall", "demo.echo", "hello")
	w.must("ask everybody", err)
	w.must("three replies", wantAll(table(out, "NODE", "VERDICT"), "replied", after))
	for _, p := range w.pods(demo) {
		if n := p.Status.InitContainerStatuses[0].RestartCount; n != 0 {
			t.Errorf("the sidecar of %s was started again %d times, want none", p.Name, n)
		}
	}
}

// certManager runs cert-manager's controllers until the test ends.
func (w *world) certManager() {
	w.t.Helper()
	w.kubectl("apply", "--server-side", "-f", built(crds))
	w.kubectl("wait", "--for=condition=Established", "--timeout="+patience.String(), "crd/certificates.cert-manager.io", "crd/issuers.cert-manager.io",
		"crd/certificaterequests.cert-manager.io")
	program, err := build.Program(w.t.Context(), "certmanager", os.Stderr)
	w.must("find cert-manager", err)
	p := it.Process("cert-manager", program, it.File("admin.kubeconfig"))
	w.must("start cert-manager", p.Start())
	w.t.Cleanup(func() {
		p.Kill()
		if log, err := os.ReadFile(it.File("cert-manager.log")); err == nil && w.t.Failed() {
			w.t.Logf("cert-manager's log ends with\n%s", log[max(0, len(log)-6000):])
		}
	})
}

// shown is the certificate that a pod's sidecar shows to who connects.
func shown(ctx context.Context, pod corev1.Pod) (leaf *x509.Certificate, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"starling"},
		InsecureSkipVerify: true, // it is only looked at
		VerifyConnection: func(s tls.ConnectionState) error {
			leaf = s.PeerCertificates[0]
			return nil
		},
	}}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(pod.Status.PodIP, "7827"))
	if leaf != nil { // that it wants one of ours, too, is no matter
		if err == nil {
			_ = conn.Close()
		}
		return leaf, nil
	}
	return nil, err
}
