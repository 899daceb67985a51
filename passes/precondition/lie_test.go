package precondition

import (
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/graph"
)

// TestUpperInverseBody: the function body and the native kernel invert upper triangular matrices of any size.
func TestUpperInverseBody(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, n := range []int{1, 2, 3, 16, 17, 70} {
		q := mat.NewDense(n, n, nil)
		for i := range n {
			for j := i + 1; j < n; j++ {
				q.Set(i, j, rng.NormFloat64())
			}
			q.Set(i, i, 1+rng.Float64())
		}
		var want mat.Dense
		if err := want.Inverse(q); err != nil {
			t.Fatal(err)
		}
		m := functionModel(t, graph.Float64, section("upper inverse"), "UpperInverse", []int64{int64(n), int64(n)})
		for _, native := range []bool{false, true} {
			if e := relative(solve(t, m, native, q), &want); !(e < 1e-10) {
				t.Errorf("side %d, native %v: relative error %g", n, native, e)
			}
		}
	}
}
