package nodes

import (
	"bufio"
	"context"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/starlingmesh/starling/e2e/kube/plane"
)

// A Node is a network namespace with one cable, eth0, a mount namespace, and what runs in them.
type Node struct {
	Name    string
	Address string

	Containerd, Kubelet, Proxy *plane.Process

	cluster *Cluster
	number  int
	dir     string
	holder  *exec.Cmd // the process whose namespaces they are
}

// addNode makes the namespaces of a node and connects them.
func (c *Cluster) addNode(ctx context.Context, number int) (*Node, error) {
	n := &Node{
		Name: fmt.Sprintf("n%d", number), Address: fmt.Sprintf("10.88.0.1%d", number),
		cluster: c, number: number, dir: filepath.Join(c.dir, strconv.Itoa(number)),
	}
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return nil, err
	}
	if err := n.hold(ctx); err != nil {
		return nil, fmt.Errorf("make its namespaces: %w", err)
	}
	for _, words := range []string{
		fmt.Sprintf("link add %s type veth peer name eth0 netns %d", n.Name, n.holder.Process.Pid),
		fmt.Sprintf("link set %s master %s up", n.Name, bridge),
	} {
		if err := run(ctx, "ip", strings.Fields(words)...); err != nil {
			return nil, err
		}
	}
	for _, words := range []string{
		"addr add " + n.Address + netmask + " dev eth0",
		"link set eth0 up",
		// To other nodes' pods by the control plane's host, which knows the way. Addresses of Services need any way to go:
		// kube-proxy rewrites them.
		"route add default via " + Address,
	} {
		if err := n.run(ctx, append([]string{"ip"}, strings.Fields(words)...)...); err != nil {
			return nil, err
		}
	}
	return n, run(ctx, "ip", "route", "add", n.podNetwork(), "via", n.Address)
}

// podNetwork is where the addresses of the node's pods are from.
func (n *Node) podNetwork() string { return fmt.Sprintf("10.244.%d.0/24", n.number) }

// Command is a program that runs at the node.
func (n *Node) Command(ctx context.Context, words ...string) *exec.Cmd {
	words = n.at(words...)
	return exec.CommandContext(ctx, words[0], words[1:]...)
}

// at is the words that run a program at the node. Unlike `ip netns exec` it leaves /sys as it is: the cgroups are there.
func (n *Node) at(words ...string) []string {
	return append([]string{"nsenter", "-t", strconv.Itoa(n.holder.Process.Pid), "-n", "-m", "--"}, words...)
}

func (n *Node) run(ctx context.Context, words ...string) error {
	words = n.at(words...)
	return run(ctx, words[0], words[1:]...)
}

// Import gives the node an image, from a file that Image.Write or `make image` made.
func (n *Node) Import(ctx context.Context, tar string) error {
	return n.run(ctx, append(ImportWords(), tar)...)
}

// ImportWords are the words that do it, but for the file.
func ImportWords() []string {
	return []string{"ctr", "-n", "k8s.io", "images", "import", "--all-platforms"}
}

// serve starts what makes a node of it.
func (n *Node) serve(ctx context.Context, images []string) error {
	if err := n.configure(); err != nil {
		return err
	}
	process := func(name string, words ...string) *plane.Process {
		return n.cluster.Process(name+"-"+n.Name, n.at(words...)...)
	}
	n.Containerd = process("containerd", "containerd", "-c", n.file("containerd.toml"))
	if err := n.Containerd.Start(); err != nil {
		return err
	}
	if err := await(ctx, startMost, func() error { return n.run(ctx, "ctr", "version") }); err != nil {
		return fmt.Errorf("containerd: %w", err)
	}
	for _, tar := range images {
		if err := n.Import(ctx, tar); err != nil {
			return fmt.Errorf("import %s: %w", tar, err)
		}
	}
	kubeconfig, err := n.cluster.Client(n.Name, pkix.Name{CommonName: "system:node:" + n.Name, Organization: []string{"system:nodes"}}, n.Address)
	if err != nil {
		return err
	}
	n.Kubelet = process("kubelet", n.cluster.program, "kubelet", "--config="+n.file("kubelet.yaml"), "--kubeconfig="+kubeconfig,
		"--hostname-override="+n.Name, "--node-ip="+n.Address)
	n.Proxy = process("kube-proxy", n.cluster.program, "kube-proxy", "--config="+n.file("proxy.yaml"))
	return errors.Join(n.Kubelet.Start(), n.Proxy.Start())
}

func (n *Node) file(name string) string { return filepath.Join(n.dir, name) }

// holdKey tells a process of the test binary that it is a node's holder, and where its folder is.
const holdKey = "STARLING_NODE"

// hold starts a process in new namespaces. It mounts what programs of a node are to find at their usual places.
func (n *Node) hold(ctx context.Context) error {
	n.holder = exec.CommandContext(context.WithoutCancel(ctx), "/proc/self/exe")
	n.holder.Env = append(os.Environ(), holdKey+"="+n.dir)
	n.holder.Stderr = os.Stderr
	n.holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	said, err := n.holder.StdoutPipe()
	if err != nil {
		return err
	}
	if err := n.holder.Start(); err != nil {
		return err
	}
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil {
		return fmt.Errorf("it said %q: %w", line, errors.Join(err, n.holder.Wait()))
	}
	return nil
}

// holder is that process. It ends with the namespace of processes that it is in.
func holder(dir string) {
	if err := prepare(dir); err != nil {
		fmt.Fprintln(os.Stderr, "prepare a node:", err)
		os.Exit(1)
	}
	fmt.Println("ready")
	select {}
}

// kernelWishes are settings of the machine that a kubelet makes as it likes them. It is shown these instead, and the machine
// is left alone.
var kernelWishes = map[string]string{"vm/overcommit_memory": "1", "kernel/panic": "10", "kernel/panic_on_oops": "1"}

func prepare(dir string) error {
	mount := func(from, to, kind string, flags uintptr) error {
		if err := unix.Mount(from, to, kind, flags, ""); err != nil {
			return fmt.Errorf("mount %s on %s: %w", from, to, err)
		}
		return nil
	}
	for _, d := range []string{"lib", "log"} { // kubelet, containerd and CNI keep things in /var/lib, and logs of pods in /var/log
		if err := os.MkdirAll(filepath.Join(dir, d), 0o750); err != nil {
			return err
		}
		if err := mount(filepath.Join(dir, d), "/var/"+d, "", unix.MS_BIND); err != nil {
			return err
		}
	}
	for setting, wish := range kernelWishes {
		from := filepath.Join(dir, filepath.Base(setting))
		if err := os.WriteFile(from, []byte(wish+"\n"), 0o600); err != nil {
			return err
		}
		if err := mount(from, "/proc/sys/"+setting, "", unix.MS_BIND); err != nil {
			return err
		}
	}
	return errors.Join(
		mount("", "/var/lib", "", unix.MS_SHARED), // volumes that a pod shares with its node
		mount("run", "/run", "tmpfs", 0),
		os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0),
		run(context.Background(), "ip", "link", "set", "lo", "up"),
	)
}
