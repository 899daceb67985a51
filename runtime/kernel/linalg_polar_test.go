package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
	"gonum.org/v1/gonum/mat"
)

// quintic is a table of equal steps.
func quintic(steps int, c ...float64) graph.Attr {
	var flat []float64
	for range steps {
		flat = append(flat, c...)
	}
	return graph.T("coefficients", graph.TensorOf(flat, int64(steps), 3))
}

func TestPolar(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		testPolar[float32](t, p)
		testPolar[float64](t, p)
	})
}

// testPolar compares with the polynomial of the singular values, for wide and tall matrices around the edges of blocks.
func testPolar[T amd64.Float](t *testing.T, pool *Pool) {
	rng := rand.New(rand.NewPCG(31, 32))
	for _, shape := range [][2]int{{1, 1}, {1, 7}, {7, 1}, {5, 9}, {9, 5}, {31, 33}, {64, 64}, {65, 129}, {128, 40}} {
		x := mat.NewDense(shape[0], shape[1], nil)
		for i := range shape[0] {
			for j := range shape[1] {
				x.Set(i, j, rng.NormFloat64()*1e3)
			}
		}
		var svd mat.SVD
		svd.Factorize(x, mat.SVDThin)
		var u, v, want mat.Dense
		svd.UTo(&u)
		svd.VTo(&v)
		s := svd.Values(nil)
		d := mat.NewDiagDense(len(s), nil)
		for i, w := range s {
			w /= mat.Norm(x, 2)
			for range 5 {
				w = 3*w - 3.2*w*w*w + 1.2*w*w*w*w*w
			}
			d.SetDiag(i, w)
		}
		want.Product(&u, d, v.T())
		o := opCase{domain: graph.Asdl, op: "Polar5", in: []*Tensor{tensorOf[T](x)}, out: []Spec{outLike[T](shape[0], shape[1])}, pool: pool, attrs: []graph.Attr{quintic(5, 3, -3.2, 1.2)}}
		if e := relative(denseOf[T](o.run(t)[0]), &want); e > 50*epsilon[T]() {
			t.Errorf("%v: relative error %g", shape, e)
		}
		if got := o.allocs(t); got != 0 {
			t.Errorf("%v: %v allocations per run", shape, got)
		}
	}
}

// TestPolarSpecial: zero, huge, tiny and broken matrices.
func TestPolarSpecial(t *testing.T) {
	run := func(v ...float64) *Tensor {
		o := matrixCase[float32]("Polar", tensorOf[float32](mat.NewDense(2, 2, v)), nil, quintic(20, 1.5, -0.5, 0))
		return o.run(t)[0]
	}
	for _, v := range Data[float32](run(0, 0, 0, 0)) {
		if v != 0 {
			t.Errorf("zero gives %g", v)
		}
	}
	for _, scale := range []float64{1e-25, 1e30} {
		x := Data[float32](run(3*scale, 0, 0, -2*scale))
		if math.Abs(float64(x[0])-1) > 1e-5 || math.Abs(float64(x[3])+1) > 1e-5 {
			t.Errorf("scale %g gives %v", scale, x)
		}
	}
	wantNaN[float32](t, run(1, math.NaN(), 0, 1))
	wantNaN[float32](t, run(1, math.Inf(1), 0, 1))
	square := tensorOf[float32](mat.NewDense(2, 2, nil))
	matrixCase[float32]("Polar", square, nil).mustFail(t)
	matrixCase[float32]("Polar", square, nil, graph.T("coefficients", graph.TensorOf([]float64{1, 2}, 1, 2))).mustFail(t)
	o := matrixCase[float32]("Polar", New(graph.Float32, 2, 2, 2), nil, quintic(1, 1, 0, 0))
	o.mustFail(t)
}
