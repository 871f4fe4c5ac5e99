package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	tokens "k8s.io/client-go/transport"
	"k8s.io/client-go/util/connrotation"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/starlingmesh/starling/discovery"
)

const (
	dialTimeout = 10 * time.Second
	listTimeout = 30 * time.Second // a list, or a question about rights
)

// kind is a kind of object that can be watched.
type kind struct {
	version schema.GroupVersion
	name    string
	sample  runtime.Object
	list    func() runtime.Object
}

var kinds = map[string]kind{
	EndpointSlices: {
		schema.GroupVersion{Group: "discovery.k8s.io", Version: "v1"}, "EndpointSlice",
		&slice{}, func() runtime.Object { return &sliceList{} },
	},
	Pods: {schema.GroupVersion{Version: "v1"}, "Pod", &pod{}, func() runtime.Object { return &podList{} }},
}

// The few types of the API that are spoken of here. The typed clientset knows
// all of them, and costs 15 MB of binary.
var (
	scheme     = newScheme()
	codecs     = serializer.NewCodecFactory(scheme).WithoutConversion()
	parameters = runtime.NewParameterCodec(scheme)
)

func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, k := range kinds {
		s.AddKnownTypeWithName(k.version.WithKind(k.name), k.sample)
		s.AddKnownTypeWithName(k.version.WithKind(k.name+"List"), k.list())
		metav1.AddToGroupVersion(s, k.version)
	}
	return s
}

// api is the way to the API server.
type api struct {
	config    *rest.Config
	http      *http.Client
	conns     *connrotation.Dialer
	namespace string // this pod's own, or the context's
}

// connect reads the credentials. It opens no connection.
func connect(c *Config) (*api, error) {
	read := fromServiceAccount
	if c.Kubeconfig != "" {
		read = fromKubeconfig
	}
	config, namespace, err := read(c)
	if err != nil {
		return nil, discovery.Classed(discovery.Misconfigured, "%w", err)
	}
	if err := verified(config); err != nil {
		return nil, discovery.Classed(discovery.Misconfigured, "%w", err)
	}
	config.UserAgent = "starling"
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	config.ContentType = runtime.ContentTypeProtobuf
	config.NegotiatedSerializer = codecs
	config.RateLimiter = flowcontrol.NewTokenBucketRateLimiter(float32(c.QPS), c.Burst)
	config.WarningHandler = rest.NoWarnings{}

	if file := config.BearerTokenFile; file != "" {
		// By itself client-go reads the file once a minute; this, at once when the
		// server refuses what it read.
		config.Wrap(tokens.ResettableTokenSourceWrapTransport(tokens.NewCachedFileTokenSource(file)))
		config.BearerToken, config.BearerTokenFile = "", ""
	}

	// client-go's own transports live in a table of the whole process, for ever.
	a := &api{config: config, namespace: namespace}
	a.conns = connrotation.NewDialer((&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext)
	tlsConfig, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, discovery.Classed(discovery.Misconfigured, "certificates for the API server: %w", err)
	}
	transport := utilnet.SetTransportDefaults(&http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: dialTimeout, TLSClientConfig: tlsConfig,
		MaxIdleConnsPerHost: 2, DialContext: a.conns.DialContext,
	})
	if config.Proxy != nil {
		transport.Proxy = config.Proxy
	}
	wrapped, err := rest.HTTPWrappersForConfig(config, transport)
	if err != nil {
		return nil, discovery.Classed(discovery.Misconfigured, "credentials for the API server: %w", err)
	}
	a.http = &http.Client{Transport: wrapped}
	return a, nil
}

// close ends all connections.
func (a *api) close() {
	a.conns.CloseAll()
	utilnet.CloseIdleConnectionsFor(a.http.Transport)
}

// client speaks of the types of one group.
func (a *api) client(gv schema.GroupVersion) (*rest.RESTClient, error) {
	config := rest.CopyConfig(a.config)
	config.GroupVersion = &gv
	config.APIPath = "/apis"
	if gv.Group == "" {
		config.APIPath = "/api"
	}
	client, err := rest.RESTClientForConfigAndClient(config, a.http)
	if err != nil {
		return nil, discovery.Classed(discovery.Misconfigured, "address of the API server: %w", err)
	}
	return client, nil
}

func fromServiceAccount(c *Config) (config *rest.Config, namespace string, err error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, "", errors.New("this process is not in a pod (KUBERNETES_SERVICE_HOST is not set): set kubeconfig for a process outside of the cluster")
	}
	token, ca := filepath.Join(c.ServiceAccount, "token"), filepath.Join(c.ServiceAccount, "ca.crt")
	for _, file := range []string{token, ca} {
		if _, err := os.ReadFile(file); err != nil {
			return nil, "", fmt.Errorf("no ServiceAccount is mounted: %w; set automountServiceAccountToken: true for the pod, or mount a projected token and set service_account to its folder", err)
		}
	}
	// Without the file the namespaces must be given.
	name, _ := os.ReadFile(filepath.Join(c.ServiceAccount, "namespace"))
	return &rest.Config{
		Host:            "https://" + net.JoinHostPort(host, port),
		TLSClientConfig: rest.TLSClientConfig{CAFile: ca},
		BearerTokenFile: token, // read again: tokens expire
	}, strings.TrimSpace(string(name)), nil
}

func fromKubeconfig(c *Config) (config *rest.Config, namespace string, err error) {
	file, err := clientcmd.LoadFromFile(c.Kubeconfig)
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig: %w", err)
	}
	if err := clientcmd.ResolveLocalPaths(file); err != nil {
		return nil, "", fmt.Errorf("kubeconfig %s: %w", c.Kubeconfig, err)
	}
	chosen := clientcmd.NewNonInteractiveClientConfig(*file, c.Context, &clientcmd.ConfigOverrides{}, nil)
	if config, err = chosen.ClientConfig(); err != nil {
		return nil, "", fmt.Errorf("kubeconfig %s: %w", c.Kubeconfig, err)
	}
	namespace, _, err = chosen.Namespace()
	return config, namespace, err
}

// verified refuses what would let anybody play the API server.
func verified(c *rest.Config) error {
	if c.Insecure {
		return errors.New("kubeconfig: insecure-skip-tls-verify is set; the API server's certificate is always verified: give certificate-authority instead")
	}
	u, err := url.Parse(c.Host)
	if err != nil {
		return fmt.Errorf("kubeconfig: server: %w", err)
	}
	ip, _ := netip.ParseAddr(u.Hostname())
	if u.Scheme != "https" && u.Hostname() != "localhost" && !ip.IsLoopback() {
		return fmt.Errorf("kubeconfig: server %s is not https and not on this machine", c.Host)
	}
	return nil
}

// patience bounds a request that is no watch.
func patience(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, listTimeout)
}
