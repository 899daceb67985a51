//go:build interop

package precondition

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/onnx"
	"github.com/asdlc/asdlc/runtime/data"
)

// TestInteropSolvers runs the bodies of the solver functions in stock onnxruntime, in float32 and float64, against
// gonum's eigendecomposition: well and badly conditioned matrices, and a low-rank one plus a multiple of the identity. The
// error may be some roundings times the condition number.
func TestInteropSolvers(t *testing.T) {
	python := os.Getenv("ASDLC_PYTHON")
	if python == "" {
		t.Fatal("ASDLC_PYTHON is not set: use make interop")
	}
	root := func(p int64) []graph.Attr {
		return newtonRootAttrs(int(p), 100, 1e-6)
	}
	for _, tc := range []struct {
		name     func(n int64) string
		exponent float64
		attrs    []graph.Attr
		sizes    []int
		slack    float64 // roundings
		floor    float64 // the solver's own tolerance
	}{
		// one size for each level of the recursion, and sizes that do not halve evenly
		{inverseFunction, -1, nil, []int{1, 2, 33, 65, 130, 300}, 5, 0},
		{func(int64) string { return newtonRootFunction(2) }, -0.5, root(2), []int{1, 10, 33}, 5, 1e-5},
		{func(int64) string { return newtonRootFunction(4) }, -0.25, root(4), []int{1, 10, 33}, 5, 1e-5},
		{func(int64) string { return newtonRootFunction(8) }, -0.125, root(8), []int{10}, 5, 1e-5},
		{func(int64) string { return eigenRootFunction(2) }, -0.5, nil, []int{1, 10, 17, 32}, 5, 0},
		{func(int64) string { return eigenRootFunction(4) }, -0.25, nil, []int{1, 10, 17, 32}, 5, 0},
	} {
		for _, n := range tc.sizes {
			for _, e := range []graph.Elem{graph.Float32, graph.Float64} {
				name := tc.name(int64(n))
				t.Run(fmt.Sprintf("%s/%d/%s", name, n, e), func(t *testing.T) {
					t.Parallel()
					rng := rand.New(rand.NewPCG(uint64(n), 6))
					lowRank := spectrum(n, 10)
					for i := n / 2; i < n; i++ {
						lowRank[i] = 1e-3
					}
					spectra := [][]float64{spectrum(n, 10), spectrum(n, 1e3), lowRank}
					var as []*mat.Dense
					for _, w := range spectra {
						as = append(as, spd(rng, w))
					}
					got := inOnnxruntime(t, python, solverModel(t, e, int64(n), name, tc.attrs...), e, as)
					epsilon := 0x1p-24
					if e == graph.Float64 {
						epsilon = 0x1p-53
					}
					for k, a := range as {
						condition := spectra[k][0] / spectra[k][n-1]
						tol := tc.floor + tc.slack*epsilon*condition*math.Sqrt(float64(n))
						if err := relative(got[k], power(a, tc.exponent)); !(err <= tol) {
							t.Errorf("matrix %d, condition %g: relative error %.2g, want at most %.2g", k, condition, err, tol)
						}
					}
				})
			}
		}
	}
}

// inOnnxruntime runs a model of one matrix in onnxruntime on several.
func inOnnxruntime(t *testing.T, python string, m *graph.Model, e graph.Elem, as []*mat.Dense) []*mat.Dense {
	t.Helper()
	dir := t.TempDir()
	model, in, out := filepath.Join(dir, "solver.onnx"), filepath.Join(dir, "in.npz"), filepath.Join(dir, "out.npz")
	if err := onnx.Write(model, m, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	feeds := map[string]*data.Array{}
	for k, a := range as {
		n, _ := a.Dims()
		x := &data.Array{Shape: []int{n, n}, Data: a.RawMatrix().Data}
		if e == graph.Float32 {
			narrow := make([]float32, n*n)
			for i, v := range a.RawMatrix().Data {
				narrow[i] = float32(v)
			}
			x.Data = narrow
		}
		feeds[fmt.Sprintf("A@%d", k)] = x
	}
	if err := data.WriteNPZ(in, feeds); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join("..", "..", "testdata", "interop", "follow.py")
	cmd := exec.Command(python, script, model, "--steps", fmt.Sprint(len(as)), "--feeds", in, "--out", out, "--check")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("onnxruntime: %v\n%s", err, text)
	}
	arrays, err := data.ReadNPZ(out)
	if err != nil {
		t.Fatal(err)
	}
	var results []*mat.Dense
	for k, a := range as {
		n, _ := a.Dims()
		x := mat.NewDense(n, n, nil)
		switch d := arrays[fmt.Sprintf("%s@%d", m.Graph.Outputs()[0].Name, k)].Data.(type) {
		case []float32:
			for i, v := range d {
				x.Set(i/n, i%n, float64(v))
			}
		case []float64:
			for i, v := range d {
				x.Set(i/n, i%n, v)
			}
		}
		results = append(results, x)
	}
	return results
}
