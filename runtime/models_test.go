package runtime_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/graphtest"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/backendtest"
	"github.com/asdlc/asdlc/runtime/data"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// TestExportedModels runs models from PyTorch's exporter at their recorded batch size and at batch sizes 2 and 3, whose
// rows must come out as in the whole.
func TestExportedModels(t *testing.T) {
	dir := graphtest.Shared(t, "onnx-models")
	paths, err := filepath.Glob(filepath.Join(dir, "*.onnx"))
	if err != nil || len(paths) == 0 {
		t.Fatal("no models", err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		if strings.HasSuffix(name, "_train") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			m, err := onnx.Read(path)
			if err != nil {
				t.Fatal(err)
			}
			base, _, _ := strings.Cut(name, "_op")
			feeds, want := recorded(t, filepath.Join(dir, base+"_testdata.npz"))
			for _, double := range []bool{false, true} {
				runBatches(t, m, feeds, want, double)
			}
		})
	}
}

func recorded(t *testing.T, path string) (map[string]*kernel.Tensor, *kernel.Tensor) {
	t.Helper()
	arrays, err := data.ReadNPZ(path)
	if err != nil {
		t.Fatal(err)
	}
	feeds := map[string]*kernel.Tensor{}
	var want *kernel.Tensor
	for name, a := range arrays {
		x, err := runtime.FromArray(a)
		if err != nil {
			t.Fatal(err)
		}
		if input, ok := strings.CutPrefix(name, "in_"); ok {
			feeds[input] = x
		} else if name == "y_eval" {
			want = x
		}
	}
	return feeds, want
}

func runBatches(t *testing.T, m *graph.Model, feeds map[string]*kernel.Tensor, want *kernel.Tensor, double bool) {
	t.Helper()
	s, err := runtime.NewSession(m, runtime.Options{Float64: double, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	output := s.Outputs()[0].Name
	tol := 1e-5 * largest(want)
	for _, batch := range []int{want.Shape[0], 2, 3, want.Shape[0]} {
		if batch > want.Shape[0] {
			batch = want.Shape[0]
		}
		in := map[string]*kernel.Tensor{}
		for name, x := range feeds {
			in[name] = rows(x, batch)
			if double {
				in[name] = runtime.Widen(in[name])
			}
		}
		out, err := s.Run(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := backendtest.Compare(runtime.Narrow(out[output]), rows(want, batch), 1e-5, tol); err != nil {
			t.Errorf("batch %d, float64 %t: %v", batch, double, err)
		}
	}
}

// rows is the first n rows of x, repeated if there are fewer.
func rows(x *kernel.Tensor, n int) *kernel.Tensor {
	shape := append([]int{n}, x.Shape[1:]...)
	y := kernel.New(x.Elem, shape...)
	for done := 0; done < len(y.Raw); {
		done += copy(y.Raw[done:], x.Raw)
	}
	return y
}
