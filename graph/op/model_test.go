package op_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/graph/op"
)

// TestModels infers the exported networks with a symbolic batch. Every tensor must get a type and a rank, and every
// dimension must be known or an expression of the batch.
func TestModels(t *testing.T) {
	dir := graphtest.Shared(t, "onnx-models")
	files, err := filepath.Glob(filepath.Join(dir, "*.onnx"))
	if err != nil || len(files) == 0 {
		t.Fatal("no models", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".onnx"), func(t *testing.T) {
			m, err := onnx.Read(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range m.Graph.Outputs() {
				if v.Def() != nil {
					v.Type = graph.Type{}
				}
			}
			if err := op.InferGraph(m); err != nil {
				t.Fatal(err)
			}
			dims, unknown := 0, 0
			for n := range m.Graph.All() {
				for _, v := range n.Outputs() {
					if v == nil {
						continue
					}
					if !v.Type.Ranked || v.Type.Elem == graph.Undefined {
						t.Errorf("%s: %s has type %s", n, v, v.Type)
					}
					for _, d := range v.Type.Dims {
						dims++
						if d.IsUnknown() {
							unknown++
							t.Errorf("%s: %s has type %s", n, v, v.Type)
						}
					}
				}
			}
			concrete(t, file, m)
			t.Logf("%.1f %% of %d dimensions known; outputs %v", 100*float64(dims-unknown)/float64(max(dims, 1)), dims, m.Graph.Outputs()[0].Type)
		})
	}
}

// concrete infers the model again with a batch of 3. Each symbolic shape of m must come out as what is then inferred.
func concrete(t *testing.T, file string, m *graph.Model) {
	t.Helper()
	c, err := onnx.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range c.Graph.Inputs() {
		for i, d := range v.Type.Dims {
			if d.IsSymbolic() {
				v.Type.Dims[i] = graph.Known(3)
			}
		}
	}
	for _, v := range c.Graph.Outputs() {
		v.Type = graph.Type{}
	}
	if err := op.InferGraph(c); err != nil {
		t.Fatal(err)
	}
	for v := range m.Graph.Values() {
		w := c.Graph.Find(v.Name)
		for i, d := range v.Type.Dims {
			if got, err := evalDim(d.String(), map[string]int64{"batch": 3}); err != nil || w.Type.Dims[i] != graph.Known(got) {
				t.Errorf("%s has type %s, with a batch of 3 %s (%v)", v, v.Type, w.Type, err)
			}
		}
	}
}
