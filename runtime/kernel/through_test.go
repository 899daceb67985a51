package kernel

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/asdlc/asdlc/graph"
)

// recast converts tensors of floats; others, and missing ones, are kept.
func recast(e graph.Elem, xs ...*Tensor) []*Tensor {
	ys := make([]*Tensor, len(xs))
	for i, x := range xs {
		if ys[i] = x; x != nil && x.Elem.IsFloat() {
			ys[i] = New(e, x.Shape...)
			casterOf(x.Elem, e)(ys[i].Raw, x.Raw)
		}
	}
	return ys
}

// TestHalf runs operators on 16-bit floats: the result is that of float32, rounded once.
func TestHalf(t *testing.T) {
	rng := rand.New(rand.NewPCG(71, 72))
	forPools(t, func(t *testing.T, p *Pool) {
		for _, e := range []graph.Elem{graph.Float16, graph.BFloat16} {
			for _, wide := range []opCase{
				{op: "Gemm", in: []*Tensor{randomTensor[float32](rng, 5, 4), randomTensor[float32](rng, 4, 3), randomTensor[float32](rng, 3)}, out: []Spec{outLike[float32](5, 3)}},
				{op: "Softmax", in: []*Tensor{randomTensor[float32](rng, 2, 7)}, out: []Spec{outLike[float32](2, 7)}},
				{op: "LayerNormalization", in: []*Tensor{randomTensor[float32](rng, 2, 7), randomTensor[float32](rng, 7), nil}, out: []Spec{outLike[float32](2, 7), outLike[float32](2, 1), {}}},
				{op: "MaxPool", in: []*Tensor{randomTensor[float32](rng, 1, 1, 6)}, out: []Spec{outLike[float32](1, 1, 3), outLike[int64](1, 1, 3)}, attrs: []graph.Attr{graph.Is("kernel_shape", 2), graph.Is("strides", 2)}},
			} {
				wide.pool = p
				half := wide
				half.in, half.out = recast(e, wide.in...), slices.Clone(wide.out)
				wide.in = recast(graph.Float32, half.in...)
				for i := range half.out {
					if half.out[i].Elem == graph.Float32 {
						half.out[i].Elem = e
					}
				}
				want := recast(e, wide.run(t)...)
				for i, y := range half.run(t) {
					if y != nil && !bytes.Equal(y.Raw, want[i].Raw) {
						t.Errorf("%s of %s: output %d is %v, want %v", wide.op, e, i, y.Raw, want[i].Raw)
					}
				}
				if n := half.allocs(t); n != 0 {
					t.Errorf("%s of %s: %v allocations per run", wide.op, e, n)
				}
			}
		}
	})
}

// TestMixedGrid: the grid of GridSample may be of another floating-point type than the data, and the data integers.
func TestMixedGrid(t *testing.T) {
	x, grid := Of([]int32{0, 10}, 1, 1, 1, 2), Of([]float32{0, 0, -0.5, 0}, 1, 1, 2, 2)
	o := opCase{op: "GridSample", in: []*Tensor{x, grid}, out: []Spec{outLike[int32](1, 1, 1, 2)}, attrs: []graph.Attr{graph.I("align_corners", 1)}}
	if got := Data[int32](o.run(t)[0]); got[0] != 5 || got[1] != 2 {
		t.Errorf("got %v, want [5 2]", got)
	}
	o.in[0], o.out = Of([]float64{0, 10}, 1, 1, 1, 2), []Spec{outLike[float64](1, 1, 1, 2)}
	if got := Data[float64](o.run(t)[0]); got[0] != 5 || got[1] != 2.5 {
		t.Errorf("got %v, want [5 2.5]", got)
	}
}

// TestMixedNorm: the statistics of BatchNormalization may be of another type than the data.
func TestMixedNorm(t *testing.T) {
	half := func(v ...float64) *Tensor { return recast(graph.Float16, Of(v, len(v)))[0] }
	o := opCase{
		op: "BatchNormalization", in: []*Tensor{Of([]float32{1, 3}, 2, 1), half(2), half(0.5), Of([]float64{1}, 1), Of([]float64{4}, 1)},
		out: []Spec{outLike[float32](2, 1)}, attrs: []graph.Attr{graph.F("epsilon", 0)},
	}
	wantClose[float32](t, o.op, o.run(t)[0], []float64{0.5, 2.5}, 0)
}

// TestNotServed: the error of a call that nothing serves names its own types.
func TestNotServed(t *testing.T) {
	o := opCase{op: "Softmax", in: []*Tensor{New(graph.Bool, 2)}, out: []Spec{{Present: true, Elem: graph.Bool, Shape: []int{2}}}}
	if err := o.mustFail(t); !errors.Is(err, graph.ErrUnsupported) || !strings.Contains(err.Error(), "bool") {
		t.Error(err)
	}
}
