package kernel

import (
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// pixelCases are geometries whose products have images for columns: odd sizes, several blocks of images, bands of lines, rows
// and depths in several parts, one and three dimensions, groups, dilations, strides, pads that differ by side, outputs that
// see padding alone.
func pixelCases() []convCase {
	ones, none := []int{1, 1}, []int{0, 0}
	return []convCase{
		{images: 16, groups: 1, ins: 5, outs: 17, in: []int{5, 7}, kernel: []int{3, 3}, stride: ones, dilation: ones, padLo: ones, padHi: ones, bias: true},
		{images: 45, groups: 2, ins: 7, outs: 13, in: []int{4, 3}, kernel: []int{3, 2}, stride: ones, dilation: ones, padLo: []int{2, 0}, padHi: []int{0, 1}},
		{images: 31, groups: 1, ins: 8, outs: 9, in: []int{7, 6}, kernel: []int{3, 3}, stride: []int{2, 2}, dilation: ones, padLo: ones, padHi: none, bias: true},
		{images: 3, groups: 1, ins: 6, outs: 20, in: []int{9, 8}, kernel: []int{3, 3}, stride: []int{2, 1}, dilation: []int{2, 3}, padLo: []int{3, 4}, padHi: []int{1, 5}},
		{images: 2, groups: 1, ins: 90, outs: 300, in: []int{3, 3}, kernel: []int{3, 3}, stride: ones, dilation: ones, padLo: []int{2, 2}, padHi: []int{2, 2}, bias: true},
		{images: 32, groups: 1, ins: 4, outs: 40, in: []int{6, 81}, kernel: []int{3, 3}, stride: ones, dilation: ones, padLo: ones, padHi: ones},
		{images: 1, groups: 1, ins: 60, outs: 14, in: []int{19}, kernel: []int{5}, stride: []int{3}, dilation: []int{1}, padLo: []int{2}, padHi: []int{0}, bias: true},
		{images: 16, groups: 1, ins: 6, outs: 5, in: []int{4, 3, 5}, kernel: []int{2, 3, 3}, stride: []int{1, 2, 2}, dilation: []int{2, 1, 1}, padLo: []int{1, 0, 1}, padHi: []int{1, 1, 2}, bias: true},
		{images: 17, groups: 1, ins: 6, outs: 5, in: []int{5, 5}, kernel: ones, stride: []int{2, 2}, dilation: ones, padLo: none, padHi: none},
	}
}

// TestPixelwise checks convolutions and transposed ones on every set of kernels, also where another way would be taken.
func TestPixelwise(t *testing.T) {
	for _, set := range amd64.Available() {
		for _, workers := range []int{1, 3} {
			t.Run(set.Name, func(t *testing.T) {
				p := newTestPool(t, workers, set)
				for _, g := range pixelCases() {
					checkPixelwise[float32](t, g, p)
					checkPixelwise[float64](t, g, p)
				}
			})
		}
	}
}

func checkPixelwise[T amd64.Float](t *testing.T, g convCase, p *Pool) {
	t.Helper()
	rng, kernels := rand.New(rand.NewPCG(41, 42)), Count(g.kernel)
	w := window{in: g.in, kernel: g.kernel, stride: g.stride, dilation: g.dilation, padLo: g.padLo, padHi: g.padHi}
	in := []*Tensor{randomTensor[T](rng, append([]int{g.images, g.groups * g.ins}, g.in...)...)}
	check := func(what string, out []int, m pixelMap, layout weightLayout, want func(convCase, []*Tensor) []float64) {
		t.Helper()
		var bias []T
		if g.bias {
			in = append(in, randomTensor[T](rng, g.groups*g.outs))
			bias = Data[T](in[2])
		}
		c := &Call{Pool: p}
		v := pixelwiseOf[T](c, m, layout, g.images, g.groups, g.ins, g.outs)
		if v == nil {
			t.Fatalf("%v: %s refused", g, what)
		}
		for _, s := range c.Scratches {
			s.Raw = Aligned(s.Size)
			poison(s.Raw)
		}
		y := New(in[0].Elem, append([]int{g.images, g.groups * g.outs}, out...)...)
		poison(y.Raw)
		v.run(Data[T](in[0]), Data[T](in[1]), bias, Data[T](y))
		wantClose[T](t, what+" "+g.String(), y, want(g, in), tolerance[T](float64(g.ins*kernels+8)))
	}
	w.out = g.convOut()
	in = append(in, randomTensor[T](rng, append([]int{g.groups * g.outs, g.ins}, g.kernel...)...))
	check("Conv", w.out, mapConv(&w), weightLayout{g.outs * g.ins * kernels, g.ins * kernels, kernels}, convWant[T])

	w.out = g.transposeOut()
	in = append(in[:1], randomTensor[T](rng, append([]int{g.groups * g.ins, g.outs}, g.kernel...)...))
	check("ConvTranspose", w.out, mapTransposed(&w), weightLayout{g.ins * g.outs * kernels, kernels, g.outs * kernels}, transposeWant[T])
}
