package plane

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (p *Plane) etcdFlags(peerURL string) []string {
	return []string{
		"--name=e", "--data-dir=" + filepath.Join(p.dir, "etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=" + p.etcdURL, "--advertise-client-urls=" + p.etcdURL,
		"--listen-peer-urls=" + peerURL, "--initial-advertise-peer-urls=" + peerURL, "--initial-cluster=e=" + peerURL,
	}
}

func (p *Plane) apiServerFlags() []string {
	flags := []string{
		"--etcd-servers=" + p.etcdURL, "--bind-address=" + p.address, fmt.Sprintf("--secure-port=%d", p.apiPort),
		"--tls-cert-file=" + p.ca.file("apiserver.crt"), "--tls-private-key-file=" + p.ca.file("apiserver.key"),
		"--client-ca-file=" + p.ca.file("ca.crt"),
		"--service-account-issuer=" + Issuer,
		"--service-account-key-file=" + p.ca.file("sa.pub"), "--service-account-signing-key-file=" + p.ca.file("sa.key"),
		"--authorization-mode=Node,RBAC", "--allow-privileged=true", "--profiling=false",
		"--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112", // both families
		"--etcd-compaction-interval=0",                             // the tests compact
	}
	if p.nodes {
		return append(flags,
			"--kubelet-client-certificate="+p.ca.file("admin.crt"), "--kubelet-client-key="+p.ca.file("admin.key"),
			"--kubelet-preferred-address-types=InternalIP")
	}
	return append(flags,
		"--advertise-address=10.0.0.1",    // nobody asks for it, but without a route to the world it must be said
		"--endpoint-reconciler-type=none") // it would publish 127.0.0.1, which is refused
}

func (p *Plane) controllersFlags(port int) []string {
	flags := append(p.clientFlags("controllers", port),
		"--use-service-account-credentials=true", "--root-ca-file="+p.ca.file("ca.crt"),
		"--service-account-private-key-file="+p.ca.file("sa.key"),
		"--kube-api-qps=1000", "--kube-api-burst=2000") // as for a large cluster
	if p.nodes {
		return append(flags, "--node-monitor-period=2s", "--node-monitor-grace-period=12s")
	}
	return append(flags, "--controllers="+strings.Join(controllers, ","))
}

func (p *Plane) schedulerFlags(port int) []string { return p.clientFlags("scheduler", port) }

// clientFlags are those of a server that is a client of the API server's, alone in its kind, and serves on loopback.
func (p *Plane) clientFlags(name string, port int) []string {
	kubeconfig := p.ca.file(name + ".kubeconfig")
	return []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port), "--leader-elect=false",
	}
}

func (p *Plane) etcdServes(ctx context.Context) error {
	_, err := p.etcd(ctx, http.MethodGet, "/health", nil)
	return err
}

// APIServes says whether the API server and all it needs are well.
func (p *Plane) APIServes(ctx context.Context) error {
	return p.adminAPI.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
}

// controllersServe looks for the first thing that the controllers make, the service account of each namespace.
func (p *Plane) controllersServe(ctx context.Context) error {
	_, err := p.adminAPI.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
	return err
}

// Compact forgets all that etcd knows of the past: whoever asks for changes since then is told 410 Gone. It returns the
// oldest revision that is left, which is the newest.
func (p *Plane) Compact(ctx context.Context) (revision int64, err error) {
	text, err := p.etcd(ctx, http.MethodPost, "/v3/kv/range", map[string]any{"key": "AA==", "limit": 1})
	if err != nil {
		return 0, err
	}
	var answer struct{ Header struct{ Revision string } }
	if err := json.Unmarshal(text, &answer); err != nil {
		return 0, fmt.Errorf("read etcd's answer: %w", err)
	}
	if revision, err = strconv.ParseInt(answer.Header.Revision, 10, 64); err != nil {
		return 0, fmt.Errorf("read etcd's revision: %w", err)
	}
	_, err = p.etcd(ctx, http.MethodPost, "/v3/kv/compaction", map[string]any{"revision": answer.Header.Revision, "physical": true})
	return revision, err
}

// etcd asks etcd through its JSON gateway.
func (p *Plane) etcd(ctx context.Context, method, path string, ask any) (answer []byte, err error) {
	body, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, p.etcdURL+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	if answer, err = io.ReadAll(res.Body); err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("etcd: %s %s: %s: %s", method, path, res.Status, answer)
	}
	return answer, nil
}
