package kernel

import (
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
	"gonum.org/v1/gonum/mat"
)

func TestBFGS(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		testBFGS[float32](t, p)
		testBFGS[float64](t, p)
	})
}

// testBFGS compares with the product form (I - rho s y^T) H (I - rho y s^T) + rho s s^T.
func testBFGS[T amd64.Float](t *testing.T, pool *Pool) {
	rng := rand.New(rand.NewPCG(43, 44))
	for _, n := range []int{1, 2, 7, 65, 130} {
		h, s, y := mat.NewDense(n, n, nil), mat.NewDense(n, 1, nil), mat.NewDense(n, 1, nil)
		sy := 0.0
		for i := range n {
			for j := range i {
				v := rng.NormFloat64() / float64(n)
				h.Set(i, j, v)
				h.Set(j, i, v)
			}
			h.Set(i, i, 1+rng.Float64())
			s.Set(i, 0, rng.NormFloat64())
			y.Set(i, 0, s.At(i, 0)+0.1*rng.NormFloat64())
			sy += s.At(i, 0) * y.At(i, 0)
		}
		left := mat.NewDense(n, n, nil)
		left.Mul(s, y.T())
		left.Scale(-1/sy, left)
		for i := range n {
			left.Set(i, i, left.At(i, i)+1)
		}
		var want, ss mat.Dense
		want.Product(left, h, left.T())
		ss.Mul(s, s.T())
		ss.Scale(1/sy, &ss)
		want.Add(&want, &ss)
		vector := func(m *mat.Dense) *Tensor {
			x := tensorOf[T](m)
			return &Tensor{Elem: x.Elem, Shape: []int{n}, Raw: x.Raw}
		}
		o := opCase{domain: graph.Asdl, op: "BFGS", in: []*Tensor{tensorOf[T](h), vector(s), vector(y)}, out: []Spec{outLike[T](n, n)}, pool: pool}
		got := o.run(t)[0]
		if e := relative(denseOf[T](got), &want); e > 50*epsilon[T]() {
			t.Errorf("side %d: relative error %g", n, e)
		}
		if !mat.Equal(denseOf[T](got), denseOf[T](got).T()) {
			t.Errorf("side %d: not symmetric", n)
		}
		if got := o.allocs(t); got != 0 {
			t.Errorf("side %d: %v allocations per run", n, got)
		}
		none := opCase{domain: graph.Asdl, op: "BFGS", in: []*Tensor{o.in[0], vector(mat.NewDense(n, 1, nil)), vector(mat.NewDense(n, 1, nil))}, out: o.out, pool: pool}
		if !mat.Equal(denseOf[T](none.run(t)[0]), denseOf[T](o.in[0])) {
			t.Errorf("side %d: no pair changes the matrix", n)
		}
	}
}
