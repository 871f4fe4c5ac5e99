package kubernetes

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Config says what to watch, and what to make of it.
type Config struct {
	// Resource (resource, endpointslices) is endpointslices or pods. Slices are
	// smaller, and a Service's controller keeps them; pods know their revision.
	Resource string `yaml:"resource"`
	// Services (services; endpointslices only) are whose slices are watched, at
	// most 64 names; each of them in all namespaces given.
	Services []string `yaml:"services"`
	// Namespaces (namespaces, empty = this pod's own) are where to look, at most
	// 64. "*" alone is all of them, and needs a ClusterRole.
	Namespaces []string `yaml:"namespaces"`
	// LabelSelector and FieldSelector (label_selector, field_selector, empty) are
	// evaluated by the API server, in its own syntax.
	LabelSelector string `yaml:"label_selector"`
	FieldSelector string `yaml:"field_selector"`
	// Port (port, required) is the number of the nodes' port, or its name in the
	// Service or in the pod's containers.
	Port string `yaml:"port"`

	// Family (family, auto) is which addresses are taken: ipv4 or ipv6 only, dual
	// (both, IPv4 first), or auto (both, those first that this machine has).
	Family string `yaml:"family"`
	// Include (include, not_ready: true, terminating: false) is who is offered
	// beside the ready. Nodes that wait for each other to become ready need
	// not_ready.
	Include map[string]bool `yaml:"include"`
	// Address (address, pod_ip) is pod_ip, hostname (the name that a headless
	// Service gives the pod of a StatefulSet) or pod_dns (10-0-0-1.ns.pod.domain).
	Address string `yaml:"address"`
	// ClusterDomain (cluster_domain, auto) ends those names; auto reads it from
	// /etc/resolv.conf.
	ClusterDomain string `yaml:"cluster_domain"`
	// GroupBy (group_by, none) is none, or revision: only nodes of this pod's own
	// rollout are offered. revision needs resource pods.
	GroupBy string `yaml:"group_by"`

	// Watchers (watchers, auto) is how many nodes watch the API server and tell
	// the rest: auto (all up to 64 nodes, above it 8), or a number from 1 to 1024.
	Watchers string `yaml:"watchers"`

	// Kubeconfig (kubeconfig, empty = the pod's ServiceAccount) is a file, for
	// nodes outside of the cluster; Context (context, empty = its current one).
	Kubeconfig string `yaml:"kubeconfig"`
	Context    string `yaml:"context"`
	// ServiceAccount (service_account) is the folder with token, ca.crt and
	// namespace.
	ServiceAccount string `yaml:"service_account"`
	// QPS and Burst (qps, 5; burst, 10) bound the requests to the API server.
	QPS   int `yaml:"qps"`
	Burst int `yaml:"burst"`
	// Resync (resync, 10m, 0 or 10s to 24h) is how often the whole picture is told
	// again. It asks nothing of the API server.
	Resync time.Duration `yaml:"resync"`
}

// What may be watched, and the values of the options.
const (
	EndpointSlices = "endpointslices"
	Pods           = "pods"

	auto     = "auto"
	ipv4     = "ipv4"
	ipv6     = "ipv6"
	dual     = "dual"
	podIP    = "pod_ip"
	hostname = "hostname"
	podDNS   = "pod_dns"
	none     = "none"
	revision = "revision"

	notReady    = "not_ready"
	terminating = "terminating"

	allNamespaces = "*"
	listMax       = 64   // services, namespaces
	watchersMax   = 1024 // see Watchers
)

// Default returns the defaults; Port, and Services or a selector, have none.
func Default() Config {
	return Config{
		Resource: EndpointSlices, Family: auto, Include: map[string]bool{notReady: true, terminating: false},
		Address: podIP, ClusterDomain: auto, GroupBy: none, Watchers: auto,
		ServiceAccount: "/var/run/secrets/kubernetes.io/serviceaccount",
		QPS:            5, Burst: 10, Resync: 10 * time.Minute,
	}
}

// Validate says what is wrong with c, naming its keys.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	oneOf := func(key, value string, values ...string) {
		check(slices.Contains(values, value), "%s: %q is none of %s", key, value, strings.Join(values, ", "))
	}
	oneOf("resource", c.Resource, EndpointSlices, Pods)
	oneOf("family", c.Family, auto, ipv4, ipv6, dual)
	oneOf("address", c.Address, podIP, hostname, podDNS)
	oneOf("group_by", c.GroupBy, none, revision)
	for _, e := range slices.Concat(c.checkSelection(), c.checkNames()) {
		check(false, "%w", e)
	}
	for key := range c.Include {
		check(key == notReady || key == terminating, "include: %q is none of %s, %s", key, notReady, terminating)
	}
	check(c.GroupBy != revision || c.Resource == Pods, "group_by: revision needs resource: pods; slices do not say which rollout a pod is of")
	_, err := c.watchers()
	check(err == nil, "watchers: %w", err)
	check(c.Context == "" || c.Kubeconfig != "", "context: is for a kubeconfig, and there is none")
	check(c.Kubeconfig != "" || c.ServiceAccount != "", "service_account: is empty, and kubeconfig too")
	check(c.QPS >= 1 && c.QPS <= 1000, "qps: %d is not within 1 and 1000", c.QPS)
	check(c.Burst >= 1 && c.Burst <= 1000, "burst: %d is not within 1 and 1000", c.Burst)
	check(c.Resync == 0 || c.Resync >= 10*time.Second && c.Resync <= 24*time.Hour, "resync: %v is neither 0 nor within 10s and 24h", c.Resync)
	return errors.Join(errs...)
}

func (c Config) checkSelection() []error {
	var errs []error
	if _, err := labels.Parse(c.LabelSelector); err != nil {
		errs = append(errs, fmt.Errorf("label_selector: %w", err))
	}
	if _, err := fields.ParseSelector(c.FieldSelector); err != nil {
		errs = append(errs, fmt.Errorf("field_selector: %w", err))
	}
	selected := c.LabelSelector != "" || c.FieldSelector != ""
	switch {
	case c.Resource == Pods && len(c.Services) > 0:
		errs = append(errs, errors.New("services: is for resource endpointslices; pods are chosen by label_selector"))
	case c.Resource == Pods && !selected:
		errs = append(errs, errors.New("label_selector: is empty, and then every pod would be a contact; say which are"))
	case c.Resource == EndpointSlices && len(c.Services) == 0 && !selected:
		errs = append(errs, errors.New("services: is empty, and label_selector too; name the Service whose pods run this sidecar"))
	}
	return errs
}

func (c Config) checkNames() []error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	names := func(key string, list []string, check func(string) []string) {
		if len(list) > listMax {
			add("%s: %d entries, want at most %d", key, len(list), listMax)
		}
		for i, name := range list {
			if why := check(name); len(why) > 0 {
				add("%s[%d]: %q is no name: %s", key, i, name, why[0])
			}
		}
	}
	names("services", c.Services, validation.IsDNS1035Label)
	if !slices.Equal(c.Namespaces, []string{allNamespaces}) {
		names("namespaces", c.Namespaces, validation.IsDNS1123Label)
	}
	switch n, err := strconv.Atoi(c.Port); {
	case c.Port == "":
		add("port: is empty, want the port of the other nodes, by number or by its name in the Service")
	case err == nil && (n < 1 || n > 65535):
		add("port: %d is not within 1 and 65535", n)
	case err != nil && len(validation.IsDNS1123Label(c.Port)) > 0:
		add("port: %q is neither a number nor the name of a port", c.Port)
	}
	if c.ClusterDomain != auto {
		names("cluster_domain", []string{strings.TrimSuffix(c.ClusterDomain, ".")}, validation.IsDNS1123Subdomain)
	}
	return errs
}

// watchers returns how many nodes watch, 0 for auto.
func (c Config) watchers() (int, error) {
	if c.Watchers == auto {
		return 0, nil
	}
	n, err := strconv.Atoi(c.Watchers)
	if err != nil || n < 1 || n > watchersMax {
		return 0, fmt.Errorf("%q is neither auto nor a number from 1 to %d", c.Watchers, watchersMax)
	}
	return n, nil
}

// port returns the number, or 0 when it is a name.
func (c Config) port() uint16 {
	n, err := strconv.ParseUint(c.Port, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(n)
}

// takes reports whether addresses of ip's family are wanted.
func (c Config) takes(ip netip.Addr) bool {
	switch c.Family {
	case ipv4:
		return ip.Is4()
	case ipv6:
		return ip.Is6()
	default:
		return true
	}
}

// labelSelector is what the API server is asked to select by.
func (c Config) labelSelector() string {
	all := []string{}
	if c.LabelSelector != "" {
		all = append(all, c.LabelSelector)
	}
	if len(c.Services) > 0 {
		all = append(all, fmt.Sprintf("%s in (%s)", labelService, strings.Join(c.Services, ",")))
	}
	return strings.Join(all, ",")
}

// fieldSelector leaves finished pods on the server.
func (c Config) fieldSelector() string {
	if c.Resource != Pods {
		return c.FieldSelector
	}
	running := "status.phase!=Succeeded,status.phase!=Failed"
	if c.FieldSelector == "" {
		return running
	}
	return c.FieldSelector + "," + running
}
