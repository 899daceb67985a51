package runtime_test

import (
	"math"

	"github.com/asdlc/asdlc/runtime/kernel"
)

// largest is the largest magnitude among the elements.
func largest(t *kernel.Tensor) float64 {
	m := 0.0
	for _, x := range floatsOf(t) {
		m = max(m, math.Abs(x))
	}
	return m
}

func floatsOf(t *kernel.Tensor) []float64 {
	c := t.Const()
	if v, ok := c.Float64s(); ok {
		return v
	}
	ints, _ := c.Int64s()
	v := make([]float64, len(ints))
	for i, n := range ints {
		v[i] = float64(n)
	}
	return v
}
