package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/starlingmesh/starling/e2e/kube/nodes"
)

var it *nodes.Cluster

const appKey = "STARLING_E2E_APP"

func TestMain(m *testing.M) {
	var dir string
	code := nodes.Main(func(ctx context.Context) (err error) {
		dir, err = os.MkdirTemp("", "cluster-")
		if err != nil {
			return err
		}
		out := filepath.Join(dir, "app")
		c := exec.CommandContext(ctx, "go", "build", "-o", out, "./app")
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		c.Stderr = os.Stderr
		os.Setenv(appKey, out)
		return c.Run()
	}, func() int {
		var err error
		began := time.Now()
		it, err = nodes.Start(context.Background(), 3, os.Getenv(appKey), nil, os.Stderr)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println("up after", time.Since(began))
		return m.Run()
	})
	if dir != "" {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

func TestIt(t *testing.T) {
	out, err := it.Kubectl(t.Context(), "get", "nodes", "-o", "wide").CombinedOutput()
	t.Logf("%s %v", out, err)
	out, err = it.Kubectl(t.Context(), "run", "x", "--image=docker.io/starling-e2e/pause:test", "--image-pull-policy=Never").CombinedOutput()
	t.Logf("%s %v", out, err)
	out, err = it.Kubectl(t.Context(), "wait", "--for=condition=Ready", "pod/x", "--timeout=30s").CombinedOutput()
	t.Logf("%s %v", out, err)
	out, err = it.Kubectl(t.Context(), "describe", "pod", "x").CombinedOutput()
	t.Logf("%s %v", out, err)
}
