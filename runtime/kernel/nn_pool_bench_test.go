//go:build linux

package kernel

import (
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
)

// poolBench is a pooling of images of size x size.
type poolBench struct {
	name, pool                                  string
	images, channels, size, kernel, stride, pad int
}

// poolCases are the poolings of ResNet and LeNet, and odd ones.
var poolCases = []poolBench{
	{"max/64x112x112/3x3/stride=2", "max", 32, 64, 112, 3, 2, 1},
	{"max/64x28x28/2x2/stride=2", "max", 32, 64, 28, 2, 2, 0},
	{"max/61x29x29/3x3/stride=2", "max", 7, 61, 29, 3, 2, 0},
	{"max/64x28x28/3x3", "max", 32, 64, 28, 3, 1, 1},
	{"average/64x112x112/3x3/stride=2", "average", 32, 64, 112, 3, 2, 1},
	{"average/64x28x28/2x2/stride=2", "average", 32, 64, 28, 2, 2, 0},
	{"average/61x29x29/3x3", "average", 7, 61, 29, 3, 1, 1},
	{"global/2048x7x7", "global", 32, 2048, 7, 0, 0, 0},
}

func (b poolBench) out() int {
	if b.pool == "global" {
		return 1
	}
	return (b.size+2*b.pad-b.kernel)/b.stride + 1
}

// direction prepares the pooling, or its gradient, as a training step runs it.
func (b poolBench) direction(t testing.TB, direction string) func() {
	rng := rand.New(rand.NewPCG(1, 1))
	x, y := []int{b.images, b.channels, b.size, b.size}, []int{b.images, b.channels, b.out(), b.out()}
	o := opCase{op: map[string]string{"max": "MaxPool", "average": "AveragePool", "global": "GlobalAveragePool"}[b.pool]}
	o.in, o.out = []*Tensor{randomTensor[float32](rng, x...)}, []Spec{outLike[float32](y...)}
	if b.pool != "global" {
		k, s, p := int64(b.kernel), int64(b.stride), int64(b.pad)
		o.attrs = []graph.Attr{graph.Is("kernel_shape", k, k), graph.Is("strides", s, s), graph.Is("pads", p, p, p, p)}
	}
	if b.pool == "max" {
		o.out = append(o.out, outLike[int64](y...))
	}
	if direction == "input" {
		g := randomTensor[float32](rng, y...)
		switch b.pool {
		case "max":
			indices := o.run(t)[1]
			o = opCase{domain: graph.Asdl, op: "MaxPoolGrad", in: []*Tensor{g, indices, Of([]int64{int64(Count(x))}, 1)}, out: []Spec{outLike[float32](Count(x))}}
		case "average": // but for the division by the counts
			ones := New(graph.Float32, 1, 1, b.kernel, b.kernel)
			fill(Data[float32](ones), 1)
			extra := int64((b.size + 2*b.pad - b.kernel) % b.stride)
			o.op, o.attrs = "ConvTranspose", append(o.attrs, graph.Is("output_padding", extra, extra))
			o.in = []*Tensor{randomTensor[float32](rng, b.images*b.channels, 1, b.out(), b.out()), ones}
			o.out = []Spec{outLike[float32](b.images*b.channels, 1, b.size, b.size)}
		}
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

// BenchmarkPoolVersusPyTorch has PyTorch's process and this one take turns, on one thread each, by processor time. Of PyTorch's
// two layouts the faster counts. PEERS_PYTHON is a Python that has PyTorch.
func BenchmarkPoolVersusPyTorch(b *testing.B) {
	theirs := startPyTorch(b, "pool_side.py")
	for _, c := range poolCases {
		for _, direction := range []string{"forward", "input"} {
			if c.pool == "global" && direction == "input" { // an Expand
				continue
			}
			b.Run(c.name+"/"+direction, func(b *testing.B) {
				run := c.direction(b, direction)
				calls := max(1, 1<<25/(c.images*c.channels*c.size*c.size))
				two := func(n int) []int { return []int{n, n} }
				request := map[string]any{
					"pool": c.pool, "x": []int{c.images, c.channels, c.size, c.size}, "kernel": two(c.kernel), "stride": two(c.stride), "pad": two(c.pad),
					"direction": direction, "calls": calls,
				}
				mine, _ := theirs.takeTurns(b, run, request, calls)
				b.ReportMetric(mine.Seconds()*1e6, "us")
			})
		}
	}
}
