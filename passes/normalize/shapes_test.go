package normalize_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/passes/normalize"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
)

// known counts the floating-point tensors of a model by what is known of their shapes: all dimensions, as numbers or
// expressions of the inputs' symbols; the rank only; nothing.
type known struct{ all, shape, rank, none int }

func shapesOf(g *graph.Graph) known {
	var k known
	for v := range g.Values() {
		if !v.Type.Elem.IsFloat() {
			continue
		}
		k.all++
		switch {
		case !v.Type.Ranked:
			k.none++
		case open(v.Type):
			k.rank++
		default:
			k.shape++
		}
	}
	return k
}

func open(t graph.Type) bool {
	for _, d := range t.Dims {
		if d.IsUnknown() {
			return true
		}
	}
	return false
}

// TestShapesOfExportedModels: with a dynamic batch, every floating-point tensor of every exported model has a known shape after
// normalization. -v prints the table.
func TestShapesOfExportedModels(t *testing.T) {
	dirs := []string{graphtest.Shared(t, "onnx-models")}
	if more := os.Getenv("ASDLC_MODELS"); more != "" {
		dirs = append(dirs, more)
	}
	for _, dir := range dirs {
		paths, err := filepath.Glob(filepath.Join(dir, "*.onnx"))
		if err != nil || len(paths) == 0 {
			t.Fatal("no models", err)
		}
		for _, path := range paths {
			m := passtest.Read(t, path)
			if err := pass.RunTable(&pass.Ctx{}, m, []pass.Pass{normalize.Pass}); err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			k := shapesOf(m.Graph)
			t.Logf("%-36s tensors %4d  shape %4d  rank only %3d  unknown %3d", strings.TrimSuffix(filepath.Base(path), ".onnx"), k.all, k.shape, k.rank, k.none)
			if k.none > 0 || k.rank > 0 {
				t.Errorf("%s: of %d tensors %d have a known rank only, %d none", filepath.Base(path), k.all, k.rank, k.none)
				for v := range m.Graph.Values() {
					if v.Type.Elem.IsFloat() && (!v.Type.Ranked || open(v.Type)) {
						t.Logf("   %s %s by %s", v, v.Type, v.Def())
					}
				}
			}
		}
	}
}
