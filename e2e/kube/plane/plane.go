// Package plane runs a real Kubernetes control plane on loopback: etcd, kube-apiserver with RBAC, service accounts' tokens and
// TLS, and the controllers. It needs no root, leaves nothing behind, and never runs a pod: there is no kubelet, so the tests
// say what became of pods.
package plane

import (
	"context"
	"crypto/rsa"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/starlingmesh/starling/e2e/kube/build"
)

// Issuer is who signs the tokens of service accounts.
const Issuer = "https://kubernetes.default.svc.cluster.local"

// startMost bounds the start of one server. It takes 3 to 8 s on an idle machine with two cores.
const startMost = 2 * time.Minute

// controllers are those that tests of discovery need. Left out on purpose: node lifecycle and pod garbage collection, which
// take pods away from nodes that no kubelet vouches for.
var controllers = []string{
	"endpointslice-controller", "namespace-controller", "serviceaccount-controller", "root-ca-certificate-publisher-controller",
	"statefulset-controller", "deployment-controller", "replicaset-controller", "garbage-collector-controller",
}

// A Plane is a running control plane.
type Plane struct {
	Etcd, APIServer, Controllers *Process

	// TokenKey signs the tokens of service accounts.
	TokenKey *rsa.PrivateKey

	dir      string
	ca       *authority
	jobs     chan<- func()
	etcdURL  string
	apiPort  int
	admin    *rest.Config
	adminAPI kubernetes.Interface
}

// Start builds what is missing, starts the control plane and returns when it serves; progress goes to log.
func Start(ctx context.Context, log io.Writer) (p *Plane, err error) {
	program, err := build.Program(ctx, "kubernetes", log)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "starling-kube-")
	if err != nil {
		return nil, err
	}
	p = &Plane{dir: dir, jobs: spawner()}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	ports, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	p.etcdURL, p.apiPort = fmt.Sprintf("http://127.0.0.1:%d", ports[0]), ports[2]
	if err := p.certificates(); err != nil {
		return nil, fmt.Errorf("make certificates: %w", err)
	}
	began := time.Now()
	p.Etcd = p.process(append([]string{program, "etcd"}, p.etcdFlags(fmt.Sprintf("http://127.0.0.1:%d", ports[1]))...))
	p.APIServer = p.process(append([]string{program, "kube-apiserver"}, p.apiServerFlags()...))
	p.Controllers = p.process(append([]string{program, "kube-controller-manager"}, p.controllersFlags(ports[3])...))
	for _, server := range []*Process{p.Etcd, p.APIServer, p.Controllers} {
		if err := p.StartAgain(ctx, server); err != nil {
			return nil, err
		}
		fmt.Fprintf(log, "%s serves after %v\n", server.name, time.Since(began).Round(100*time.Millisecond))
	}
	return p, nil
}

// StartAgain starts one of the servers and returns when it serves.
func (p *Plane) StartAgain(ctx context.Context, server *Process) error {
	if err := server.Start(); err != nil {
		return err
	}
	ready := map[*Process]func(context.Context) error{
		p.Etcd: p.etcdServes, p.APIServer: p.APIServes, p.Controllers: p.controllersServe,
	}[server]
	return server.await(ctx, startMost, ready)
}

// Close ends all servers and removes their files. A control plane that never came up has nothing to end.
func (p *Plane) Close() error {
	for _, server := range []*Process{p.Controllers, p.APIServer, p.Etcd} {
		if server != nil {
			server.Resume()
			server.Kill() // nothing of it is needed any more
		}
	}
	close(p.jobs)
	return os.RemoveAll(p.dir)
}

func (p *Plane) process(argv []string) *Process {
	name := argv[1]
	return &Process{name: name, argv: argv, log: filepath.Join(p.dir, name+".log"), jobs: p.jobs}
}

func (p *Plane) certificates() (err error) {
	if p.ca, err = newAuthority(p.dir); err != nil {
		return err
	}
	if p.TokenKey, err = p.ca.accountKey(); err != nil {
		return err
	}
	subjects := map[string]pkix.Name{
		"apiserver":   {CommonName: "kube-apiserver"},
		"admin":       {CommonName: "admin", Organization: []string{"system:masters"}},
		"controllers": {CommonName: "system:kube-controller-manager"},
	}
	for name, subject := range subjects {
		if err := p.ca.issue(name, subject); err != nil {
			return err
		}
	}
	user := api.AuthInfo{ClientCertificate: p.ca.file("controllers.crt"), ClientKey: p.ca.file("controllers.key")}
	if err := p.WriteKubeconfig(p.ca.file("controllers.kubeconfig"), p.URL(), user, ""); err != nil {
		return err
	}
	p.admin = &rest.Config{
		Host: p.URL(), QPS: -1, Timeout: time.Minute, // without a limit of its own: the tests are to wait for the server only
		TLSClientConfig: rest.TLSClientConfig{
			CAFile: p.ca.file("ca.crt"), CertFile: p.ca.file("admin.crt"), KeyFile: p.ca.file("admin.key"),
		},
	}
	p.adminAPI, err = kubernetes.NewForConfig(p.admin)
	return err
}

// URL is where the API server is.
func (p *Plane) URL() string { return fmt.Sprintf("https://127.0.0.1:%d", p.apiPort) }

// Address is the same, as host:port.
func (p *Plane) Address() string { return strings.TrimPrefix(p.URL(), "https://") }

// Admin may do everything.
func (p *Plane) Admin() kubernetes.Interface { return p.adminAPI }

// WriteKubeconfig writes a file for a client that reaches the API server at url, through a proxy on loopback if that is not
// its own.
func (p *Plane) WriteKubeconfig(path, url string, user api.AuthInfo, namespace string) error {
	c := api.NewConfig()
	c.Clusters["test"] = &api.Cluster{Server: url, CertificateAuthority: p.ca.file("ca.crt")}
	c.AuthInfos["user"] = &user
	c.Contexts["test"] = &api.Context{Cluster: "test", AuthInfo: "user", Namespace: namespace}
	c.CurrentContext = "test"
	return clientcmd.WriteToFile(*c, path)
}

// freePorts asks the kernel for ports of loopback that are free now.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // all at the end, so that none is given twice
		addr, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			panic("a TCP listener has a TCP address")
		}
		ports = append(ports, addr.Port)
	}
	return ports, nil
}
