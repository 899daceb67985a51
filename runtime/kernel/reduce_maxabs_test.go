package kernel

import (
	"math"
	"testing"

	"github.com/asdlc/asdlc/graph"
)

// MaxAbs is the largest absolute value, whatever its sign and place; NaN wins.
func TestMaxAbs(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		for _, n := range []int{1, 3, 4, 1000, 70001} {
			for _, at := range []int{0, n / 2, n - 1} {
				for _, v := range []float32{-7, 7, float32(math.Inf(-1)), float32(math.NaN())} {
					x := New(graph.Float32, n)
					for i := range Data[float32](x) {
						Data[float32](x)[i] = float32(i%5) - 2
					}
					Data[float32](x)[at] = v
					o := opCase{domain: graph.Asdl, op: "MaxAbs", in: []*Tensor{x}, out: []Spec{outLike[float32]()}, attrs: []graph.Attr{graph.I("keepdims", 0)}, pool: p}
					if got := Data[float32](o.run(t)[0])[0]; got != float32(math.Abs(float64(v))) && !(got != got && v != v) {
						t.Fatalf("%d numbers, %v at %d: %v", n, v, at, got)
					}
				}
			}
		}
	})
}
