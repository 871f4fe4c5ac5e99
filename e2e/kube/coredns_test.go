package kube

import (
	"context"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/starlingmesh/starling/discovery"
	"github.com/starlingmesh/starling/e2e/kube/build"
	"github.com/starlingmesh/starling/e2e/kube/plane"
	"github.com/starlingmesh/starling/strategies/dns"
)

// The cluster's own name server: CoreDNS with its kubernetes plugin, as clusters have it.
const (
	nameServer = "127.0.0.1:5300"
	recordsFor = time.Second // the TTL, so that the test need not wait longer
)

// coreDNS starts the name server and returns when it answers for the Service.
func (w *world) coreDNS() *plane.Process {
	w.t.Helper()
	program, err := build.Program(w.t.Context(), "coredns", os.Stderr)
	w.must("build CoreDNS", err)
	kubeconfig, err := control.Client("coredns", pkix.Name{CommonName: "coredns", Organization: []string{"system:masters"}})
	w.must("make a certificate for CoreDNS", err)
	file := filepath.Join(w.t.TempDir(), "Corefile")
	_, port, _ := net.SplitHostPort(nameServer)
	w.must("write a Corefile", os.WriteFile(file, fmt.Appendf(nil, `cluster.local:%s {
	bind 127.0.0.1
	errors
	kubernetes cluster.local {
		kubeconfig %s
		ttl %d
	}
}
`, port, kubeconfig, int(recordsFor.Seconds())), 0o600))
	p := control.Process("coredns", program, "-conf", file)
	w.must("start CoreDNS", p.Start())
	w.t.Cleanup(p.Kill)
	return p
}

// lookByName looks by the dns strategy, as a sidecar without any right in the cluster does.
func (w *world) lookByName(names ...string) *lookout {
	w.t.Helper()
	c := dns.Default()
	c.Names, c.Nameservers, c.Port = names, []string{nameServer}, port
	c.MinRefresh, c.MaxRefresh, c.Timeout = recordsFor, recordsFor, time.Second
	return w.lookBy(func(log *slog.Logger) discovery.Source {
		s, err := dns.New(c, log)
		w.must("make the strategy", err)
		return discovery.Source{Name: "dns", Strategy: s, Refresh: s.Refresh, SelfOptional: true}
	})
}

// name is the Service's in the cluster's zone.
func (w *world) name() string { return fmt.Sprintf("%s.%s.svc.cluster.local", service, w.ns) }

func (w *world) answered() {
	w.t.Helper()
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, nameServer)
	}}
	w.await("CoreDNS answers for the Service", patience, func() error {
		_, err := resolver.LookupHost(w.t.Context(), w.name()+".")
		return err
	})
}

func TestPodsAreFoundByTheClustersNameServer(t *testing.T) {
	for what, name := range map[string]string{"addresses": "%s", "SRV records": "_starling._tcp.%s"} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.serve(service)
			pods := flockOf(5)
			w.start(pods...)
			server := w.coreDNS()
			w.answered()
			l := w.lookByName(fmt.Sprintf(name, w.name()))
			l.want(pods...)

			server.Kill()
			w.await("the strategy notices that nobody answers", patience, func() error {
				l.mu.Lock()
				defer l.mu.Unlock()
				if len(l.failures) == 0 {
					return fmt.Errorf("nothing failed")
				}
				return nil
			})
			w.must("start CoreDNS again", server.Start())
			w.answered()
			next := pod{name: "next", app: service, ips: []string{address(77)}}
			w.start(next)
			l.want(append(pods, next)...)
			l.wantNobodyLost()

			l.leaving(pods[0])
			w.remove(pods[0])
			l.want(append(pods[1:], next)...)
			l.wantNobodyLost()
		})
	}
}
