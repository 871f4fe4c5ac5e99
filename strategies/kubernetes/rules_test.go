package kubernetes

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/starlingmesh/starling/discovery"
)

// pictureOf is what objects say, as they come from a server.
func pictureOf(t *testing.T, c Config, objs ...runtime.Object) *picture {
	t.Helper()
	p := newPicture(&c, naming{domain: "cluster.local", self: "cart-0", selfNS: "shop"})
	for _, o := range objs {
		m := accessor(o)
		var ends []endpoint
		switch o := o.(type) {
		case *discoveryv1.EndpointSlice:
			var s slice
			unmarshal(t, o, &s)
			ends = s.endpoints(&c)
		case *corev1.Pod:
			var p pod
			unmarshal(t, o, &p)
			ends = p.endpoints(&c)
		}
		p.put(m.GetName(), ends)
	}
	return p
}

func unmarshal(t *testing.T, from interface{ Marshal() ([]byte, error) }, to interface{ Unmarshal([]byte) error }) {
	t.Helper()
	data, err := from.Marshal()
	if err == nil {
		err = to.Unmarshal(data)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func said(p *picture) string {
	cands, skipped := p.all()
	var words []string
	for _, c := range cands {
		words = append(words, strings.Join(c.Addrs, "+"))
	}
	for _, s := range skipped {
		words = append(words, "("+s.What+": "+s.Why+")")
	}
	return strings.Join(words, " ")
}

func TestWhoIsOfferedAndHow(t *testing.T) {
	cond := func(s *discoveryv1.EndpointSlice, ready, serving, ending *bool) *discoveryv1.EndpointSlice {
		s.Endpoints[0].Conditions = discoveryv1.EndpointConditions{Ready: ready, Serving: serving, Terminating: ending}
		return s
	}
	twin := func(s, of *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
		s.Endpoints[0].TargetRef = of.Endpoints[0].TargetRef
		return s
	}
	bare := func(s *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
		s.Endpoints[0].TargetRef = nil
		return s
	}
	phase := func(p *corev1.Pod, phase corev1.PodPhase) *corev1.Pod { p.Status.Phase = phase; return p }
	four := sliceOf("a", "10.5.0.1")
	six := twin(sliceOf("b", "fd00::1"), four)
	for _, tt := range []struct {
		name string
		set  func(*Config)
		objs []runtime.Object
		want string
	}{
		{"nil ready is ready", func(c *Config) { c.Include[notReady] = false }, []runtime.Object{cond(sliceOf("a", "10.5.0.1"), nil, nil, nil)}, "10.5.0.1:7827"},
		{"ready and not serving", func(c *Config) { c.Include[notReady] = false }, []runtime.Object{cond(sliceOf("a", "10.5.0.1"), new(true), new(false), nil)}, "(shop/cart-10.5.0.1: it is not ready)"},
		{"published though terminating", nil, []runtime.Object{cond(sliceOf("a", "10.5.0.1"), new(true), new(true), new(true))}, "(shop/cart-10.5.0.1: it is terminating)"},
		{"terminating wanted", func(c *Config) { c.Include[terminating] = true }, []runtime.Object{cond(sliceOf("a", "10.5.0.1"), new(true), new(true), new(true))}, "10.5.0.1:7827"},
		{"in two slices at once", nil, []runtime.Object{sliceOf("a", "10.5.0.1"), sliceOf("b", "10.5.0.1", "10.5.0.2")}, "10.5.0.1:7827 10.5.0.2:7827"},
		{"both families", nil, []runtime.Object{six, four}, "10.5.0.1:7827+[fd00::1]:7827"},
		{"one family", func(c *Config) { c.Family = ipv6 }, []runtime.Object{six, four}, "[fd00::1]:7827"},
		{"not of that family", func(c *Config) { c.Family = ipv6 }, []runtime.Object{four}, "(shop/cart-10.5.0.1: it has no ipv6 address)"},
		{"no pod behind it", nil, []runtime.Object{bare(sliceOf("a", "10.5.0.1"))}, "10.5.0.1:7827"},
		{"no such port", func(c *Config) { c.Port = "other" }, []runtime.Object{four}, "(shop/cart-10.5.0.1: the Service cart has no tcp port named other)"},
		{"a port by number", func(c *Config) { c.Port = "7000" }, []runtime.Object{four}, "10.5.0.1:7000"},
		{"by its name", func(c *Config) { c.Address = hostname }, []runtime.Object{four}, "cart-0.cart.shop.svc.cluster.local:7827"},
		{"by its pod's name", func(c *Config) { c.Address = podDNS }, []runtime.Object{six, four}, "10-5-0-1.shop.pod.cluster.local:7827+fd00--1.shop.pod.cluster.local:7827"},
		{"pods that have ended", nil, []runtime.Object{phase(podAt("a", "10.5.0.1"), corev1.PodFailed), phase(podAt("b", "10.5.0.2"), corev1.PodSucceeded)}, ""},
		{"a pod without an address", nil, []runtime.Object{podAt("a")}, ""},
		{"a pod of both families", nil, []runtime.Object{podAt("a", "fd00::1", "10.5.0.1")}, "10.5.0.1:7827+[fd00::1]:7827"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Default()
			c.Port = "starling"
			if tt.set != nil {
				tt.set(&c)
			}
			if got := said(pictureOf(t, c, tt.objs...)); got != tt.want {
				t.Errorf("said %q, want %q", got, tt.want)
			}
		})
	}
}

func TestARevisionKeepsToItself(t *testing.T) {
	c := Default()
	c.Resource, c.GroupBy, c.Port = Pods, revision, "starling"
	other := podAt("cart-2", "10.5.0.3")
	other.Labels[labelPodHash] = "v2"
	got := said(pictureOf(t, c, podAt("cart-0", "10.5.0.1"), podAt("cart-1", "10.5.0.2"), other))
	if want := `10.5.0.1:7827 10.5.0.2:7827 (shop/cart-2: it is of revision "v2", this pod of "v1")`; got != want {
		t.Errorf("said %s", got)
	}
}

func TestOnceTerminatingAlwaysTerminating(t *testing.T) {
	c := Default()
	c.Port = "starling"
	old := sliceOf("b", "10.5.0.1") // the copy in another slice is older
	s := sliceOf("a", "10.5.0.1")
	s.Endpoints[0].Conditions.Terminating = new(true)
	e, _ := pictureOf(t, c, s, old).find("uid-10.5.0.1")
	if e.terminating != discovery.Yes {
		t.Errorf("terminating: %v", e.terminating)
	}
}

func TestCredentialsThatMakeNoSenseAreExplained(t *testing.T) {
	for _, tt := range []struct{ cluster, want string }{
		{"server: 'https://10.0.0.1', insecure-skip-tls-verify: true", "always verified"},
		{"server: 'http://10.0.0.1'", "not https"},
	} {
		c := Default()
		c.Kubeconfig = writeKubeconfig(t, tt.cluster, "token: t")
		if _, err := connect(&c); err == nil || !strings.Contains(err.Error(), tt.want) || discovery.ClassOf(err) != discovery.Misconfigured {
			t.Errorf("%s: %v", tt.cluster, err)
		}
	}
	c := Default()
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := connect(&c); err == nil || !strings.Contains(err.Error(), "not in a pod") {
		t.Errorf("outside of a pod: %v", err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	c.ServiceAccount = t.TempDir()
	if _, err := connect(&c); err == nil || !strings.Contains(err.Error(), "automountServiceAccountToken") {
		t.Errorf("without a ServiceAccount: %v", err)
	}
}

func TestTheDomainIsReadFromTheSearchList(t *testing.T) {
	for text, want := range map[string]string{
		"search shop.svc.k8s.example svc.k8s.example k8s.example\nnameserver 10.0.0.1\n": "k8s.example",
		"nameserver 10.0.0.1\n": "cluster.local",
	} {
		if got := clusterDomain(text); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func FuzzObjects(f *testing.F) {
	for _, o := range []interface{ Marshal() ([]byte, error) }{sliceOf("a", "10.5.0.1"), podAt("b", "10.5.0.2")} {
		data, err := o.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		c := Default()
		for _, o := range []interface {
			Unmarshal([]byte) error
			endpoints(*Config) []endpoint
		}{new(slice), new(pod)} {
			if o.Unmarshal(data) == nil {
				o.endpoints(&c)
			}
		}
		_ = new(sliceList).Unmarshal(data)
		_ = new(podList).Unmarshal(data)
	})
}
