package kernel

import (
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
	"gonum.org/v1/gonum/mat"
)

func TestUpperSolve(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		testUpperSolve[float32](t, p)
		testUpperSolve[float64](t, p)
	})
}

// testUpperSolve multiplies X by the triangle again, for sizes around the edges of blocks; what is below the diagonal is garbage.
func testUpperSolve[T amd64.Float](t *testing.T, pool *Pool) {
	rng := rand.New(rand.NewPCG(45, 46))
	for _, n := range []int{1, 2, 33, 128, 129, 300} {
		q, garbage := upperMatrix(rng, n)
		for form := range 4 {
			for _, other := range []int{1, 3, 70} {
				var node struct{ right, trans bool }
				node.right, node.trans = form&1 != 0, form&2 != 0
				want := mat.NewDense(n, other, nil)
				if node.right {
					want = mat.NewDense(other, n, nil)
				}
				want.Apply(func(int, int, float64) float64 { return rng.NormFloat64() }, want)
				var factor mat.Matrix = q
				if node.trans {
					factor = q.T()
				}
				var b mat.Dense
				if node.right {
					b.Mul(want, factor)
				} else {
					b.Mul(factor, want)
				}
				r, c := b.Dims()
				o := opCase{
					domain: graph.Asdl, op: "UpperSolve", in: []*Tensor{tensorOf[T](garbage), tensorOf[T](&b)}, out: []Spec{outLike[T](r, c)}, pool: pool,
					attrs: []graph.Attr{graph.I("right", int64(form&1)), graph.I("trans", int64(form>>1))},
				}
				if e := relative(denseOf[T](o.run(t)[0]), want); e > 100*epsilon[T]() {
					t.Errorf("side %d, other %d, %+v: relative error %g", n, other, node, e)
				}
				if got := o.allocs(t); got != 0 {
					t.Errorf("side %d, other %d, %+v: %v allocations per run", n, other, node, got)
				}
			}
		}
	}
}

// upperMatrix is a well-conditioned upper triangular matrix, and the same with garbage below the diagonal.
func upperMatrix(rng *rand.Rand, n int) (q, garbage *mat.Dense) {
	q, garbage = mat.NewDense(n, n, nil), mat.NewDense(n, n, nil)
	for i := range n {
		for j := range n {
			garbage.Set(i, j, 1e3)
			if v := rng.NormFloat64() / float64(n); j > i {
				q.Set(i, j, v)
			}
		}
		q.Set(i, i, 0.5+rng.Float64())
		for j := i; j < n; j++ {
			garbage.Set(i, j, q.At(i, j))
		}
	}
	return q, garbage
}
