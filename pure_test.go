package starling

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pure are the packages that only decide. The same inputs at the same times give the same outputs, under the simulator
// and in production, because there is nothing in them that could know the difference.
var pure = []string{
	"overlay/peer", "overlay/proto", "overlay/hyparview", "overlay/plumtree", "overlay/directory", "overlay/wave",
	"overlay/wave/once", "overlay/wave/alarm", "overlay/core", "overlay/wire",
}

// impureImports would bring in concurrency, the outside world or chance that no seed controls.
var impureImports = []string{
	"context", "crypto/rand", "io/fs", "log", "log/slog", "math/rand", "net", "net/http", "os", "os/exec", "runtime",
	"sync", "sync/atomic", "syscall", "testing",
}

// clocks are the functions of package time that read a clock or wait; its types and arithmetic are welcome.
var clocks = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTicker", "NewTimer"}

// seeded are the names of math/rand/v2 that do not touch the global source.
var seeded = []string{"Rand", "New", "NewPCG", "PCG", "NewChaCha8", "ChaCha8", "Source"}

// A range over a map is allowed where its order cannot reach an output, and the line above or its end says why.
const anyOrder = "any order:"

func TestTheCoreIsPure(t *testing.T) {
	var dirs []string
	for _, pkg := range pure {
		if _, err := os.Stat(pkg); err == nil {
			dirs = append(dirs, "./"+pkg)
		}
	}
	exports := exportData(t, dirs...)
	byPkg := map[string][]source{}
	for _, s := range sources(t) {
		if !s.test && slices.Contains(pure, s.pkg) {
			byPkg[s.pkg] = append(byPkg[s.pkg], s)
		}
	}
	for _, pkg := range pure {
		files := byPkg[pkg]
		if len(files) == 0 {
			continue // not written yet; the import table speaks up when it is
		}
		info := typecheck(t, pkg, files, exports)
		for _, s := range files {
			for _, why := range impurities(s, info) {
				t.Errorf("%s", why)
			}
		}
	}
}

// impurities lists what does not belong into a pure file, each with its position.
func impurities(s source, info *types.Info) []string {
	var found []string
	report := func(at ast.Node, format string, args ...any) {
		found = append(found, fset.Position(at.Pos()).String()+": "+fmt.Sprintf(format, args...))
	}
	for _, spec := range s.ast.Imports {
		if name, _ := strconv.Unquote(spec.Path.Value); slices.Contains(impureImports, name) {
			report(spec, "a pure package imports %s", name)
		}
	}
	excused := excuses(s.ast)
	ast.Inspect(s.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			report(n, "a pure package starts a goroutine")
		case *ast.ChanType:
			report(n, "a pure package has a channel")
		case *ast.SelectorExpr:
			if why := ambient(n, info); why != "" {
				report(n, "%s", why)
			}
		case *ast.CallExpr:
			if named(n, info, "slices", "Sorted", "SortedFunc", "SortedStableFunc") {
				return false // slices.Sorted(maps.Keys(m)) is the way to do it
			}
			if line := fset.Position(n.Pos()).Line; named(n, info, "maps", "Keys", "Values", "All") && !excused[line] && !excused[line-1] {
				report(n, "iterates over a map; sort it, use peer.Map, or say `// %s …`", anyOrder)
			}
		case *ast.RangeStmt:
			line := fset.Position(n.Pos()).Line
			if isMap(info, n.X) && !excused[line] && !excused[line-1] {
				report(n, "ranges over a map; sort it, use peer.Map, or say `// %s …`", anyOrder)
			}
		}
		return true
	})
	return found
}

// ambient tells whether an expression reads a clock or the global random source.
func ambient(n *ast.SelectorExpr, info *types.Info) string {
	x, ok := n.X.(*ast.Ident)
	if !ok {
		return ""
	}
	name, ok := info.Uses[x].(*types.PkgName)
	if !ok {
		return ""
	}
	switch p := name.Imported().Path(); {
	case p == "time" && slices.Contains(clocks, n.Sel.Name):
		return "a pure package calls time." + n.Sel.Name + ": time is an argument"
	case p == "math/rand/v2" && !slices.Contains(seeded, n.Sel.Name):
		return "a pure package calls rand." + n.Sel.Name + ": chance is a *rand.Rand given at birth"
	}
	return ""
}

// named tells whether a call is of one of a package's functions.
func named(n *ast.CallExpr, info *types.Info, pkg string, names ...string) bool {
	sel, ok := n.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	if !ok {
		return false
	}
	name, ok := info.Uses[x].(*types.PkgName)
	return ok && name.Imported().Path() == pkg && slices.Contains(names, sel.Sel.Name)
}

func isMap(info *types.Info, x ast.Expr) bool {
	tv, ok := info.Types[x]
	if !ok {
		return false
	}
	_, is := tv.Type.Underlying().(*types.Map)
	return is
}

func excuses(f *ast.File) map[int]bool {
	lines := map[int]bool{}
	for _, group := range f.Comments {
		if strings.Contains(group.Text(), anyOrder) {
			lines[fset.Position(group.End()).Line] = true
		}
	}
	return lines
}

func typecheck(t *testing.T, pkg string, files []source, exports map[string]string) *types.Info {
	t.Helper()
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	lookup := func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("no export data for %s", path)
		}
		return os.Open(exports[path])
	}
	cfg := types.Config{Importer: importer.ForCompiler(fset, "gc", lookup)}
	parsed := make([]*ast.File, 0, len(files))
	for _, s := range files {
		parsed = append(parsed, s.ast)
	}
	if _, err := cfg.Check(module+"/"+pkg, fset, parsed, info); err != nil {
		t.Errorf("type-check %s: %v", pkg, err)
	}
	return info
}

// exportData asks the go command where the compiled form of packages and of all they import lies. Checking against it
// takes a second; against sources, sixteen.
func exportData(t *testing.T, pkgs ...string) map[string]string {
	t.Helper()
	args := append([]string{"list", "-e", "-export", "-deps", "-json=ImportPath,Export"}, pkgs...)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, stderr.String())
	}
	exports := map[string]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ ImportPath, Export string }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return exports
		} else if err != nil {
			t.Fatalf("read go list's answer: %v", err)
		}
		exports[p.ImportPath] = p.Export
	}
}

// TestImpurityIsSeen plants one of each, so that a check that went blind is noticed.
func TestImpurityIsSeen(t *testing.T) {
	const planted = `package planted
import ("maps"; "math/rand/v2"; "slices"; "sync"; "time")
var mu sync.Mutex
func bad(m map[int]int) (time.Time, int) {
	go bad(m)
	var c chan int
	_ = c
	for range m { }
	for range m { } // any order: counting only
	_ = slices.Sorted(maps.Keys(m))
	_ = maps.Values(m)
	return time.Now(), rand.IntN(3)
}`
	parsed, err := parser.ParseFile(fset, "planted.go", planted, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	f := source{ast: parsed}
	info := typecheck(t, "planted", []source{f}, exportData(t, "maps", "math/rand/v2", "slices", "sync", "time"))
	found := strings.Join(impurities(f, info), "\n")
	for _, want := range []string{"imports sync", "goroutine", "channel", "ranges over a map", "iterates over a map", "time.Now", "rand.IntN"} {
		if strings.Count(found, want) != 1 {
			t.Errorf("want exactly one report of %q in:\n%s", want, found)
		}
	}
}
