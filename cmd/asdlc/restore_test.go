package main

import (
	"errors"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/passes"
	"github.com/asdlc/asdlc/passes/method"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/passes/passtest"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
)

func exportedModels(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(graphtest.Shared(t, "onnx-models"), "*.onnx"))
	if err != nil || len(paths) == 0 {
		t.Skip("no models")
	}
	return paths
}

// Putting the parameters back unchanged changes nothing but the merging of equal ones, in each exported file.
func TestExportUnchanged(t *testing.T) {
	rec, _ := method.Lookup("sgd")
	for _, path := range exportedModels(t) {
		m, err := onnx.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		r, err := passes.Instrument(m, rec, pass.Options{}, "")
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(path), err)
			continue
		}
		same, err := exportWeights(m, initialWeights(t, r))
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(path), err)
			continue
		}
		graphtest.MustVerify(t, same)
		if !strings.Contains(strings.Join(r.Report.Notes, " "), "merged") {
			graphtest.Same(t, same, m)
		}
	}
}

// A file with trained parameters computes what the step graph computes with them, and has the same parameters as before. The
// parameters are drawn anew, so that none is what another was merged or tied with.
func TestExportComputesTheSame(t *testing.T) {
	rec, _ := method.Lookup("sgd")
	for _, path := range exportedModels(t) {
		name := filepath.Base(path)
		m, err := onnx.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		o := pass.Options{BN: "frozen", Loss: pass.LossOptions{Row: "mse"}}
		m = runtime.InferenceForm(m)
		r, err := passes.Instrument(m, rec, o, "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		weights := initialWeights(t, r)
		rng := rand.New(rand.NewPCG(1, 2))
		for _, p := range slices.Sorted(maps.Keys(weights)) {
			for i := range kernel.Data[float32](weights[p]) {
				kernel.Data[float32](weights[p])[i] = 0.1 + 0.5*rng.Float32()
			}
		}
		trained, err := exportWeights(m, weights)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		graphtest.MustVerify(t, trained)
		feeds := passtest.Feeds(t, m, 1, map[string]int64{"batch": 3})
		want := stepOutputs(t, r, weights, feeds)
		if passtest.Runs(trained) {
			y := m.Graph.Outputs()[0].Name
			if want[y] == nil {
				t.Fatalf("%s: the step graph has no output %s", name, y)
			}
			passtest.Same(t, map[string]*kernel.Tensor{y: want[y]}, passtest.Eval(t, trained, feeds), 1e-4)
		}
		again, err := passes.Instrument(trained, rec, o, "")
		if err != nil {
			t.Errorf("%s, after the export: %v", name, err)
			continue
		}
		if had, has := slices.Sorted(maps.Keys(weights)), slices.Sorted(maps.Keys(initialWeights(t, again))); !slices.Equal(had, has) {
			t.Errorf("%s: parameters %v after the export, before %v", name, has, had)
		}
	}
}

// stepOutputs runs one step from weights.
func stepOutputs(t *testing.T, r *passes.Result, weights, feeds map[string]*kernel.Tensor) map[string]*kernel.Tensor {
	t.Helper()
	s, err := runtime.NewSession(r.Step, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.LoadInit(r.Init); err != nil {
		t.Fatal(err)
	}
	all := maps.Clone(feeds)
	for name, w := range weights {
		if err := s.SetState(name, w); err != nil {
			t.Fatal(err)
		}
	}
	out := r.Step.Graph.Outputs()[0]
	shape := []int{}
	for _, d := range out.Type.Dims {
		n, ok := d.Size()
		if !ok {
			n = 3
		}
		shape = append(shape, int(n))
	}
	all["target"] = kernel.New(graph.Float32, shape...)
	got, err := s.Run(all, nil)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// A parameter without a value, and one that the file does not have, are named.
func TestExportMissing(t *testing.T) {
	m := graphtest.MustParse(t, `<ir_version: 8, opset_import: ["" : 17]>
g (int64[N,2] x) => (float[N,2,3] y)
<float[3,2] "wte.weight" = {1,2,3,4,5,6}, float[2,3] "onnx::MatMul_9" = {1,3,5,2,4,6}>
{ ["/wte/Gather"] e = Gather ("wte.weight", x)  ["/head/MatMul"] y = MatMul (e, "onnx::MatMul_9") }`)
	w := kernel.Of([]float32{6, 5, 4, 3, 2, 1}, 3, 2)
	tied, err := exportWeights(m, map[string]*kernel.Tensor{"wte.weight": w})
	if err != nil {
		t.Fatal(err)
	}
	if got := graph.Data[float32](tied.Graph.Find("onnx::MatMul_9").Const()); !slices.Equal(got, []float32{6, 4, 2, 5, 3, 1}) {
		t.Errorf("the tied copy is %v", got)
	}
	apart, err := exportWeights(m, map[string]*kernel.Tensor{"wte.weight": w, "head.weight": kernel.New(graph.Float32, 2, 3)})
	if err != nil {
		t.Fatal(err)
	}
	if got := graph.Data[float32](apart.Graph.Find("onnx::MatMul_9").Const()); !slices.Equal(got, make([]float32, 6)) {
		t.Errorf("the copy that was kept apart is %v", got)
	}
	if _, err := exportWeights(m, map[string]*kernel.Tensor{"other": w}); !errors.Is(err, runtime.ErrFeed) {
		t.Errorf("an unknown parameter: %v", err)
	}
}
