package kubernetes

import (
	"net/netip"
	"slices"

	"github.com/starlingmesh/starling/discovery"
)

// Labels that say what a pod or a slice belongs to. The revision is the
// ReplicaSet's hash, or that of a StatefulSet or DaemonSet.
const (
	labelService  = "kubernetes.io/service-name"
	labelPodHash  = "pod-template-hash"
	labelCtrlHash = "controller-revision-hash"
	labelZone     = "topology.kubernetes.io/zone"

	addrsMax = 16 // addresses of one endpoint
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

	// ready lies with publishNotReadyAddresses: it stays true while a pod
	// terminates. serving does not.
	ready, serving, terminating discovery.Tri
	unfit                       string // why it cannot be dialled
}

// endpoints are those that a slice speaks of.
func (s *slice) endpoints(c *Config) []endpoint {
	if s.addressType == "FQDN" {
		return nil
	}
	number, unfit := c.port(), ""
	if number == 0 {
		if number = find(s.ports, c.Port); number == 0 {
			unfit = "the Service " + s.Labels[labelService] + " has no tcp port named " + c.Port
		}
	}
	ends := make([]endpoint, 0, len(s.ends))
	for _, e := range s.ends {
		if len(e.addrs) == 0 {
			continue
		}
		e.port, e.unfit, e.namespace, e.service = number, unfit, s.Namespace, s.Labels[labelService]
		if e.key == "" { // a slice made by hand, or a mirrored one
			e.key = netip.AddrPortFrom(e.addrs[0], e.port).String()
		}
		ends = append(ends, e)
	}
	return ends
}

// endpoints are the pod, or nobody: it has ended, or has no address yet.
func (p *pod) endpoints(c *Config) []endpoint {
	e := p.end
	if p.phase == "Succeeded" || p.phase == "Failed" || len(e.addrs) == 0 {
		return nil
	}
	e.key, e.pod, e.namespace = string(p.UID), p.Name, p.Namespace
	e.zone = p.Labels[labelZone]
	if e.revision = p.Labels[labelPodHash]; e.revision == "" {
		e.revision = p.Labels[labelCtrlHash]
	}
	if p.DeletionTimestamp != nil {
		e.terminating = discovery.Yes
	}
	if e.port = c.port(); e.port == 0 {
		if e.port = find(p.ports, c.Port); e.port == 0 {
			e.unfit = "no container of it has a tcp port named " + c.Port
		}
	}
	return []endpoint{e}
}

// find returns the number of the tcp port with a name, or 0.
func find(ports []port, name string) uint16 {
	for _, p := range ports {
		if p.name == name && (p.protocol == "" || p.protocol == "TCP") && p.number > 0 && p.number < 1<<16 {
			return uint16(p.number)
		}
	}
	return 0
}

func addresses(list []string) []netip.Addr {
	addrs := make([]netip.Addr, 0, len(list))
	for _, s := range list {
		ip, err := netip.ParseAddr(s)
		if err == nil && len(addrs) < addrsMax && !slices.Contains(addrs, ip.Unmap()) {
			addrs = append(addrs, ip.Unmap())
		}
	}
	return addrs
}
