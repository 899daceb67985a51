//go:build linux

package kernel

import (
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
)

// square is a convolution of images of size x size by kernels of k x k, padded by k/2.
func square(images, groups, ins, outs, size, k, stride int) convCase {
	two := func(n int) []int { return []int{n, n} }
	return convCase{
		images: images, groups: groups, ins: ins, outs: outs, in: two(size), kernel: two(k), stride: two(stride), dilation: two(1),
		padLo: two(k / 2), padHi: two(k / 2),
	}
}

// oneDNNCases are layers of ResNet and what is beside them: strides, small and large batches, odd sizes, groups.
var oneDNNCases = []struct {
	name string
	g    convCase
}{
	{"64x32x32", square(32, 1, 64, 64, 32, 3, 1)},
	{"128x16x16", square(32, 1, 128, 128, 16, 3, 1)},
	{"256x8x8", square(32, 1, 256, 256, 8, 3, 1)},
	{"512x4x4", square(32, 1, 512, 512, 4, 3, 1)},
	{"64x32x32/stride=2", square(32, 1, 64, 128, 32, 3, 2)},
	{"256x8x8/stride=2", square(32, 1, 256, 512, 8, 3, 2)},
	{"64x32x32/1x1/stride=2", square(32, 1, 64, 128, 32, 1, 2)},
	{"256x8x8/1x1/stride=2", square(32, 1, 256, 512, 8, 1, 2)},
	{"256x14x14/1x1", square(32, 1, 256, 64, 14, 1, 1)},
	{"3x32x32", square(32, 1, 3, 64, 32, 3, 1)},
	{"64x32x32/batch=1", square(1, 1, 64, 64, 32, 3, 1)},
	{"512x4x4/batch=1", square(1, 1, 512, 512, 4, 3, 1)},
	{"64x32x32/stride=2/batch=1", square(1, 1, 64, 128, 32, 3, 2)},
	{"256x8x8/stride=2/batch=1", square(1, 1, 256, 512, 8, 3, 2)},
	{"64x32x32/1x1/stride=2/batch=1", square(1, 1, 64, 128, 32, 1, 2)},
	{"128x16x16/batch=128", square(128, 1, 128, 128, 16, 3, 1)},
	{"61x29x29/stride=2/batch=7", square(7, 1, 61, 67, 29, 3, 2)},
	{"61x29x29/batch=7", square(7, 1, 61, 67, 29, 3, 1)},
	{"4x32x14x14", square(32, 4, 32, 32, 14, 3, 1)},
	{"depthwise64x32x32", square(32, 64, 1, 1, 32, 3, 1)},
}

// direction prepares the convolution, or its gradient in the input or in the weight, as a training step runs it.
func (g convCase) direction(t testing.TB, p *Pool, direction string) func() {
	out := g.convOut()
	x, w, y := append([]int{g.images, g.groups * g.ins}, g.in...), append([]int{g.groups * g.outs, g.ins}, g.kernel...), append([]int{g.images, g.groups * g.outs}, out...)
	o, rng := opCase{attrs: g.attrs(), pool: p}, rand.New(rand.NewPCG(1, 1))
	take := func(op string, a, b, result []int) {
		o.op, o.in, o.out = op, []*Tensor{randomTensor[float32](rng, a...), randomTensor[float32](rng, b...)}, []Spec{outLike[float32](result...)}
	}
	switch direction {
	case "forward":
		take("Conv", x, w, y)
	case "input":
		take("ConvTranspose", y, w, x)
		var extra []int64
		for i, n := range g.in {
			extra = append(extra, int64(n+g.padLo[i]+g.padHi[i]-(g.kernel[i]-1)*g.dilation[i]-1)%int64(g.stride[i]))
		}
		o.attrs = append(o.attrs, graph.Is("output_padding", extra...))
	case "weight":
		take("ConvWeightGrad", x, y, w)
		o.domain = graph.Asdl
	}
	run, outs, err := o.prepare(t)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := run(o.in, outs); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkConvVersusOneDNN has PyTorch's process and this one take turns, on one thread each, by processor time. Of
// PyTorch's two layouts the faster counts. PEERS_PYTHON is a Python that has PyTorch.
func BenchmarkConvVersusOneDNN(b *testing.B) {
	theirs := startPyTorch(b, "conv_side.py")
	for _, c := range oneDNNCases {
		for _, direction := range []string{"forward", "input", "weight"} {
			b.Run(c.name+"/"+direction, func(b *testing.B) {
				run := c.g.direction(b, nil, direction)
				flops := 2 * c.g.images * c.g.groups * c.g.outs * Count(c.g.convOut()) * c.g.ins * Count(c.g.kernel)
				calls := max(1, 1<<28/flops)
				request := c.g.request(direction, calls)
				mine, fastest := theirs.takeTurns(b, run, request, calls)
				b.ReportMetric(gflops(float64(flops), mine), "GFLOP/s")
				b.ReportMetric(gflops(float64(flops), fastest), "oneDNN-GFLOP/s")
			})
		}
	}
}

// request is a case as testdata/peers/conv_side.py reads it. Its pads are equal on both sides.
func (g convCase) request(direction string, calls int) map[string]any {
	return map[string]any{
		"images": g.images, "groups": g.groups, "ins": g.ins, "outs": g.outs, "in": g.in, "kernel": g.kernel,
		"stride": g.stride, "dilation": g.dilation, "pad": g.padLo, "direction": direction, "calls": calls,
	}
}
