//go:build interop

package autodiff_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/runtime/data"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// partsFromOrt are specs of which onnxruntime computes another function.
var partsFromOrt = map[string]string{
	"Dropout/training":         "each runtime draws its own mask",
	"GridSample/cubic, border": "onnxruntime 1.32 does not move points outside to the border before it takes the four pixels around them, as ONNX's reference does",
}

// TestInteropRules runs the derivatives of every spec and sweep, in single precision, in stock onnxruntime
// (testdata/interop/models.py). Where the function itself runs there, its derivatives must, and agree with the portable
// kernels. Of a sweep, combinations of which onnxruntime computes another function are left out.
func TestInteropRules(t *testing.T) {
	python := os.Getenv("ASDLC_PYTHON")
	if python == "" {
		t.Fatal("ASDLC_PYTHON is not set: use make interop")
	}
	dir := t.TempDir()
	specs, tabled := slices.Clone(specs), len(specs)
	for _, s := range sweeps() {
		s.order = 1
		specs = append(specs, s)
	}
	want := map[string]map[string]*kernel.Tensor{}
	for i := range specs {
		for what, p := range specs[i].derivatives(t) {
			name := fmt.Sprintf("%04d.%s", i, what)
			if err := onnx.Write(filepath.Join(dir, name+".onnx"), p.model, onnx.WriteOptions{}); err != nil {
				t.Fatalf("%s: %v", specs[i].title(), err)
			}
			feeds := map[string]*data.Array{}
			for n, v := range p.feeds {
				feeds[n] = &data.Array{Shape: v.Shape, Data: kernel.Data[float32](v)}
			}
			if err := data.WriteNPZ(filepath.Join(dir, name+".npz"), feeds); err != nil {
				t.Fatal(err)
			}
			want[name] = evaluate(t, p.model, p.feeds)
		}
	}
	var stderr bytes.Buffer
	cmd := exec.Command(python, filepath.Join("..", "..", "testdata", "interop", "models.py"), dir)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("models.py: %v\n%s", err, stderr.String())
	}
	var failed map[string]string
	if err := json.Unmarshal(out, &failed); err != nil {
		t.Fatalf("models.py prints %s (%v)", out, err)
	}
	for i := range specs {
		t.Run(specs[i].title(), func(t *testing.T) {
			if why := failed[fmt.Sprintf("%04d.function", i)]; why != "" {
				t.Skip("the function does not run: ", why)
			}
			if why := partsFromOrt[specs[i].title()]; why != "" {
				t.Skip(why)
			}
			for _, what := range append([]string{"function"}, slices.Sorted(maps.Keys(derivations))...) {
				name := fmt.Sprintf("%04d.%s", i, what)
				if want[name] == nil {
					continue
				}
				if failed[name] != "" {
					t.Errorf("%s: %s", what, failed[name])
					continue
				}
				got, err := data.ReadNPZ(filepath.Join(dir, name+".out.npz"))
				if err != nil {
					t.Fatal(err)
				}
				if off := difference(got, want[name]); off != "" {
					if what == "function" && i >= tabled {
						t.Skip("onnxruntime computes another function: ", off)
					}
					t.Errorf("%s: %s", what, off)
				}
			}
		})
	}
}

// derivations are the derivatives that are taken of a function.
var derivations = map[string]func(*problem) *problem{
	"function":             func(p *problem) *problem { return p },
	"gradient":             func(p *problem) *problem { return p.gradient("g") },
	"tangent":              func(p *problem) *problem { return p.tangent("g") },
	"gradient of gradient": func(p *problem) *problem { return p.gradient("g").gradient("h") },
	"tangent of gradient":  func(p *problem) *problem { return p.gradient("g").tangent("h") },
}

// derivatives are the spec's problems in single precision.
func (s *spec) derivatives(t *testing.T) map[string]*problem {
	t.Helper()
	p := s.problem(t)
	p.model = graphtest.MustParse(t, single(s.text()))
	if err := op.InferGraph(p.model); err != nil {
		t.Fatal(err)
	}
	p.feeds = toSingle(p.feeds)
	all := map[string]*problem{}
	for what, derive := range derivations {
		if s.order != 1 || len(what) <= len("gradient") {
			q := derive(p)
			delete(q.model.Opsets, graph.Asdl)
			all[what] = q
		}
	}
	return all
}

// difference says where outputs in single precision are off.
func difference(got map[string]*data.Array, want map[string]*kernel.Tensor) string {
	for name, v := range want {
		if v.Elem != graph.Float32 {
			continue
		}
		w, _ := v.Const().Float64s()
		a, ok := got[name].Data.([]float32)
		if !ok || len(a) != len(w) {
			return fmt.Sprintf("%s has %d elements, want %d", name, len(a), len(w))
		}
		scale := 1.0
		for _, x := range w {
			scale = max(scale, math.Abs(x))
		}
		for k := range w {
			if d := math.Abs(float64(a[k]) - w[k]); !(d <= 1e-4*scale) {
				return fmt.Sprintf("element %d of %s is %g, want %g", k, name, a[k], w[k])
			}
		}
	}
	return ""
}
