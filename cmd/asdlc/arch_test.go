package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/asdlc/asdlc"

// may is the import table: what the packages of this module may import of it, by path below the module. Of several rows
// that match, the first counts. A package may always import what is internal to it.
var may = []importRow{
	{"graph", nil},
	{"graph/op", []string{"graph"}},
	{"graph/onnx", []string{"graph"}},
	{"graph/onnx/internal/...", nil},
	{"passes/pass", []string{"graph", "graph/op"}},
	{"passes/method", nil},
	{"passes/passtest", []string{"graph", "graph/op", "graph/onnx", "passes/pass", "passes/method", "runtime/kernel", "runtime/lower"}},
	{"passes/*", []string{"graph", "graph/op", "passes/pass", "passes/method"}}, // the stages: they meet in the graph alone
	{"passes", []string{"graph", "graph/op", "passes/*"}},
	{"runtime/kernel", []string{"graph", "graph/op", "runtime/kernel/amd64", "runtime/dl"}},
	{"runtime/kernel/amd64", nil},
	{"runtime/dl", nil},
	{"runtime/lower", []string{"graph", "graph/op", "runtime/kernel"}},
	{"runtime/vm", []string{"graph", "runtime/kernel", "runtime/lower"}},
	{"runtime/data", nil},
	{"runtime/onnxgo", []string{"graph", "graph/op", "runtime", "runtime/lower", "runtime/kernel"}},
	{"runtime/backendtest", []string{"graph", "graph/onnx", "runtime", "runtime/kernel"}},
	{"runtime", []string{"graph", "graph/op", "runtime/data", "runtime/kernel", "runtime/lower", "runtime/vm"}},
	{"graph/graphtest", []string{"graph", "graph/op"}},
	{"models", []string{"graph"}},
	{"cmd/asdlc/bench", []string{"graph", "graph/onnx", "models", "passes", "passes/method", "passes/pass", "runtime", "runtime/kernel"}},
	{"cmd/asdlc", []string{"..."}},
}

type importRow struct {
	pkg     string
	imports []string
}

// foreign lists modules that some packages alone may import.
var foreign = []struct {
	imported string
	by       []string
}{
	{"gorgonia.org/...", []string{"runtime", "runtime/..."}},
	{"github.com/owulveryck/onnx-go/...", []string{"runtime/onnxgo"}},
	{"gonum.org/v1/plot/...", []string{"cmd/asdlc/bench"}},
	{"google.golang.org/protobuf/...", []string{"graph/onnx", "graph/onnx/internal/..."}},
	{"github.com/ebitengine/purego/...", []string{"runtime/dl"}},
	{"github.com/spf13/...", []string{"cmd/..."}},
	{module + "/graph/graphtest", nil}, // helpers of tests
	{module + "/passes/passtest", nil},
}

type listedPackage struct {
	ImportPath string
	Imports    []string
}

// TestArchitecture compares the imports of all packages with the tables.
func TestArchitecture(t *testing.T) {
	for _, p := range listPackages(t) {
		pkg := local(p.ImportPath)
		row := slices.IndexFunc(may, func(r importRow) bool { return matches(r.pkg, pkg) })
		if row < 0 {
			t.Errorf("package %s is not in the import table: give it a row", pkg)
			continue
		}
		for _, imported := range p.Imports {
			for _, f := range foreign {
				if matches(f.imported, imported) && !matchesAny(f.by, pkg) {
					t.Errorf("%s imports %s, which is for %s alone", pkg, imported, cmp.Or(strings.Join(f.by, ", "), "tests"))
				}
			}
			if imported == module || strings.HasPrefix(imported, module+"/") {
				if to := local(imported); !matchesAny(may[row].imports, to) && !strings.HasPrefix(to, pkg+"/internal/") {
					t.Errorf("%s imports %s, which the import table does not allow", pkg, to)
				}
			}
		}
	}
}

// TestImportTableHasNoEmptyRows finds rows of packages that are no more.
func TestImportTableHasNoEmptyRows(t *testing.T) {
	pkgs := listPackages(t)
	for _, r := range may {
		if !slices.ContainsFunc(pkgs, func(p listedPackage) bool { return matches(r.pkg, local(p.ImportPath)) }) {
			t.Errorf("no package is %s: remove the row", r.pkg)
		}
	}
}

// listPackages lists the packages of the module with their imports, tests left out.
func listPackages(t *testing.T) []listedPackage {
	t.Helper()
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("the go tool is absent")
	}
	cmd := exec.Command(goTool, "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var pkgs []listedPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listedPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func local(importPath string) string { return strings.TrimPrefix(importPath, module+"/") }

func matchesAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, pkg) })
}

// matches tells whether a path fits a pattern: itself, everything below DIR for "DIR/...", one level for "DIR/*".
func matches(pattern, pkg string) bool {
	if dir, ok := strings.CutSuffix(pattern, "..."); ok {
		return strings.HasPrefix(pkg+"/", dir)
	}
	ok, err := path.Match(pattern, pkg)
	return ok && err == nil
}
