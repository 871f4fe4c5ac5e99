// Package build makes the servers that the tests run from their Go modules (../servers, ../certmanager), and keeps them in the
// user's cache. It never downloads a finished program, and never uses one that happens to be installed.
package build

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A recipe is what a program is built from: a package, as a module beside this one knows it.
type recipe struct{ module, pkg string }

var recipes = map[string]recipe{
	"kubernetes":  {"servers", "./kubernetes"},
	"coredns":     {"servers", "github.com/coredns/coredns"},
	"helm":        {"servers", "helm.sh/helm/v3/cmd/helm"},
	"certmanager": {"certmanager", "."},
}

// Names are the programs there are.
func Names() []string { return []string{"kubernetes", "coredns", "helm", "certmanager"} }

// Program returns the path of a program, built first if the cache lacks it; progress goes to log, a line each half minute.
// The first build of kubernetes takes about five minutes on two cores and 2.4 GB for the linker; CoreDNS and Helm are a
// minute more, cert-manager one or two. Several processes may call it at once: one builds, the others wait for it.
func Program(ctx context.Context, name string, log io.Writer) (string, error) {
	r, ok := recipes[name]
	if !ok {
		return "", fmt.Errorf("there is no program %q; there are %s", name, strings.Join(Names(), ", "))
	}
	source, err := findSource(r.module)
	if err != nil {
		return "", err
	}
	dir, err := cacheDir(source)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := goBuild(ctx, source, r.pkg, path, log); err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	return path, nil
}

// Folder is where the source of a module lies from which a program is built, as in the CustomResourceDefinitions that come with
// it. It is read-only.
func Folder(ctx context.Context, name, module string) (string, error) {
	source, err := findSource(recipes[name].module)
	if err != nil {
		return "", err
	}
	c := goCommand(ctx, source, "list", "-m", "-f", "{{.Dir}}", module)
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("find the source of %s: %w", module, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// goCommand is a command of go in the module that lies there, whatever module the tests are of.
func goCommand(ctx context.Context, source string, words ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "go", words...)
	c.Dir, c.Env = source, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	return c
}

// findSource finds a module of servers from wherever in the repository the tests run.
func findSource(module string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		source := filepath.Join(dir, "e2e", "kube", module)
		if _, err := os.Stat(filepath.Join(source, "go.mod")); err == nil {
			return source, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("find e2e/kube/%s: run this inside the repository", module)
		}
		dir = up
	}
}

// cacheDir is the folder of the programs that this source makes with this Go: the hash of both names it.
func cacheDir(source string) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version(), runtime.GOOS, runtime.GOARCH, flags("v"))
	err := filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintln(sum, filepath.Base(path), len(data))
		sum.Write(data)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read the source of the servers: %w", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the folder for the built servers: %w", err)
	}
	dir := filepath.Join(cache, "starling-kube", fmt.Sprintf("%.8x", sum.Sum(nil)))
	return dir, os.MkdirAll(dir, 0o755)
}

// lock takes an exclusive lock that ends with the process.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, errors.Join(err, f.Close()))
	}
	return func() { _ = f.Close() }, nil
}

// flags make a program that is the same wherever it is built. The components must know their version: clients and charts
// that ask for it refuse a server without.
func flags(version string) []string {
	minor, _, _ := strings.Cut(strings.TrimPrefix(version, "v1."), ".")
	set := []string{"-s -w"}
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		for _, value := range []string{"gitVersion=" + version, "gitMajor=1", "gitMinor=" + minor, "gitTreeState=clean"} {
			set = append(set, "-X "+pkg+"."+value)
		}
	}
	return []string{"-trimpath", "-buildvcs=false", "-ldflags", strings.Join(set, " ")}
}

func goBuild(ctx context.Context, source, pkg, path string, log io.Writer) error {
	// Kubernetes' libraries are v0.M.N of its release v1.M.N.
	ask := goCommand(ctx, source, "list", "-m", "-f", "{{with .Replace}}{{.Version}}{{else}}{{.Version}}{{end}}", "k8s.io/client-go")
	ask.Stderr = log
	version, err := ask.Output()
	if err != nil {
		return fmt.Errorf("ask for the version of Kubernetes: %w", err)
	}
	release := "v1" + strings.TrimPrefix(strings.TrimSpace(string(version)), "v0")
	c := goCommand(ctx, source, slices.Concat([]string{"build", "-v", "-o", path + ".new"}, flags(release), []string{pkg})...)
	said, err := c.StderrPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	errText := follow(filepath.Base(path), said, log)
	if err := c.Wait(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, errText)
	}
	return os.Rename(path+".new", path) // so that nobody runs half of it
}

// follow reports progress from what `go build -v` says: a line for each package, and complaints, which it returns.
func follow(name string, said io.Reader, log io.Writer) string {
	const every = 30 * time.Second
	began, last, compiled := time.Now(), time.Now(), 0
	var complaints strings.Builder
	fmt.Fprintf(log, "building %s\n", name)
	lines := bufio.NewScanner(said)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if line := lines.Text(); strings.ContainsAny(line, " \t") {
			if !strings.HasPrefix(line, "go: downloading") && complaints.Len() < 64<<10 {
				fmt.Fprintln(&complaints, line)
			}
		} else {
			compiled++
		}
		if time.Since(last) >= every {
			last = time.Now()
			fmt.Fprintf(log, "building %s: %d packages, %v\n", name, compiled, time.Since(began).Round(time.Second))
		}
	}
	fmt.Fprintf(log, "building %s: compiled %d packages in %v; what is left is linking or an error\n", name, compiled, time.Since(began).Round(time.Second))
	return complaints.String()
}
