package config

import (
	"strconv"
	"time"

	"github.com/starlingmesh/starling/strategies/kubernetes"
)

// Kubernetes watches a Service's endpoint slices, or pods. It needs a Role with get, list and watch, see
// docs/strategies/kubernetes.md. A watch that fails withdraws nobody.
type Kubernetes struct {
	// What to watch. Slices are small, and of a Service; pods are chosen by labels, and know their revision.
	Resource string `yaml:"resource" oneof:"endpointslices,pods"`
	// Endpoint slices: the Services whose pods run a sidecar.
	Services []string `yaml:"services" eg:"[cart]"`
	// Where to look. Empty means this pod's own namespace; ["*"] means all, and needs a ClusterRole.
	Namespaces []string `yaml:"namespaces" eg:"[shop, checkout]"`
	// Which of the objects, in the API server's syntax and by its work.
	LabelSelector string `yaml:"label_selector" eg:"app=cart,tier!=batch"`
	// And by their fields.
	FieldSelector string `yaml:"field_selector" eg:"spec.nodeName!=edge-1"`
	// The sidecars' port: its number, or its name in the Service or in the pods' containers.
	Port string `yaml:"port" eg:"starling"`
	// Which addresses are taken; auto takes both, those first that this machine has; dual takes both, IPv4 first.
	Family string `yaml:"family" oneof:"auto,ipv4,ipv6,dual"`
	// Who is offered beside the ready. Sidecars that wait for each other to become ready need not_ready.
	Include map[string]bool `yaml:"include"`
	// How addresses are written: by IP, by the name that a headless Service gives a StatefulSet's pod, or as
	// 10-0-0-1.shop.pod.cluster.local.
	Address string `yaml:"address" oneof:"pod_ip,hostname,pod_dns"`
	// What those names end in. auto reads it from /etc/resolv.conf.
	ClusterDomain string `yaml:"cluster_domain" eg:"cluster.local"`
	// revision offers only pods of this pod's own rollout; it needs resource: pods.
	GroupBy string `yaml:"group_by" oneof:"none,revision"`
	// How many sidecars watch the API server, and tell the rest. auto: all of up to 64, above that 8.
	Watchers string `yaml:"watchers" eg:"16"`
	// For a process outside of the cluster. Empty means the pod's ServiceAccount.
	Kubeconfig string `yaml:"kubeconfig" eg:"/etc/starling/kubeconfig"`
	// Which of the kubeconfig's contexts. Empty means the current one.
	Context string `yaml:"context" eg:"production"`
	// The folder with token, ca.crt and namespace. The token is read again and again.
	ServiceAccount string `yaml:"service_account"`
	// Requests a second to the API server.
	QPS int `yaml:"qps" range:"1..1000"`
	// And at once.
	Burst int `yaml:"burst" range:"1..1000"`
	// How often the whole picture is told again; 0 means never. It costs the API server nothing.
	Resync time.Duration `yaml:"resync" range:"0s..24h"`
}

// Validate is the strategy's own word.
func (o *Kubernetes) Validate() error { return kubernetes.Config(*o).Validate() }

func defaultKubernetes() Options {
	o := Kubernetes(kubernetes.Default())
	o.Port = strconv.Itoa(defaultPort)
	return &o
}
