package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"gonum.org/v1/gonum/mat"
)

// TestNormBound: a lower bound of the spectral norm, exact for rank one, at every scale.
func TestNormBound(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 42))
	for _, n := range []int{1, 2, 7, 33, 65} {
		for _, scale := range []float64{1e-25, 1, 1e30} {
			x := make([]float64, n)
			square := 0.0
			for i := range x {
				x[i] = rng.NormFloat64()
				square += x[i] * x[i]
			}
			one := make([]float32, n*n)
			for i := range n {
				for j := range n {
					one[i*n+j] = float32(scale * x[i] * x[j])
				}
			}
			if got := normBound(n, one, make([]float32, 2*n)); math.Abs(got/(scale*square)-1) > 1e-5 {
				t.Errorf("n=%d, scale %g: rank one has the bound %g, want %g", n, scale, got, scale*square)
			}
		}
		a := withSpectrum(rng, n, logSpaced(n, 10))
		if got := normBound(n, a.RawMatrix().Data, make([]float64, 2*n)); got > 1+1e-12 || got < 0.3 {
			t.Errorf("n=%d: the bound of a norm of 1 is %g", n, got)
		}
	}
	if got := normBound(2, []float64{1, 0, math.NaN(), 1}, make([]float64, 4)); !math.IsNaN(got) {
		t.Errorf("NaN gives %g", got)
	}
	if got := normBound(2, make([]float64, 4), make([]float64, 4)); got != 0 {
		t.Errorf("zero gives %g", got)
	}
}

// TestLieSteps: the steps vanish where T and S, or T and white noise, are equal; a triangular Q stays triangular; and nothing
// is allocated.
func TestLieSteps(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		rng := rand.New(rand.NewPCG(43, 44))
		for _, n := range []int{1, 2, 33, 65, 129} {
			q, s := withSpectrum(rng, n, logSpaced(n, 5)), withSpectrum(rng, n, logSpaced(n, 100))
			for i := range n {
				for j := range i {
					q.Set(i, j, 0)
				}
			}
			other := withSpectrum(rng, n, logSpaced(n, 10))
			lie := func(a *mat.Dense) opCase {
				return opCase{
					domain: graph.Asdl, op: "LieStep", pool: p, out: []Spec{outLike[float64](n, n)},
					in: []*Tensor{tensorOf[float64](q), tensorOf[float64](a), tensorOf[float64](s), Of([]float64{0.1})},
				}
			}
			same := lie(s)
			if e := relative(denseOf[float64](same.run(t)[0]), q); e != 0 {
				t.Errorf("n=%d: equal moments move Q by %g", n, e)
			}
			moved := lie(other)
			next := denseOf[float64](moved.run(t)[0])
			for i := range n {
				for j := range i {
					if next.At(i, j) != 0 {
						t.Fatalf("n=%d: (%d,%d) of a triangular factor is %g", n, i, j, next.At(i, j))
					}
				}
				if !(next.At(i, i) > 0 || q.At(i, i) <= 0) {
					t.Errorf("n=%d: the diagonal turns negative", n)
				}
			}
			if got := moved.allocs(t); got != 0 {
				t.Errorf("n=%d: %v allocations per run", n, got)
			}
			white := mat.NewDense(n, n, nil)
			for i := range n {
				white.Set(i, i, 3)
			}
			free := opCase{
				domain: graph.Asdl, op: "InverseFreeStep", pool: p, out: []Spec{outLike[float64](n, n), outLike[float64]()}, attrs: []graph.Attr{graph.F("c", 3)},
				in: []*Tensor{tensorOf[float64](withSpectrum(rng, n, logSpaced(n, 5))), Of([]float64{0}), tensorOf[float64](white), Of([]float64{0.1})},
			}
			out := free.run(t)
			if e := relative(denseOf[float64](out[0]), denseOf[float64](free.in[0])); e > 1e-12 {
				t.Errorf("n=%d: white noise moves Q by %g", n, e)
			}
			if l := Data[float64](out[1])[0]; l != 6 {
				t.Errorf("n=%d: L is %g, want 6", n, l)
			}
			if got := free.allocs(t); got != 0 {
				t.Errorf("n=%d: %v allocations per run", n, got)
			}
		}
	})
}
