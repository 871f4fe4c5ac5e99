package nodes

import (
	"fmt"
	"os"
	"path/filepath"
)

// sandboxImage is what a pod's namespaces are held by.
const sandboxImage = "docker.io/starling-e2e/pause:test"

// cniPrograms is where Debian's package has them.
const cniPrograms = "/usr/lib/cni"

// configure writes the configuration of the node's programs.
func (n *Node) configure() error {
	for name, text := range map[string]string{
		"containerd.toml":   n.containerdConfig(),
		"cni/10.conflist":   n.cniConfig(),
		"kubelet.yaml":      n.kubeletConfig(),
		"proxy.yaml":        n.proxyConfig(),
		"empty-resolv.conf": "", // pods are to ask nobody outside
	} {
		if err := os.MkdirAll(filepath.Dir(n.file(name)), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(n.file(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// containerdConfig leaves out snapshotters that need what a machine may lack, and raises no process's protection from the
// OOM killer: root of a virtual machine or a container may lack CAP_SYS_RESOURCE.
func (n *Node) containerdConfig() string {
	return fmt.Sprintf(`version = 2
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
`, sandboxImage, cniPrograms, n.file("cni"))
}

func (n *Node) cniConfig() string {
	return fmt.Sprintf(`{"cniVersion": "0.4.0", "name": "pods", "plugins": [{
  "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
  "ipam": {"type": "host-local", "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
`, n.podNetwork())
}

// kubeletConfig takes the machine as it is: cgroups of the first version, swap, a full disk. Three kubelets share its cgroups, so
// none manages them. What changes in a Secret reaches pods when their kubelet looks at them again: sooner than each minute.
func (n *Node) kubeletConfig() string {
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %q}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
localStorageCapacityIsolation: false
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
resolvConf: %q
evictionHard: {memory.available: "0%%", nodefs.available: "0%%", imagefs.available: "0%%"}
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 2s
nodeLeaseDurationSeconds: 8
syncFrequency: 10s
registerNode: true
`, n.cluster.File("ca.crt"), n.file("empty-resolv.conf"))
}

func (n *Node) proxyConfig() string {
	return fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: 10.244.0.0/16
hostnameOverride: %s
clientConnection: {kubeconfig: %q}
conntrack: {maxPerCore: 0, min: 0, tcpCloseWaitTimeout: 0s, tcpEstablishedTimeout: 0s}
`, n.Name, n.cluster.File("proxy.kubeconfig"))
}
