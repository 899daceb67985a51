package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/asdlc/asdlc/graph"
)

// TestLogic compares comparisons, truth functions and selections with what they are for two elements, where both operands vary
// and where either is one number; also for NaN.
func TestLogic(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	number := map[string]func(a, b float32) bool{
		"Less": func(a, b float32) bool { return a < b }, "LessOrEqual": func(a, b float32) bool { return a <= b },
		"Greater": func(a, b float32) bool { return a > b }, "GreaterOrEqual": func(a, b float32) bool { return a >= b },
		"Equal": func(a, b float32) bool { return a == b },
	}
	truth := map[string]func(a, b bool) bool{
		"And": func(a, b bool) bool { return a && b }, "Or": func(a, b bool) bool { return a || b }, "Xor": func(a, b bool) bool { return a != b },
	}
	const n = 37
	for _, shapes := range [][2][]int{{{n}, {n}}, {{n}, {}}, {{}, {n}}} {
		x, y := New(graph.Float32, shapes[0]...), New(graph.Float32, shapes[1]...)
		p, q := New(graph.Bool, shapes[0]...), New(graph.Bool, shapes[1]...)
		for _, v := range []*Tensor{x, y} {
			for i := range Data[float32](v) {
				Data[float32](v)[i] = []float32{0, 1, 2, float32(math.NaN()), float32(math.Inf(1))}[rng.IntN(5)]
			}
		}
		for _, v := range []*Tensor{p, q} {
			for i := range Data[bool](v) {
				Data[bool](v)[i] = rng.IntN(2) == 0
			}
		}
		for op, f := range number {
			o := opCase{op: op, in: []*Tensor{x, y}, out: []Spec{outLike[bool](n)}, rows: logicTable()}
			for i, got := range Data[bool](o.run(t)[0]) {
				if a, b := Data[float32](x)[i%x.Len()], Data[float32](y)[i%y.Len()]; got != f(a, b) {
					t.Errorf("%s(%v, %v) is %v", op, a, b, got)
				}
			}
		}
		for op, f := range truth {
			o := opCase{op: op, in: []*Tensor{p, q}, out: []Spec{outLike[bool](n)}, rows: logicTable()}
			for i, got := range Data[bool](o.run(t)[0]) {
				if a, b := Data[bool](p)[i%p.Len()], Data[bool](q)[i%q.Len()]; got != f(a, b) {
					t.Errorf("%s(%v, %v) is %v", op, a, b, got)
				}
			}
		}
	}
}
