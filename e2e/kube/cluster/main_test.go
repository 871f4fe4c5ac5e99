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

	"github.com/starlingmesh/starling/e2e/kube/build"
	"github.com/starlingmesh/starling/e2e/kube/nodes"
)

// it is the cluster that all tests share; each has namespaces of its own. No test runs beside another: some break things.
var it *nodes.Cluster

// filesKey names the folder of what the outer process built for the inner one.
const filesKey = "STARLING_CLUSTER_FILES"

// built is one of its files.
func built(name string) string { return filepath.Join(os.Getenv(filesKey), name) }

// appImage is what the user's own chart in testdata runs.
const appImage = "docker.io/starling-e2e/app:test"

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
		defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
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

// crds is the folder of cert-manager's CustomResourceDefinitions, and imageFile what `make image` said of the image.
const (
	crds      = "crds"
	imageFile = "image.txt"
)

// prepare builds the images, and what else the tests of this package want.
func prepare(ctx context.Context) error {
	began := time.Now()
	if _, err := build.Program(ctx, "certmanager", os.Stderr); err != nil {
		return err
	}
	certManager, err := build.Folder(ctx, "certmanager", "github.com/cert-manager/cert-manager")
	if err != nil {
		return err
	}
	if err := os.CopyFS(built(crds), os.DirFS(filepath.Join(certManager, "deploy", "crds"))); err != nil {
		return fmt.Errorf("copy cert-manager's CustomResourceDefinitions: %w", err)
	}
	root, err := root()
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", built("app"), "./app")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build the application: %w: %s", err, out)
	}
	image := exec.CommandContext(ctx, "go", "run", "./image", "-o", built("starling.tar")) // as `make image` does
	image.Dir = root
	out, err := image.CombinedOutput()
	if err != nil {
		return fmt.Errorf("make the image: %w: %s", err, out)
	}
	fmt.Printf("%s", out)
	app := nodes.Image{Ref: appImage, Program: built("app"), Entrypoint: []string{"/app"}}
	err = errors.Join(os.WriteFile(built(imageFile), out, 0o600), app.Write(built("app.tar")))
	fmt.Printf("programs and images are built after %v\n", time.Since(began).Round(100*time.Millisecond))
	return err
}

// root is the repository's.
func root() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/starlingmesh/starling").Output()
	return strings.TrimSpace(string(out)), err
}
