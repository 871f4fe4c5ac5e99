// Package nodes runs a real Kubernetes cluster on this machine: a control plane (package plane) and nodes that each have a network,
// mounts, containerd, kubelet and kube-proxy of their own. All of it lives in namespaces of the test's process (Main) and dies with
// it. It touches no network, mount or process of the machine's, pulls no image, and knows nothing of Starling.
//
//	control plane  10.88.0.1       the test's own process is here, and reaches nodes and pods
//	node i         10.88.0.1i      nI; its pods are 10.244.i.0/24
//	services       10.96.0.0/16    as nodes and pods see them
package nodes

import (
	"bytes"
	"context"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/starlingmesh/starling/e2e/kube/build"
	"github.com/starlingmesh/starling/e2e/kube/plane"
)

// Address is the control plane's.
const Address = "10.88.0.1"

const (
	bridge  = "br0"
	netmask = "/24"

	// startMost bounds each step of a start. Together they take some 15 s on an idle machine with two cores.
	startMost = 3 * time.Minute
)

// A Cluster is a control plane and its nodes.
type Cluster struct {
	*plane.Plane

	Nodes []*Node

	dir     string
	program string // kubernetes
	helm    string
}

// Start starts a cluster of so many nodes, at most 9, with these images on each, and returns when all nodes are ready. pause is
// the program of the image that holds a pod's namespaces. Progress goes to log.
func Start(ctx context.Context, count int, pause string, images []string, log io.Writer) (c *Cluster, err error) {
	c = &Cluster{}
	if c.dir, err = os.MkdirTemp("", "nodes-"); err != nil {
		return nil, err
	}
	for name, path := range map[string]*string{"kubernetes": &c.program, "helm": &c.helm} {
		if *path, err = build.Program(ctx, name, log); err != nil {
			return nil, err
		}
	}
	if err := c.network(ctx); err != nil {
		return nil, fmt.Errorf("lay the network: %w", err)
	}
	if c.Plane, err = plane.Start(ctx, plane.Options{Address: Address}, log); err != nil {
		return nil, err
	}
	if _, err := c.Client("proxy", pkix.Name{CommonName: "system:kube-proxy"}); err != nil {
		return nil, err
	}
	sandbox := filepath.Join(c.dir, "pause.tar")
	if err := (Image{Ref: sandboxImage, Program: pause, Entrypoint: []string{"/" + filepath.Base(pause), "pause"}}).Write(sandbox); err != nil {
		return nil, fmt.Errorf("make the pause image: %w", err)
	}
	began := time.Now()
	for i := range count {
		n, err := c.addNode(ctx, i+1)
		if err != nil {
			return nil, fmt.Errorf("start node %d: %w", i+1, err)
		}
		c.Nodes = append(c.Nodes, n)
	}
	for _, n := range c.Nodes {
		if err := n.serve(ctx, append([]string{sandbox}, images...)); err != nil {
			return nil, fmt.Errorf("start node %s: %w", n.Name, err)
		}
	}
	if err := c.awaitNodes(ctx); err != nil {
		return nil, err
	}
	fmt.Fprintf(log, "%d nodes are ready after %v\n", count, time.Since(began).Round(100*time.Millisecond))
	return c, nil
}

// network makes the bridge to which nodes are connected.
func (c *Cluster) network(ctx context.Context) error {
	for _, words := range []string{
		"link set lo up", "link add " + bridge + " type bridge", "addr add " + Address + netmask + " dev " + bridge, "link set " + bridge + " up",
	} {
		if err := run(ctx, "ip", strings.Fields(words)...); err != nil {
			return err
		}
	}
	return nil
}

// awaitNodes waits until every node says that it is ready.
func (c *Cluster) awaitNodes(ctx context.Context) error {
	return await(ctx, startMost, func() error {
		list, err := c.Admin().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		ready := 0
		for i := range list.Items {
			if Ready(&list.Items[i]) {
				ready++
			}
		}
		if ready < len(c.Nodes) {
			return fmt.Errorf("%d of %d nodes are ready; their logs are kubelet-nI.log in %s", ready, len(c.Nodes), c.File(""))
		}
		return nil
	})
}

// Ready tells whether a node says that it is ready.
func Ready(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// Kubectl is a command of kubectl with all rights.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) *exec.Cmd {
	return c.client(ctx, c.program, append([]string{"kubectl"}, args...)...)
}

// Helm is a command of helm with all rights.
func (c *Cluster) Helm(ctx context.Context, args ...string) *exec.Cmd {
	return c.client(ctx, c.helm, args...)
}

func (c *Cluster) client(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.File("admin.kubeconfig"), "HOME="+c.dir)
	return cmd
}

// run runs a program to its end; what it says is part of the error.
func run(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// await waits until f is content.
func await(ctx context.Context, most time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	ticks := time.NewTicker(100 * time.Millisecond)
	defer ticks.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %w", most, errors.Join(err, ctx.Err()))
		case <-ticks.C:
		}
	}
}
