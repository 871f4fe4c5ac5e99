package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/starlingmesh/starling/e2e/kube/nodes"
)

// it is the cluster that all tests share; each has namespaces of its own. No test runs beside another: some break things.
var it *nodes.Cluster

// filesKey names the folder of what the outer process built for the inner one.
const filesKey = "STARLING_CLUSTER_FILES"

// built is one of its files.
func built(name string) string { return filepath.Join(os.Getenv(filesKey), name) }

const (
	starlingImage = "ghcr.io/starlingmesh/starling:dev"
	appImage      = "docker.io/starling-e2e/app:test"
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if os.Getenv(filesKey) == "" {
		dir, err := os.MkdirTemp("", "starling-cluster-")
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		if err := os.Setenv(filesKey, dir); err != nil {
			return 0, err
		}
	}
	return nodes.Main(prepare, func() int {
		if it, err = nodes.Start(context.Background(), 3, built("app"), []string{built("starling.tar"), built("app.tar")}, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, "start a cluster:", err)
			return 1
		}
		return m.Run()
	}), nil
}

// prepare builds the images.
func prepare(ctx context.Context) error {
	began := time.Now()
	root, err := root()
	if err != nil {
		return err
	}
	if err := goBuild(ctx, ".", "./app", built("app")); err != nil {
		return err
	}
	if err := goBuild(ctx, root, "./cmd/starling", built("starling")); err != nil {
		return err
	}
	app := nodes.Image{Ref: appImage, Program: built("app"), Entrypoint: []string{"/app"}}
	if err := app.Write(built("app.tar")); err != nil {
		return err
	}
	err = nodes.Image{Ref: starlingImage, Program: built("starling"), Entrypoint: []string{"/starling"}, User: "65532"}.Write(built("starling.tar"))
	fmt.Printf("programs and images are built after %v\n", time.Since(began).Round(100*time.Millisecond))
	return err
}

func goBuild(ctx context.Context, dir, pkg, out string) error {
	c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", out, pkg)
	c.Dir, c.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if said, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", pkg, err, said)
	}
	return nil
}

// root is the repository's.
func root() (string, error) {
	if d := os.Getenv("DEVROOT"); d != "" {
		return d, nil
	}
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/starlingmesh/starling").Output()
	return strings.TrimSpace(string(out)), err
}
