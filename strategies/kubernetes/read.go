package kubernetes

import (
	"net/netip"
	"slices"
	"strings"
	"unique"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/starlingmesh/starling/discovery"
)

// Labels that say what a pod or a slice belongs to. The revision is the
// ReplicaSet's hash, or that of a StatefulSet or DaemonSet.
const (
	labelService   = discoveryv1.LabelServiceName
	labelPodHash   = "pod-template-hash"
	labelCtrlHash  = "controller-revision-hash"
	labelZone      = corev1.LabelTopologyZone
	skippedTold    = 64 // skipped things told of, of any number
	addrsOfPodMost = 16 // addresses of one pod in one object
)

// endpoint is what one object of the API says about one node.
type endpoint struct {
	facts

	addrs []netip.Addr
}

// facts can be compared.
type facts struct {
	key  string // the pod's UID; without one, its first address
	pod  string // name, empty if it is none
	port uint16
	host string // name under its Service

	namespace, service, node, zone, revision string

	ready, serving, terminating discovery.Tri
	unfit                       string // why it cannot be dialled
}

// same holds strings that thousands of endpoints share only once.
func same(s string) string { return unique.Make(s).Value() }

// readSlice lists the endpoints of a slice. It keeps nothing of it.
func readSlice(s *discoveryv1.EndpointSlice, c *Config) []endpoint {
	if s.AddressType == discoveryv1.AddressTypeFQDN {
		return nil
	}
	port, unfit := portOfSlice(s, c)
	ends := make([]endpoint, 0, len(s.Endpoints))
	for i := range s.Endpoints {
		from := &s.Endpoints[i]
		e := endpoint{addrs: addresses(from.Addresses), facts: facts{
			port: port, unfit: unfit, namespace: same(s.Namespace), service: same(s.Labels[labelService]),
			node: same(text(from.NodeName)), zone: same(text(from.Zone)), host: strings.Clone(text(from.Hostname)),
		}}
		if ref := from.TargetRef; ref != nil && ref.Kind == "Pod" {
			e.key, e.pod = strings.Clone(string(ref.UID)), strings.Clone(ref.Name)
		}
		if len(e.addrs) == 0 {
			continue
		}
		if e.key == "" { // a slice made by hand, or a mirrored one
			e.key = netip.AddrPortFrom(e.addrs[0], e.port).String()
		}
		// "A nil value should be interpreted as true" for ready; serving then
		// means the same; nil terminating is false (EndpointConditions, v1).
		// ready itself lies with publishNotReadyAddresses: it stays true while a
		// pod terminates.
		e.ready = tri(from.Conditions.Ready, discovery.Yes)
		e.serving = tri(from.Conditions.Serving, e.ready)
		e.terminating = tri(from.Conditions.Terminating, discovery.No)
		ends = append(ends, e)
	}
	return ends
}

func portOfSlice(s *discoveryv1.EndpointSlice, c *Config) (port uint16, unfit string) {
	if n := c.port(); n > 0 {
		return n, ""
	}
	for _, p := range s.Ports {
		if text(p.Name) == c.Port && p.Port != nil && (p.Protocol == nil || *p.Protocol == corev1.ProtocolTCP) {
			return portNumber(*p.Port), ""
		}
	}
	return 0, "the Service " + s.Labels[labelService] + " has no tcp port named " + c.Port
}

// readPod is what a pod says about itself; false if it cannot be a node.
func readPod(p *corev1.Pod, c *Config) (endpoint, bool) {
	if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return endpoint{}, false
	}
	ips := make([]string, 0, len(p.Status.PodIPs)+1)
	for _, ip := range p.Status.PodIPs {
		ips = append(ips, ip.IP)
	}
	if len(ips) == 0 && p.Status.PodIP != "" {
		ips = append(ips, p.Status.PodIP)
	}
	e := endpoint{addrs: addresses(ips), facts: facts{
		key: strings.Clone(string(p.UID)), pod: strings.Clone(p.Name), port: c.port(),
		host: strings.Clone(p.Spec.Hostname), namespace: same(p.Namespace), service: same(p.Spec.Subdomain),
		node: same(p.Spec.NodeName), zone: same(p.Labels[labelZone]), revision: same(revisionOf(p)),
		ready: discovery.No, terminating: discovery.No,
	}}
	if len(e.addrs) == 0 {
		return endpoint{}, false // it has not begun to be
	}
	for _, cond := range p.Status.Conditions {
		if cond.Type == corev1.PodReady && cond.Status == corev1.ConditionTrue {
			e.ready = discovery.Yes
		}
	}
	e.serving = e.ready
	if p.DeletionTimestamp != nil {
		e.terminating = discovery.Yes
	}
	if e.port == 0 {
		if e.port = portOfPod(p, c.Port); e.port == 0 {
			e.unfit = "no container of it has a tcp port named " + c.Port
		}
	}
	return e, true
}

// portOfPod looks among init containers too: a sidecar may be one.
func portOfPod(p *corev1.Pod, name string) uint16 {
	for _, list := range [][]corev1.Container{p.Spec.Containers, p.Spec.InitContainers} {
		for i := range list {
			for _, port := range list[i].Ports {
				if port.Name == name && (port.Protocol == "" || port.Protocol == corev1.ProtocolTCP) {
					return portNumber(port.ContainerPort)
				}
			}
		}
	}
	return 0
}

func portNumber(p int32) uint16 {
	if p < 1 || p > 65535 {
		return 0
	}
	return uint16(p)
}

func revisionOf(p *corev1.Pod) string {
	if hash := p.Labels[labelPodHash]; hash != "" {
		return hash
	}
	return p.Labels[labelCtrlHash]
}

func addresses(list []string) []netip.Addr {
	addrs := make([]netip.Addr, 0, len(list))
	for _, s := range list {
		ip, err := netip.ParseAddr(s)
		if err == nil && len(addrs) < addrsOfPodMost && !slices.Contains(addrs, ip.Unmap()) {
			addrs = append(addrs, ip.Unmap())
		}
	}
	return addrs
}

func tri(b *bool, otherwise discovery.Tri) discovery.Tri {
	switch {
	case b == nil:
		return otherwise
	case *b:
		return discovery.Yes
	default:
		return discovery.No
	}
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
