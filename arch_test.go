// Package starling holds no code. Its one test keeps the promises that ARCHITECTURE.md makes about all other packages:
// who may import whom, that the core is pure, that every package says what it is, and that no package outgrows a reader.
package starling

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/starlingmesh/starling"

// packageMax is how many lines of hand-written code, tests, comments and blank lines aside, a package may have. The
// target is 2,000; beyond this a reader has lost the thread.
const packageMax = 2500

// outgrown are the packages that are over it all the same: to be split, and until then not to grow.
var outgrown = map[string]int{"overlay/wave": 2700}

// ours says who may import which of our own packages, /* being any one below. Every package must have a row: a new one is
// a decision.
var ours = map[string][]string{
	".":                              {},
	"image":                          {},
	"overlay/peer":                   {},
	"overlay/proto":                  {"overlay/peer"},
	"overlay/hyparview":              {"overlay/peer", "overlay/proto"},
	"overlay/plumtree":               {"overlay/peer", "overlay/proto"},
	"overlay/directory":              {"overlay/peer", "overlay/proto"},
	"overlay/wave":                   {"overlay/peer", "overlay/proto", "overlay/wave/once", "overlay/wave/alarm"},
	"overlay/wave/once":              {},
	"overlay/wave/alarm":             {},
	"overlay/core":                   {"overlay/peer", "overlay/proto", "overlay/hyparview", "overlay/plumtree", "overlay/directory", "overlay/wave"},
	"overlay/wire":                   {"overlay/peer", "overlay/proto"},
	"overlay/sim":                    {"overlay/peer", "overlay/proto", "overlay/core", "overlay/wire", "overlay/sim/agenda"},
	"overlay/sim/agenda":             {},
	"overlay/sim/weather":            {"overlay/proto", "overlay/core", "overlay/sim"},
	"overlay/sim/figures":            {},
	"overlay/sock":                   {},
	"overlay/explore":                {},
	"overlay/mutations":              {},
	"overlay/keys":                   {"overlay/peer"},
	"overlay/link":                   {"overlay/proto", "overlay/wire"},
	"overlay":                        {"overlay/peer", "overlay/proto", "overlay/core", "overlay/wire", "overlay/keys", "overlay/link", "overlay/sock"},
	"discovery":                      {},
	"discovery/discoverytest":        {"discovery"},
	"discovery/keyring":              {},
	"discovery/targets":              {"discovery"},
	"strategies/*":                   {"discovery", "discovery/keyring", "discovery/targets"},
	"strategies/kubernetes":          {"discovery", "strategies/kubernetes/delegate"},
	"strategies/kubernetes/delegate": {"discovery"},
	"rpc":                            {"overlay/peer", "overlay/proto"},
	"rpc/starling/v1":                {},
	"rpc/starling/v1/*":              {"rpc/starling/v1"},
	"rpc/direct":                     {},
	"rpc/local":                      {"rpc", "rpc/direct", "rpc/starling/v1", "rpc/starling/v1/starlingv1connect", "overlay/peer", "overlay/proto", "overlay/sock"},
	"rpc/client":                     {"rpc/direct", "rpc/starling/v1", "overlay/sock"},
	"rpc/rpctest":                    {"overlay/peer", "overlay/proto"},
	"cmd/starling":                   {"*"},
	"cmd/starling/config":            {"strategies/*", "overlay/keys"},
	"cmd/starling/term":              {},
	"cmd/starling/inject":            {"cmd/starling/term"},
	"cmd/starling/ask":               {"cmd/starling/term", "rpc", "rpc/client", "rpc/starling/v1"},
	"cmd/starling/flock/flocktest":   {"cmd/starling/flock", "overlay/keys", "rpc/client"},
	"cmd/starling/flock/crowd":       {},
	"cmd/starling/flock":             {"cmd/starling/ask", "cmd/starling/term", "rpc/client", "rpc/starling/v1"},
}

// theirs says which of our packages may import a module that is not ours, so that replacing it stays a small change.
// The longest matching prefix counts, /* stands for any one name, and a module without a row may be imported by nobody.
// Tests are free.
var theirs = map[string][]string{
	"connectrpc.com/connect":              {"rpc/local", "rpc/starling/v1/starlingv1connect"},
	"github.com/miekg/dns":                {"strategies/dns"},
	"github.com/prometheus/client_golang": {"cmd/starling"},
	"github.com/spf13/cobra":              {"cmd/starling", "cmd/starling/*"},
	"github.com/hashicorp/memberlist":     {"strategies/gossip"},
	"github.com/hashicorp/serf":           {"strategies/gossip"},
	"go.uber.org/goleak":                  {"discovery/discoverytest"},
	"golang.org/x/net":                    {"rpc/local", "strategies/announce"},
	"golang.org/x/sync":                   {"*"},
	"golang.org/x/sys":                    {"overlay", "rpc/local", "cmd/starling", "cmd/starling/flock"},
	"google.golang.org/genproto":          {"rpc/local", "rpc/client"},
	"google.golang.org/grpc":              {"rpc/starling/v1", "rpc/local", "rpc/client", "cmd/starling/*"},
	"google.golang.org/protobuf":          {"rpc/starling/v1", "rpc/direct", "rpc/local", "rpc/client", "cmd/starling/*", "strategies/kubernetes"},
	"k8s.io":                              {"strategies/kubernetes"},
	"k8s.io/api":                          {}, // 5 MB of binary
	"k8s.io/client-go/kubernetes":         {}, // the typed clientset, 15 MB
	"gopkg.in/yaml.v3":                    {"cmd/starling/config", "cmd/starling/inject", "discovery/targets"},
}

// A source is one parsed .go file. Parsing means opening: `go test` caches a pass by the files the test opened, so a
// test that asked `go list` instead would keep saying ok about imports it never looked at.
type source struct {
	path, pkg string
	test      bool
	generated bool
	lines     int
	ast       *ast.File
}

func TestImportsFollowTheTable(t *testing.T) {
	for _, s := range sources(t) {
		if _, known := row(ours, s.pkg); !known {
			t.Errorf("%s: package %q has no row in arch_test.go's table", s.path, s.pkg)
			continue
		}
		for _, spec := range s.ast.Imports {
			if why := refusal(s, spec); why != "" {
				t.Errorf("%s: %s", s.path, why)
			}
		}
	}
}

// refusal says why a file may not import what it imports, or nothing.
func refusal(s source, spec *ast.ImportSpec) string {
	what, _ := strconv.Unquote(spec.Path.Value)
	if mine, ok := strings.CutPrefix(what, module+"/"); ok {
		allowed, _ := row(ours, s.pkg)
		if s.test || slices.Contains(allowed, "*") || slices.Contains(allowed, mine) || slices.Contains(allowed, path.Dir(mine)+"/*") {
			return ""
		}
		return fmt.Sprintf("%s may not import %s", s.pkg, mine)
	}
	if first, _, _ := strings.Cut(what, "/"); !strings.Contains(first, ".") || s.test {
		return "" // the standard library
	}
	best := ""
	for prefix := range theirs {
		if (what == prefix || strings.HasPrefix(what, prefix+"/")) && len(prefix) > len(best) {
			best = prefix
		}
	}
	users := theirs[best]
	if slices.Contains(users, "*") || slices.Contains(users, s.pkg) || slices.Contains(users, path.Dir(s.pkg)+"/*") {
		return ""
	}
	return fmt.Sprintf("%s may not import %s", s.pkg, what)
}

// TestTheTypedClientsetIsNotInTheBinary: it costs 15 MB, and another's import may bring it.
func TestTheTypedClientsetIsNotInTheBinary(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "./cmd/starling").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, heavy := range []string{"k8s.io/client-go/kubernetes", "k8s.io/api/core/v1"} {
		if slices.Contains(strings.Split(string(out), "\n"), heavy) {
			t.Errorf("%s is in the binary", heavy)
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	said := map[string]bool{}
	for _, s := range sources(t) {
		if !s.test || s.pkg == "." {
			said[s.pkg] = said[s.pkg] || s.ast.Doc.Text() != "" || s.generated
		}
	}
	for pkg, ok := range said {
		if !ok {
			t.Errorf("%s has no package comment: what is it, and what does it never do?", pkg)
		}
	}
}

func TestNoPackageOutgrowsItsReader(t *testing.T) {
	lines := map[string]int{}
	for _, s := range sources(t) {
		if !s.test && !s.generated {
			lines[s.pkg] += s.lines
		}
	}
	for pkg, n := range lines {
		if most := max(packageMax, outgrown[pkg]); n > most {
			t.Errorf("%s has %d lines of code, more than %d: split it", pkg, n, most)
		}
	}
}

// TestNoTestSleeps: if a test must wait, the code lacks a seam. Under synctest's clock sleeping costs and guesses nothing.
func TestNoTestSleeps(t *testing.T) {
	for _, s := range sources(t) {
		fake := slices.ContainsFunc(s.ast.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"testing/synctest"` })
		if !s.test || fake {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Sleep" {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
				t.Errorf("%s: a test sleeps on the real clock: wait for the event", fset.Position(n.Pos()))
			}
			return true
		})
	}
}

// elsewhere are paths of somebody's machine. The project stands alone: it builds wherever it is put.
var elsewhere = regexp.MustCompile(`(^|[^\w.$}])/(work|root|home|Users)/|\.\./shared`)

func TestNothingNamesAPathOutsideTheProject(t *testing.T) {
	walk(t, func(name string, text []byte) {
		for i, line := range strings.Split(string(text), "\n") {
			if elsewhere.MatchString(line) {
				t.Errorf("%s:%d: names a path of somebody's machine: %s", name, i+1, strings.TrimSpace(line))
			}
		}
	})
}

// row finds a package's row; a last element of * stands for any one name.
func row(table map[string][]string, pkg string) ([]string, bool) {
	if r, ok := table[pkg]; ok {
		return r, true
	}
	r, ok := table[path.Dir(pkg)+"/*"]
	return r, ok
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	walk(t, func(name string, text []byte) {
		if !strings.HasSuffix(name, ".go") {
			return
		}
		f, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("parse: %v", err)
			return
		}
		all = append(all, source{
			path: name, pkg: filepath.ToSlash(filepath.Dir(name)), test: strings.HasSuffix(name, "_test.go"),
			generated: ast.IsGenerated(f), lines: codeLines(string(text)), ast: f,
		})
	})
	if len(all) < 2 {
		t.Fatal("found no source: is the test run in the module's root?")
	}
	return all
}

// codeLines does not count what helps the reader.
func codeLines(text string) int {
	n := 0
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
			n++
		}
	}
	return n
}

var fset = token.NewFileSet()

// walk reads every text file of the product's module: no binaries, no other modules, nothing hidden but .ci.
func walk(t *testing.T, visit func(name string, text []byte)) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && skipped(name) {
				return filepath.SkipDir
			}
			return nil
		}
		if name == ".git" { // in a worktree it is a file that says where the repository is
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if !slices.Contains(text, 0) {
			visit(filepath.ToSlash(name), text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func skipped(dir string) bool {
	base := filepath.Base(dir)
	if base == "bin" || base == "node_modules" || (strings.HasPrefix(base, ".") && base != ".ci") {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}
