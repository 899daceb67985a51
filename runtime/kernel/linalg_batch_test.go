package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

func TestBatchEigen(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		testBatchEigen[float32](t, p)
		testBatchEigen[float64](t, p)
	})
}

// testBatchEigen: A V = V diag(w) and V^T V = I for stacks of matrices; one that is not finite leaves the others alone.
func testBatchEigen[T amd64.Float](t *testing.T, pool *Pool) {
	const count = 5
	rng := rand.New(rand.NewPCG(43, 44))
	for _, n := range []int{1, 2, 7, 24, 40} {
		a := New(graph.ElemOf[T](), count, n, n)
		for i := range count {
			copy(Data[T](a)[i*n*n:], Data[T](tensorOf[T](withSpectrum(rng, n, func(k int) float64 { return float64(k - i) }))))
		}
		Data[T](a)[2*n*n] = T(math.NaN())
		o := opCase{domain: graph.Asdl, op: "BatchEigen", in: []*Tensor{a}, out: []Spec{outLike[T](count, n), outLike[T](count, n, n)}, pool: pool}
		got := o.run(t)
		for i := range count {
			part := func(x *Tensor, size int) []T { return Data[T](x)[i*size : (i+1)*size] }
			dense := func(x *Tensor) *mat.Dense {
				m := New(graph.ElemOf[T](), n, n)
				copy(Data[T](m), part(x, n*n))
				return denseOf[T](m)
			}
			m, v := dense(a), dense(got[1])
			if i == 2 {
				if !math.IsNaN(v.At(0, 0)) || !math.IsNaN(float64(part(got[0], n)[0])) {
					t.Errorf("side %d: a matrix that is not finite has eigenvalues", n)
				}
				continue
			}
			values := make([]float64, n)
			for k, w := range part(got[0], n) {
				values[k] = float64(w)
			}
			var off, square mat.Dense
			off.Product(v, mat.NewDiagDense(n, values), v.T())
			off.Sub(&off, m)
			square.Mul(v.T(), v)
			for k := range n {
				square.Set(k, k, square.At(k, k)-1)
			}
			if e := mat.Norm(&off, 2); e > 16*epsilon[T]()*float64(n)*math.Max(1, mat.Norm(m, 2)) {
				t.Errorf("side %d, matrix %d: V diag(w) V^T is off by %g", n, i, e)
			}
			if e := mat.Norm(&square, 2); e > 16*epsilon[T]()*float64(n) {
				t.Errorf("side %d, matrix %d: V is not orthogonal by %g", n, i, e)
			}
		}
		if got := o.allocs(t); got != 0 {
			t.Errorf("side %d: %v allocations per run", n, got)
		}
	}
}
