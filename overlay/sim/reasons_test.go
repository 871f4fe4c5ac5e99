package sim

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"os"
)

// machines are the packages whose Ignored reasons are counted.
var machines = []string{"core", "hyparview", "plumtree", "directory", "wave"}

// reasons reads every reason that a machine may give from its source: the Why
// of an Ignored, what is handed to a function called ignore, constants called
// Why…, and what a function called invalid returns.
func reasons(t *testing.T) []string {
	t.Helper()
	found := map[string]bool{}
	set := token.NewFileSet()
	for _, pkg := range machines {
		files, err := fs.Glob(os.DirFS(".."), pkg+"/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("the sources of %s: %v", pkg, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(set, "../"+name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool { collect(n, found); return true })
		}
	}
	if len(found) < 40 {
		t.Fatalf("only %d reasons found: has the way to give them changed?", len(found))
	}
	return slices.Sorted(maps.Keys(found))
}

func collect(n ast.Node, found map[string]bool) {
	text := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil && s != "" {
				found[s] = true
			}
		}
	}
	switch n := n.(type) {
	case *ast.CompositeLit:
		if sel, ok := n.Type.(*ast.SelectorExpr); ok && sel.Sel.Name == "Ignored" {
			for _, e := range n.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok && kv.Key.(*ast.Ident).Name == "Why" {
					text(kv.Value)
				}
			}
		}
	case *ast.CallExpr:
		name := ""
		switch f := n.Fun.(type) {
		case *ast.Ident:
			name = f.Name
		case *ast.SelectorExpr:
			name = f.Sel.Name
		}
		if name == "ignore" {
			for _, a := range n.Args {
				text(a)
			}
		}
	case *ast.ValueSpec:
		for i, name := range n.Names {
			if strings.HasPrefix(name.Name, "Why") && i < len(n.Values) {
				text(n.Values[i])
			}
		}
	case *ast.FuncDecl:
		if n.Name.Name == "invalid" {
			ast.Inspect(n, func(in ast.Node) bool {
				if r, ok := in.(*ast.ReturnStmt); ok {
					for _, e := range r.Results {
						text(e)
					}
				}
				return true
			})
		}
	}
}

func TestPrintReasons(t *testing.T) {
	t.Log(strings.Join(reasons(t), "\n"))
}
