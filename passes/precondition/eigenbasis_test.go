package precondition

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
	"github.com/asdlc/asdlc/runtime"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// basisModel is a model whose one node calls EigenBasis on A and Q.
func basisModel(t *testing.T, e graph.Elem, n int64, iterations int64, tol float32) *graph.Model {
	t.Helper()
	m, err := pass.Library(basisFunctions(), 17)
	if err != nil {
		t.Fatal(err)
	}
	a, q := m.Graph.AddInput("A", graph.StaticType(e, n, n)), m.Graph.AddInput("Q", graph.StaticType(e, n, n))
	b := op.NewBuilder(m, m.Graph)
	out := b.Call("EigenBasis", 2, []*graph.Value{a, q}, graph.I("iterations", iterations), graph.F("tol", tol))
	out[0].Rename("Q_next")
	out[1].Rename("w")
	m.Graph.SetOutputs(out...)
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return m
}

func track(t *testing.T, native bool, a, q *mat.Dense, iterations int64, tol float32) (next *mat.Dense, w []float64) {
	t.Helper()
	n, _ := a.Dims()
	s, err := runtime.NewSession(basisModel(t, graph.Float64, int64(n), iterations, tol), runtime.Options{Registry: solvers(t, native)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	feeds := map[string]*kernel.Tensor{"A": kernel.Of(a.RawMatrix().Data, n, n), "Q": kernel.Of(q.RawMatrix().Data, n, n)}
	out, err := s.Run(feeds, []string{"Q_next", "w"})
	if err != nil {
		t.Fatal(err)
	}
	return mat.NewDense(n, n, slices.Clone(kernel.Data[float64](out["Q_next"]))), slices.Clone(kernel.Data[float64](out["w"]))
}

// TestEigenBasisBody: the body in standard operators takes the steps of the native kernel, from the identity and from a basis
// that is a little off, for positive, singular and indefinite matrices; and both end at the eigenvectors.
func TestEigenBasisBody(t *testing.T) {
	for _, n := range []int{1, 2, 3, 8, 33} {
		rng := rand.New(rand.NewPCG(uint64(n), 41))
		singular, indefinite := spectrum(n, 10), spectrum(n, 10)
		for i := range n {
			if i >= (n+1)/2 {
				singular[i] = 0
			}
			indefinite[i] *= float64(1 - 2*(i%2))
		}
		for name, w := range map[string][]float64{"well conditioned": spectrum(n, 10), "badly conditioned": spectrum(n, 1e6), "singular": singular, "indefinite": indefinite} {
			a, q := spd(rng, w), eyeDense(n)
			for _, iterations := range []int64{1, 2, 60} {
				got, gotW := track(t, false, a, q, iterations, 0)
				want, wantW := track(t, true, a, q, iterations, 0)
				tol := 1e-9
				if iterations == 60 { // the last trips turn what is rounding
					tol = 2
				}
				if e := relative(got, want); !(e < tol) {
					t.Errorf("%s, n=%d, %d trips: body and kernel differ by %g", name, n, iterations, e)
				}
				if iterations < 60 {
					continue
				}
				for _, r := range []struct {
					q *mat.Dense
					w []float64
				}{{got, gotW}, {want, wantW}} {
					var back mat.Dense
					back.Product(r.q, mat.NewDiagDense(n, r.w), r.q.T())
					if e := relative(&back, a); !(e < 1e-13*float64(n)) {
						t.Errorf("%s, n=%d: Q diag(w) Q^T is off by %g", name, n, e)
					}
				}
			}
		}
	}
	bad := eyeDense(3)
	bad.Set(0, 1, math.NaN())
	next, w := track(t, false, bad, eyeDense(3), 5, 0)
	if e := relative(next, eyeDense(3)); e != 0 || !math.IsNaN(w[0]) {
		t.Errorf("a matrix with NaN moves the basis by %g and gives eigenvalues %v", e, w)
	}
}

func eyeDense(n int) *mat.Dense {
	m := mat.NewDense(n, n, nil)
	for i := range n {
		m.Set(i, i, 1)
	}
	return m
}
