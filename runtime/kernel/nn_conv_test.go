package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// convCase is a geometry of Conv or ConvTranspose.
type convCase struct {
	images, groups, ins, outs                  int
	in, kernel, stride, dilation, padLo, padHi []int
	outputPadding                              []int
	bias                                       bool
}

func (g convCase) String() string {
	return fmt.Sprintf("n%d g%d c%d m%d in%v k%v s%v d%v p%v%v op%v", g.images, g.groups, g.ins, g.outs, g.in, g.kernel, g.stride,
		g.dilation, g.padLo, g.padHi, g.outputPadding)
}

func (g convCase) attrs() []graph.Attr {
	wide := func(s []int) (out []int64) {
		for _, v := range s {
			out = append(out, int64(v))
		}
		return out
	}
	a := []graph.Attr{
		graph.I("group", int64(g.groups)), graph.Is("strides", wide(g.stride)...), graph.Is("dilations", wide(g.dilation)...),
		graph.Is("pads", append(wide(g.padLo), wide(g.padHi)...)...), graph.Is("kernel_shape", wide(g.kernel)...),
	}
	if g.outputPadding != nil {
		a = append(a, graph.Is("output_padding", wide(g.outputPadding)...))
	}
	return a
}

// convOut is the spatial shape of Conv's output, or nil when the kernel does not fit.
func (g convCase) convOut() []int {
	var out []int
	for i, n := range g.in {
		room := n + g.padLo[i] + g.padHi[i] - (g.kernel[i]-1)*g.dilation[i] - 1
		if room < 0 {
			return nil
		}
		out = append(out, room/g.stride[i]+1)
	}
	return out
}

// transposeOut is the spatial shape of ConvTranspose's output, or nil when the pads take all of it.
func (g convCase) transposeOut() []int {
	var out []int
	for i, n := range g.in {
		size := (n-1)*g.stride[i] + (g.kernel[i]-1)*g.dilation[i] + 1 - g.padLo[i] - g.padHi[i]
		if g.outputPadding != nil {
			size += g.outputPadding[i]
		}
		if size < 1 {
			return nil
		}
		out = append(out, size)
	}
	return out
}

// eachTap calls f for each place of the window, kernel element, and element at (image) that it touches.
func (g convCase) eachTap(places, image []int, f func(place, k, at int)) {
	for place := range Count(places) {
	taps:
		for k := range Count(g.kernel) {
			at, step, pl, kk := 0, 1, place, k
			for d := len(places) - 1; d >= 0; d-- {
				x := pl%places[d]*g.stride[d] + kk%g.kernel[d]*g.dilation[d] - g.padLo[d]
				pl, kk = pl/places[d], kk/g.kernel[d]
				if x < 0 || x >= image[d] {
					continue taps
				}
				at += x * step
				step *= image[d]
			}
			f(place, k, at)
		}
	}
}

// randomConv draws a geometry.
func randomConv(rng *rand.Rand) convCase {
	rank := 1 + rng.IntN(3)
	g := convCase{images: 1 + rng.IntN(4), groups: 1 + rng.IntN(3), ins: 1 + rng.IntN(3), outs: 1 + rng.IntN(6), bias: rng.IntN(2) == 0}
	if rng.IntN(4) == 0 {
		g.groups, g.ins, g.outs = 5, 1, 1+rng.IntN(2)
	}
	for range rank {
		g.in = append(g.in, 1+rng.IntN(9))
		g.kernel = append(g.kernel, 1+rng.IntN(5))
		g.stride = append(g.stride, 1+rng.IntN(3))
		g.dilation = append(g.dilation, 1+rng.IntN(3))
		g.padLo = append(g.padLo, rng.IntN(4))
		g.padHi = append(g.padHi, rng.IntN(4))
	}
	return g
}

func TestConvRandom(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		rng := rand.New(rand.NewPCG(11, 12))
		for range 400 {
			g := randomConv(rng)
			if g.convOut() != nil {
				checkConv[float32](t, g, rng, p)
				checkConv[float64](t, g, rng, p)
			}
		}
	})
}

// TestConvSizes are geometries that reach each way of forming the product: panels of several blocks, tiles of one and of
// several images, transposed panels, kernels as large as the image, 1x1.
func TestConvSizes(t *testing.T) {
	ones := []int{1, 1}
	for _, g := range []convCase{
		{images: 2, groups: 1, ins: 3, outs: 70, in: []int{40, 41}, kernel: []int{3, 3}, stride: ones, dilation: ones, padLo: ones, padHi: ones, bias: true},
		{images: 9, groups: 1, ins: 50, outs: 130, in: []int{4, 4}, kernel: []int{3, 3}, stride: ones, dilation: ones, padLo: ones, padHi: ones},
		{images: 40, groups: 2, ins: 8, outs: 16, in: []int{5, 5}, kernel: ones, stride: ones, dilation: ones, padLo: []int{0, 0}, padHi: []int{0, 0}, bias: true},
		{images: 3, groups: 2, ins: 8, outs: 16, in: []int{20, 20}, kernel: ones, stride: ones, dilation: ones, padLo: []int{0, 0}, padHi: []int{0, 0}},
		{images: 6, groups: 1, ins: 4, outs: 7, in: []int{18, 18}, kernel: []int{16, 16}, stride: ones, dilation: ones, padLo: []int{0, 0}, padHi: []int{0, 0}},
		{images: 6, groups: 3, ins: 4, outs: 1, in: []int{17, 17}, kernel: []int{8, 8}, stride: ones, dilation: []int{2, 2}, padLo: ones, padHi: ones},
		{images: 2, groups: 20, ins: 1, outs: 1, in: []int{12, 13}, kernel: []int{5, 5}, stride: []int{2, 2}, dilation: ones, padLo: []int{2, 2}, padHi: []int{2, 2}},
		{images: 2, groups: 1, ins: 3, outs: 20, in: []int{230, 231}, kernel: []int{7, 7}, stride: []int{2, 2}, dilation: ones, padLo: []int{3, 3}, padHi: []int{3, 3}, bias: true},
		{images: 1, groups: 1, ins: 1, outs: 8, in: []int{400, 401}, kernel: []int{3, 3}, stride: ones, dilation: []int{2, 2}, padLo: ones, padHi: ones},
		{images: 3, groups: 1, ins: 16, outs: 140, in: []int{6, 6}, kernel: []int{6, 6}, stride: []int{6, 6}, dilation: ones, padLo: []int{0, 0}, padHi: []int{0, 0}},
	} {
		forPools(t, func(t *testing.T, p *Pool) { checkConv[float32](t, g, rand.New(rand.NewPCG(1, 1)), p) })
	}
}

func checkConv[T amd64.Float](t *testing.T, g convCase, rng *rand.Rand, p *Pool) {
	t.Helper()
	out := g.convOut()
	x := randomTensor[T](rng, append([]int{g.images, g.groups * g.ins}, g.in...)...)
	w := randomTensor[T](rng, append([]int{g.groups * g.outs, g.ins}, g.kernel...)...)
	o := opCase{op: "Conv", in: []*Tensor{x, w}, attrs: g.attrs(), pool: p}
	o.out = []Spec{outLike[T](append([]int{g.images, g.groups * g.outs}, out...)...)}
	if g.bias {
		o.in = append(o.in, randomTensor[T](rng, g.groups*g.outs))
	}
	wantClose[T](t, g.String(), o.run(t)[0], convWant[T](g, o.in), tolerance[T](float64(g.ins*Count(g.kernel)+8)))
	if n := o.allocs(t); n != 0 {
		t.Errorf("%v: %v allocations per run", g, n)
	}
}

// convWant is the convolution of X and W, plus B if there is one, by its definition.
func convWant[T amd64.Float](g convCase, in []*Tensor) []float64 {
	out := g.convOut()
	places, size, kernels := Count(out), Count(g.in), Count(g.kernel)
	want := make([]float64, g.images*g.groups*g.outs*places)
	for i := range want {
		if len(in) > 2 {
			want[i] = float64(Data[T](in[2])[i/places%(g.groups*g.outs)])
		}
	}
	xs, ws := Data[T](in[0]), Data[T](in[1])
	g.eachTap(out, g.in, func(place, k, at int) {
		for n := range g.images {
			for m := range g.groups * g.outs {
				sum := 0.0
				for c := range g.ins {
					sum += float64(xs[((n*g.groups+m/g.outs)*g.ins+c)*size+at]) * float64(ws[(m*g.ins+c)*kernels+k])
				}
				want[(n*g.groups*g.outs+m)*places+place] += sum
			}
		}
	})
	return want
}

func TestConvAutoPad(t *testing.T) {
	x := Of([]float32{1, 2, 3, 4, 5}, 1, 1, 5)
	w := Of([]float32{1, 10}, 1, 1, 2)
	for pad, want := range map[string][]float64{
		"SAME_UPPER": {21, 32, 43, 54, 5}, "SAME_LOWER": {10, 21, 32, 43, 54}, "VALID": {21, 32, 43, 54},
	} {
		o := opCase{op: "Conv", in: []*Tensor{x, w}, attrs: []graph.Attr{graph.S("auto_pad", pad)}, out: []Spec{outLike[float32](1, 1, len(want))}}
		wantClose[float32](t, pad, o.run(t)[0], want, 0)
	}
}

func TestConvRefuses(t *testing.T) {
	x, w := New(graph.Float32, 1, 4, 5, 5), New(graph.Float32, 6, 4, 3, 3)
	for _, o := range []opCase{
		{in: []*Tensor{x, w}, out: []Spec{outLike[float32](1, 6, 5, 5)}},
		{in: []*Tensor{x, w}, attrs: []graph.Attr{graph.I("group", 2)}, out: []Spec{outLike[float32](1, 6, 3, 3)}},
		{in: []*Tensor{x, w}, attrs: []graph.Attr{graph.Is("strides", 1)}, out: []Spec{outLike[float32](1, 6, 3, 3)}},
		{in: []*Tensor{x, w, New(graph.Float32, 5)}, out: []Spec{outLike[float32](1, 6, 3, 3)}},
		{in: []*Tensor{x, New(graph.Float32, 6, 4, 7, 7)}, out: []Spec{outLike[float32](1, 6, 1, 1)}},
	} {
		o.op = "Conv"
		o.mustFail(t)
	}
}
