package kernel

import (
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
)

// BenchmarkLogic measures comparisons and selections of float32 on one thread.
func BenchmarkLogic(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	const rows, cols = 64, 1024
	x, y, one := randomTensor[float32](rng, rows, cols), randomTensor[float32](rng, rows, cols), randomTensor[float32](rng)
	cond := New(graph.Bool, rows, cols)
	for i, v := range Data[float32](x) {
		Data[bool](cond)[i] = v > 0
	}
	for _, c := range []struct {
		name, op string
		in       []*Tensor
		out      Spec
	}{
		{"Where", "Where", []*Tensor{cond, x, y}, outLike[float32](rows, cols)},
		{"Where/else=one", "Where", []*Tensor{cond, x, one}, outLike[float32](rows, cols)},
		{"Where/then=one", "Where", []*Tensor{cond, one, y}, outLike[float32](rows, cols)},
		{"Greater", "Greater", []*Tensor{x, y}, outLike[bool](rows, cols)},
		{"Greater/one", "Greater", []*Tensor{x, one}, outLike[bool](rows, cols)},
		{"Equal", "Equal", []*Tensor{x, y}, outLike[bool](rows, cols)},
		{"And", "And", []*Tensor{cond, cond}, outLike[bool](rows, cols)},
	} {
		b.Run(c.name, func(b *testing.B) {
			o := opCase{op: c.op, in: c.in, out: []Spec{c.out}, rows: logicTable()}
			run, outs, err := o.prepare(b)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := run(o.in, outs); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(rows*cols), "ns/element")
		})
	}
}
