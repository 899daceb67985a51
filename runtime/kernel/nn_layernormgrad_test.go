package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// TestLayerNormGrad compares with the formulas in float64, for widths that are no multiples of a vector's and numbers of rows around
// those of a task, and in the memory of the input and of the gradient.
func TestLayerNormGrad(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		testLayerNormGrad[float32](t, p)
		testLayerNormGrad[float64](t, p)
	})
}

func testLayerNormGrad[T amd64.Float](t *testing.T, p *Pool) {
	rng := rand.New(rand.NewPCG(71, 72))
	for _, tc := range []struct {
		shape []int
		axis  int
	}{{[]int{1, 1}, 1}, {[]int{2, 3, 7}, 2}, {[]int{64, 33}, 1}, {[]int{5, 13, 4, 9}, 2}, {[]int{200, 1}, 1}, {[]int{3, 1030}, 1}} {
		rows, width := Count(tc.shape[:tc.axis]), Count(tc.shape[tc.axis:])
		x, g, scale := randomTensor[T](rng, tc.shape...), randomTensor[T](rng, tc.shape...), randomTensor[T](rng, tc.shape[tc.axis:]...)
		stat := slices.Clone(tc.shape)
		for i := tc.axis; i < len(stat); i++ {
			stat[i] = 1
		}
		mean, inv := New(graph.ElemOf[T](), stat...), New(graph.ElemOf[T](), stat...)
		dx, along, sum := make([]float64, x.Len()), make([]float64, width), make([]float64, width)
		for r := range rows {
			at := func(v *Tensor, i int) float64 { return float64(Data[T](v)[i]) }
			m, v, mt, mtx := 0.0, 0.0, 0.0, 0.0
			for i := range width {
				m += at(x, r*width+i) / float64(width)
			}
			for i := range width {
				v += (at(x, r*width+i) - m) * (at(x, r*width+i) - m) / float64(width)
			}
			Data[T](mean)[r], Data[T](inv)[r] = T(m), T(1/math.Sqrt(v+0.5))
			m, s := at(mean, r), at(inv, r)
			for i := range width {
				xhat, gi := s*(at(x, r*width+i)-m), at(g, r*width+i)
				along[i], sum[i] = along[i]+gi*xhat, sum[i]+gi
				mt, mtx = mt+gi*at(scale, i)/float64(width), mtx+gi*at(scale, i)*xhat/float64(width)
			}
			for i := range width {
				dx[r*width+i] = s * (at(g, r*width+i)*at(scale, i) - mt - s*(at(x, r*width+i)-m)*mtx)
			}
		}
		o := opCase{
			domain: graph.Asdl, op: "LayerNormGrad", in: []*Tensor{x, g, scale, mean, inv}, pool: p, attrs: []graph.Attr{graph.I("axis", int64(tc.axis))},
			out: []Spec{outLike[T](tc.shape...), outLike[T](tc.shape[tc.axis:]...), outLike[T](tc.shape[tc.axis:]...)},
		}
		out := o.run(t)
		tolerance := 8 * math.Sqrt(float64(rows+width)) * epsilon[T]()
		wantClose[T](t, "gx", out[0], dx, tolerance)
		wantClose[T](t, "along", out[1], along, tolerance)
		wantClose[T](t, "sum", out[2], sum, tolerance)
		if got := o.allocs(t); got != 0 {
			t.Errorf("%v allocations in a run", got)
		}
		run, fresh, err := o.prepare(t)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2 {
			kept := slices.Clone(Data[T](o.in[i]))
			if err := run(o.in, []*Tensor{o.in[i], fresh[1], fresh[2]}); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(Data[T](o.in[i]), Data[T](out[0])) {
				t.Errorf("shape %v: other results in place of input %d", tc.shape, i)
			}
			copy(Data[T](o.in[i]), kept)
		}
		o.out = o.out[:1]
		if alone := o.run(t); !slices.Equal(Data[T](alone[0]), Data[T](out[0])) {
			t.Errorf("shape %v: another gradient without those of the parameters", tc.shape)
		}
	}
	x := New(graph.ElemOf[T](), 2, 3)
	opCase{domain: graph.Asdl, op: "LayerNormGrad", in: []*Tensor{x, x, x, x, x}, out: []Spec{outLike[T](2, 3)}}.mustFail(t)
}
