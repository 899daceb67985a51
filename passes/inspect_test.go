package passes_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
)

func inspect(t *testing.T, src string, methods ...string) *passes.Inspection {
	t.Helper()
	m, err := graph.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	var recs []method.Record
	for _, name := range methods {
		rec, _ := method.Lookup(name)
		recs = append(recs, rec)
	}
	r, err := passes.Inspect(m, pass.Options{}, recs...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Two products with one weight: the layers are tied, and K-FAC keeps one pair of factors for both.
const tied = `<ir_version: 8, opset_import: ["" : 17]>
main (float[N,2] x) => (float[N,2] y)
<float[2,2] w = {1,2,3,4}, float[2] b = {5,6}> {
   h = Gemm <transB = 1> (x, w, b)
   r = Relu(h)
   y = MatMul(r, w)
}`

func TestInspectTied(t *testing.T) {
	r := inspect(t, tied, "kfac", "shampoo")
	if len(r.Layers) != 2 || len(r.Layers[0].Tied) != 1 || r.Layers[0].Tied[0] != r.Layers[1].Name {
		t.Errorf("layers %+v, want two with one weight", r.Layers)
	}
	if len(r.Parameters) != 2 || r.Parameters[0].Count != 4 || r.Parameters[0].Bytes != 16 {
		t.Errorf("parameters %+v", r.Parameters)
	}
	if got := r.Inputs[0]; got.Name != "x" || got.Type != "float[N,2]" {
		t.Errorf("input %+v", got)
	}
	for _, p := range r.Plans {
		if p.Error != "" || p.Bytes == 0 {
			t.Errorf("plan %+v", p)
		}
	}
}

// The sizes of an MLP's factors, by hand: A is in+1, S is out, each with an inverse, float32, and a scalar for the
// debiasing; Shampoo keeps a statistic and a root a side of the weight.
func TestInspectFactorSizes(t *testing.T) {
	const mlp = `<ir_version: 8, opset_import: ["" : 17]>
main (float[N,3] x) => (float[N,2] y)
<float[2,3] "fc.weight" = {1,2,3,4,5,6}, float[2] "fc.bias" = {5,6}> {
   y = Gemm <transB = 1> (x, "fc.weight", "fc.bias")
}`
	r := inspect(t, mlp, "kfac", "shampoo")
	want := map[string]int{"kfac": 4 * (2*4*4 + 2*2*2 + 1), "shampoo": 4 * (2*3*3 + 2*2*2)}
	for _, p := range r.Plans {
		curvature := 0
		for _, b := range p.Blocks {
			for _, f := range b.Factors {
				if f.Kind == "curvature" {
					curvature += f.Bytes
				}
			}
		}
		if curvature != want[p.Method] {
			t.Errorf("%s keeps %d bytes of curvature, want %d: %+v", p.Method, curvature, want[p.Method], p.Blocks)
		}
	}
}

func TestInspectUnsupported(t *testing.T) {
	r := inspect(t, `<ir_version: 8, opset_import: ["" : 17]>
main (float[N,2] x) => (float[N,2] y) {
   [odd] h = Frobnicate(x)
   [odder] y = Mangle(h)
}`, "kfac")
	if len(r.Unsupported) != 2 || r.Unsupported[0].Op != "Frobnicate" || !strings.Contains(r.Unsupported[1].Node, "odder") || r.Unsupported[0].Opset != 17 {
		t.Errorf("unsupported %+v, want both operators", r.Unsupported)
	}
	if len(r.Plans) != 0 {
		t.Errorf("plans of a model that cannot be read: %+v", r.Plans)
	}
}

// Every parameter of an exported model is in a block of each plan, or the model is one that cannot be trained and says why.
func TestInspectExportedModels(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(graphtest.Shared(t, "onnx-models"), "*.onnx"))
	if err != nil || len(paths) == 0 {
		t.Fatal("no models", err)
	}
	kfac, _ := method.Lookup("kfac")
	shampoo, _ := method.Lookup("shampoo")
	for _, path := range paths {
		m, err := onnx.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		r, err := passes.Inspect(m, pass.Options{}, kfac, shampoo)
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(path), err)
			continue
		}
		for _, p := range r.Plans {
			if p.Error != "" {
				if len(r.Unsupported) == 0 {
					t.Errorf("%s: %s: %s, and no node is to blame", filepath.Base(path), p.Method, p.Error)
				}
				continue
			}
			covered := map[string]bool{}
			for _, b := range p.Blocks {
				for _, name := range b.Params {
					covered[name] = true
				}
			}
			for _, param := range r.Parameters {
				if param.Kind == "param" && !covered[param.Name] {
					t.Errorf("%s: %s: parameter %s is in no block", filepath.Base(path), p.Method, param.Name)
				}
			}
		}
	}
}
