// Package kubernetes offers the pods that a Kubernetes API server knows, by
// watching EndpointSlices or Pods.
//
// It watches and never polls: a list once, then changes as they come. A watch
// that fails makes the source stale, which it says; it never makes it empty. It
// asks the API server for as little as it can: selectors are the server's work,
// and in a large cluster a few nodes watch for all. It writes nothing to the API
// server, and it does not use the typed clientset, which would double the binary.
package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/starlingmesh/starling/discovery"
)

const (
	// gather is how long changes wait for others before they are told: a rollout
	// changes many at once.
	gather = 20 * time.Millisecond
	// settle is how long it must be quiet after changes until the whole picture
	// is told, settleMost how long that may be put off.
	settle     = time.Second
	settleMost = 5 * time.Second
	// firstWait is how long the first report waits for all namespaces.
	firstWait = 2 * time.Second

	resolvConf    = "/etc/resolv.conf"
	defaultDomain = "cluster.local"
)

// Kubernetes is the strategy.
type Kubernetes struct {
	cfg   Config
	relay Relay // may be nil
	log   *slog.Logger
	ask   chan struct{} // capacity 1: tell the whole picture again

	role string // the last one that was logged as missing; owned by Run
}

// New returns the strategy. It reads no credentials before Run. Without a relay
// (nil) it watches for itself, however many nodes there are.
func New(cfg Config, relay Relay, log *slog.Logger) (*Kubernetes, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("kubernetes: %w", err)
	}
	if cfg.GroupBy == revision {
		relay = nil // what a watcher offers would be its own revision's
	}
	return &Kubernetes{cfg: cfg, relay: relay, log: log, ask: make(chan struct{}, 1)}, nil
}

// Refresh has the whole picture told again. As long as it is watched there is no
// need to ask the API server.
func (k *Kubernetes) Refresh() {
	select {
	case k.ask <- struct{}{}:
	default:
	}
}

// Run watches until ctx ends. It returns an error when it cannot begin: there
// are no credentials, or they make no sense.
func (k *Kubernetes) Run(ctx context.Context, sink discovery.Sink) error {
	a, err := connect(&k.cfg)
	if err != nil {
		return err
	}
	defer a.close()
	namespaces, err := k.namespaces(a)
	if err != nil {
		return err
	}
	look := func() (*watcher, error) { return newWatcher(&k.cfg, a, namespaces, k.naming(a)) }
	if k.relay != nil {
		return k.runAmong(ctx, look, sink)
	}
	w, err := look()
	if err != nil {
		return err
	}
	k.watch(ctx, w, nil, sink)
	return nil
}

// watch runs a watcher, and tells what it sees, until ctx ends.
func (k *Kubernetes) watch(ctx context.Context, w *watcher, among *among, sink discovery.Sink) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { w.run(ctx) })
	t := &teller{k: k, w: w, sink: sink, among: among, told: map[string]struct{}{}, began: time.Now()}
	t.run(ctx)
}

// namespaces are those given, or this pod's own.
func (k *Kubernetes) namespaces(a *api) ([]string, error) {
	switch {
	case len(k.cfg.Namespaces) > 0:
		list := slices.Clone(k.cfg.Namespaces)
		slices.Sort(list)
		return slices.Compact(list), nil
	case a.namespace != "":
		return []string{a.namespace}, nil
	default:
		return nil, discovery.Classed(discovery.Misconfigured, "namespaces: is empty, and neither %s nor a kubeconfig says which is ours", k.cfg.ServiceAccount+"/namespace")
	}
}

// naming finds out what the forms of addresses need.
func (k *Kubernetes) naming(a *api) naming {
	n := naming{domain: strings.TrimSuffix(k.cfg.ClusterDomain, "."), selfNS: a.namespace}
	if n.domain == auto {
		data, _ := os.ReadFile(resolvConf) // without one there is a usual domain
		n.domain = clusterDomain(string(data))
	}
	if k.cfg.Family == auto {
		n.six = onlySix()
	}
	n.self, _ = os.Hostname() // a pod's name, unless its spec says otherwise
	return n
}

// clusterDomain reads the domain from the search list that a kubelet writes:
// "search shop.svc.cluster.local svc.cluster.local cluster.local".
func clusterDomain(resolvConf string) string {
	for line := range strings.Lines(resolvConf) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "search" {
			continue
		}
		for _, word := range words[1:] {
			if domain, ok := strings.CutPrefix(word, "svc."); ok && domain != "" {
				return strings.TrimSuffix(domain, ".")
			}
		}
	}
	return defaultDomain
}

// onlySix reports whether this machine has IPv6 addresses and no IPv4 ones.
func onlySix() bool {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	four, six := false, false
	for _, a := range list {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || !p.Addr().IsGlobalUnicast() {
			continue
		}
		four, six = four || p.Addr().Is4(), six || p.Addr().Is6()
	}
	return six && !four
}

// explained classifies a failure. Of a refusal it logs once which Role would end
// it.
func (k *Kubernetes) explained(err error, w *watcher) error {
	if !apierrors.IsForbidden(err) {
		return classify(err)
	}
	var namespaces []string
	for i := range w.scopes {
		namespaces = append(namespaces, w.scopes[i].namespace)
	}
	role := Role(k.cfg.Resource, namespaces, accountOf(err, namespaces[0]))
	if role != k.role {
		k.role = role
		k.log.Warn("kubernetes: the API server forbids what this source needs; apply this", "why", err, "role", role)
	}
	return discovery.Classed(discovery.Auth, "%w", &Forbidden{Role: role, err: err})
}

// MissingRole returns the YAML of the Role that err is about, or "".
func MissingRole(err error) string {
	if f, ok := errors.AsType[*Forbidden](err); ok {
		return f.Role
	}
	return ""
}
