// Package plane runs a real Kubernetes control plane: etcd, kube-apiserver with RBAC, service accounts' tokens and TLS, and the
// controllers. On loopback it needs no root, and nobody runs pods: the tests say what became of them. At an address that nodes
// reach it has a scheduler and all controllers. It never runs a node (package nodes does), and leaves nothing behind.
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
	"strconv"
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

const loopback = "127.0.0.1"

// startMost bounds the start of one server. It takes 3 to 8 s on an idle machine with two cores.
const startMost = 2 * time.Minute

// controllers are those that tests of discovery need. Left out on purpose: node lifecycle and pod garbage collection, which
// take pods away from nodes that no kubelet vouches for.
var controllers = []string{
	"endpointslice-controller", "namespace-controller", "serviceaccount-controller", "root-ca-certificate-publisher-controller",
	"statefulset-controller", "deployment-controller", "replicaset-controller", "garbage-collector-controller",
}

// Options say more about a control plane.
type Options struct {
	// Address is where the API server listens, an IP of this machine's that nodes reach. Empty: on loopback, without nodes.
	Address string
}

// A Plane is a running control plane.
type Plane struct {
	Etcd, APIServer, Controllers *Process
	Scheduler                    *Process // nil without nodes

	// TokenKey signs the tokens of service accounts.
	TokenKey *rsa.PrivateKey

	dir      string
	program  string
	address  string // of the API server
	nodes    bool
	ca       *authority
	jobs     chan<- func()
	etcdURL  string
	apiPort  int
	admin    *rest.Config
	adminAPI kubernetes.Interface
}

// Start builds what is missing, starts the control plane and returns when it serves; progress goes to log.
func Start(ctx context.Context, opts Options, log io.Writer) (p *Plane, err error) {
	program, err := build.Program(ctx, "kubernetes", log)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "starling-kube-")
	if err != nil {
		return nil, err
	}
	p = &Plane{dir: dir, program: program, address: opts.Address, nodes: opts.Address != "", jobs: spawner()}
	if !p.nodes {
		p.address = loopback
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	ports, err := freePorts(5)
	if err != nil {
		return nil, err
	}
	p.etcdURL, p.apiPort = fmt.Sprintf("http://127.0.0.1:%d", ports[0]), ports[2]
	if err := p.certificates(); err != nil {
		return nil, fmt.Errorf("make certificates: %w", err)
	}
	began := time.Now()
	p.Etcd = p.Server("etcd", p.etcdFlags(fmt.Sprintf("http://127.0.0.1:%d", ports[1]))...)
	p.APIServer = p.Server("kube-apiserver", p.apiServerFlags()...)
	p.Controllers = p.Server("kube-controller-manager", p.controllersFlags(ports[3])...)
	servers := []*Process{p.Etcd, p.APIServer, p.Controllers}
	if p.nodes {
		p.Scheduler = p.Server("kube-scheduler", p.schedulerFlags(ports[4])...)
		servers = append(servers, p.Scheduler)
	}
	for _, server := range servers {
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
		p.Scheduler: func(context.Context) error { return nil }, // who needs it sees pods pending
	}[server]
	return server.await(ctx, startMost, ready)
}

// Close ends all servers and removes their files. A control plane that never came up has nothing to end.
func (p *Plane) Close() error {
	for _, server := range []*Process{p.Scheduler, p.Controllers, p.APIServer, p.Etcd} {
		if server != nil {
			server.Resume()
			server.Kill() // nothing of it is needed any more
		}
	}
	close(p.jobs)
	return os.RemoveAll(p.dir)
}

// Server is one of Kubernetes' programs, not started yet. Its log is a file beside the control plane's.
func (p *Plane) Server(name string, flags ...string) *Process {
	return p.Process(name, append([]string{p.program, name}, flags...)...)
}

// Process is any program, not started yet. It ends with this process at the latest.
func (p *Plane) Process(name string, argv ...string) *Process {
	return &Process{name: name, argv: argv, log: filepath.Join(p.dir, name+".log"), jobs: p.jobs}
}

func (p *Plane) certificates() (err error) {
	if p.ca, err = newAuthority(p.dir); err != nil {
		return err
	}
	if p.TokenKey, err = p.ca.accountKey(); err != nil {
		return err
	}
	if err := p.ca.issue("apiserver", pkix.Name{CommonName: "kube-apiserver"}, p.address); err != nil {
		return err
	}
	for name, subject := range map[string]pkix.Name{
		"admin":       {CommonName: "admin", Organization: []string{"system:masters"}},
		"controllers": {CommonName: "system:kube-controller-manager"},
		"scheduler":   {CommonName: "system:kube-scheduler"},
	} {
		if _, err := p.Client(name, subject); err != nil {
			return err
		}
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

// Client makes a certificate for a client, or for a server at addresses, and returns the kubeconfig that uses it.
func (p *Plane) Client(name string, subject pkix.Name, addresses ...string) (kubeconfig string, err error) {
	if err := p.ca.issue(name, subject, addresses...); err != nil {
		return "", err
	}
	kubeconfig = p.ca.file(name + ".kubeconfig")
	user := api.AuthInfo{ClientCertificate: p.ca.file(name + ".crt"), ClientKey: p.ca.file(name + ".key")}
	return kubeconfig, p.WriteKubeconfig(kubeconfig, p.URL(), user, "")
}

// File is one of the control plane's files, such as ca.crt or admin.kubeconfig.
func (p *Plane) File(name string) string { return p.ca.file(name) }

// URL is where the API server is.
func (p *Plane) URL() string {
	return "https://" + net.JoinHostPort(p.address, strconv.Itoa(p.apiPort))
}

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
