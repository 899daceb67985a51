//go:build linux

package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
)

// momentumCase is v' = mu v + g, w' = w - lr v', and the same with operators of their own.
func momentumCase(n int) opCase {
	rng := rand.New(rand.NewPCG(1, 1))
	x := func() *Tensor { return randomTensor[float32](rng, n) }
	return opCase{
		domain: graph.Asdl, op: "Pointwise", in: []*Tensor{x(), Of([]float32{0.9}), x(), Of([]float32{0.01}), x()},
		out: []Spec{outLike[float32](n), outLike[float32](n)},
		attrs: []graph.Attr{
			graph.Ss("ops", "Mul", "Add", "Mul", "Sub"), graph.Is("args", 0, 1, 5, 2, 6, 3, 4, 7), graph.Is("results", 6, 8),
		},
	}
}

// BenchmarkPointwise measures a step of gradient descent with momentum as one node, in nanoseconds of processor time an element.
func BenchmarkPointwise(b *testing.B) {
	for _, n := range []int{1 << 12, 1 << 18, 1 << 22} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			o := momentumCase(n)
			run, out, err := o.prepare(b)
			if err != nil {
				b.Fatal(err)
			}
			clock, release := clockFor(1)
			defer release()
			ratio := alternation{clock: clock}
			for b.Loop() {
				ratio.run(func() { _ = run(o.in, out) }, func() {})
			}
			b.ReportMetric(float64(undisturbed(ratio.ours))/float64(n), "ns/elem")
		})
	}
}
