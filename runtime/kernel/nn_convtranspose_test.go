package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

func TestConvTransposeRandom(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		rng := rand.New(rand.NewPCG(15, 16))
		for range 400 {
			g := randomConv(rng)
			for i := range g.in {
				g.outputPadding = append(g.outputPadding, rng.IntN(max(g.stride[i], g.dilation[i])))
			}
			if g.transposeOut() != nil {
				checkConvTranspose[float32](t, g, rng, p)
				checkConvTranspose[float64](t, g, rng, p)
			}
		}
	})
}

// TestConvTransposeSizes reaches tiles of several images and of parts of one, transposed products and turned kernels.
func TestConvTransposeSizes(t *testing.T) {
	ones, none := []int{1, 1}, []int{0, 0}
	for _, g := range []convCase{
		{images: 3, groups: 1, ins: 20, outs: 50, in: []int{24, 24}, kernel: []int{3, 3}, stride: ones, dilation: ones, padLo: ones, padHi: ones, bias: true},
		{images: 9, groups: 1, ins: 20, outs: 300, in: []int{4, 4}, kernel: []int{3, 3}, stride: []int{2, 2}, dilation: ones, padLo: ones, padHi: none, bias: true},
		{images: 2, groups: 2, ins: 5, outs: 6, in: []int{40, 40}, kernel: []int{2, 2}, stride: []int{2, 2}, dilation: ones, padLo: none, padHi: none},
		{images: 5, groups: 1, ins: 6, outs: 7, in: []int{3, 3}, kernel: []int{16, 16}, stride: ones, dilation: ones, padLo: ones, padHi: ones},
		{images: 2, groups: 9, ins: 1, outs: 1, in: []int{12, 12}, kernel: []int{3, 3}, stride: ones, dilation: ones, padLo: ones, padHi: ones},
	} {
		forPools(t, func(t *testing.T, p *Pool) { checkConvTranspose[float32](t, g, rand.New(rand.NewPCG(1, 1)), p) })
	}
}

func checkConvTranspose[T amd64.Float](t *testing.T, g convCase, rng *rand.Rand, p *Pool) {
	t.Helper()
	out := g.transposeOut()
	x := randomTensor[T](rng, append([]int{g.images, g.groups * g.ins}, g.in...)...)
	w := randomTensor[T](rng, append([]int{g.groups * g.ins, g.outs}, g.kernel...)...)
	o := opCase{op: "ConvTranspose", in: []*Tensor{x, w}, attrs: g.attrs(), pool: p}
	o.out = []Spec{outLike[T](append([]int{g.images, g.groups * g.outs}, out...)...)}
	if g.bias {
		o.in = append(o.in, randomTensor[T](rng, g.groups*g.outs))
	}
	wantClose[T](t, g.String(), o.run(t)[0], transposeWant[T](g, o.in), tolerance[T](float64(g.ins*Count(g.kernel)+8)))
	if n := o.allocs(t); n != 0 {
		t.Errorf("%v: %v allocations per run", g, n)
	}
}

// transposeWant is the transposed convolution of X and W, plus B if there is one, by its definition.
func transposeWant[T amd64.Float](g convCase, in []*Tensor) []float64 {
	out := g.transposeOut()
	size, places, kernels := Count(out), Count(g.in), Count(g.kernel)
	want := make([]float64, g.images*g.groups*g.outs*size)
	for i := range want {
		if len(in) > 2 {
			want[i] = float64(Data[T](in[2])[i/size%(g.groups*g.outs)])
		}
	}
	xs, ws := Data[T](in[0]), Data[T](in[1])
	g.eachTap(g.in, out, func(place, k, at int) {
		for n := range g.images {
			for m := range g.groups * g.outs {
				for c := range g.ins {
					channel := m/g.outs*g.ins + c
					want[(n*g.groups*g.outs+m)*size+at] += float64(xs[(n*g.groups*g.ins+channel)*places+place]) *
						float64(ws[(channel*g.outs+m%g.outs)*kernels+k])
				}
			}
		}
	})
	return want
}

// TestConvTransposeShapes are output_shape and auto_pad: which pads they stand for.
func TestConvTransposeShapes(t *testing.T) {
	x, w := Of([]float32{1, 2, 3}, 1, 1, 3), Of([]float32{1, 10, 100}, 1, 1, 3)
	full := []float64{1, 10, 102, 20, 203, 30, 300} // stride 2
	for _, c := range []struct {
		attrs []graph.Attr
		want  []float64
	}{
		{nil, full},
		{[]graph.Attr{graph.Is("output_shape", 6)}, full[1:]},
		{[]graph.Attr{graph.Is("output_shape", 6), graph.S("auto_pad", "SAME_UPPER")}, full[:6]},
		{[]graph.Attr{graph.S("auto_pad", "SAME_UPPER")}, full[:6]},
		{[]graph.Attr{graph.S("auto_pad", "SAME_LOWER")}, full[1:]},
		{[]graph.Attr{graph.S("auto_pad", "VALID")}, full},
		{[]graph.Attr{graph.Is("output_shape", 9)}, append(append([]float64{}, full...), 0, 0)},
		{[]graph.Attr{graph.Is("output_shape", 1, 1, 5)}, full[1:6]},
		{[]graph.Attr{graph.Is("output_padding", 1)}, append(append([]float64{}, full...), 0)},
		{[]graph.Attr{graph.Is("pads", 2, 1)}, full[2:6]},
	} {
		o := opCase{op: "ConvTranspose", in: []*Tensor{x, w}, out: []Spec{outLike[float32](1, 1, len(c.want))}}
		o.attrs = append(c.attrs, graph.Is("strides", 2))
		wantClose[float32](t, fmt.Sprint(c.attrs), o.run(t)[0], c.want, 0)
	}
}
