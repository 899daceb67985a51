package backendtest

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel"
)

// Tolerances of the ONNX test runner.
const (
	DefaultRTol = 1e-3
	DefaultATol = 1e-7
)

// Compare is an error unless got has the element type and shape of want, and each element is within atol + rtol*|want|. NaN
// equals NaN, and an infinity itself alone. Integers and bools must be equal if both tolerances are 0.
func Compare(got, want *kernel.Tensor, rtol, atol float64) error {
	if got.Elem != want.Elem || !slices.Equal(got.Shape, want.Shape) {
		return fmt.Errorf("got %s, want %s", got, want)
	}
	if bytes.Equal(got.Raw, want.Raw) {
		return nil
	}
	g, w := numbers(got), numbers(want)
	first, count := -1, 0
	for i := range w {
		if !near(g[i], w[i], rtol, atol) {
			if count++; first < 0 {
				first = i
			}
		}
	}
	if rtol == 0 && atol == 0 && count == 0 && !want.Elem.IsFloat() {
		return fmt.Errorf("large integers differ") // by less than float64 tells
	}
	if count > 0 {
		return fmt.Errorf("element %v is %s, want %s (%d of %d elements differ)",
			index(first, want.Shape), show(g[first], want.Elem), show(w[first], want.Elem), count, len(w))
	}
	return nil
}

// show writes a number with the digits that its type has.
func show(v float64, e graph.Elem) string {
	bits := 64
	if e == graph.Float32 {
		bits = 32
	}
	return strconv.FormatFloat(v, 'g', -1, bits)
}

func near(got, want, rtol, atol float64) bool {
	switch {
	case got == want, got != got && want != want:
		return true
	case math.IsInf(want, 0):
		return false
	}
	return math.Abs(got-want) <= atol+rtol*math.Abs(want)
}

// index is where element i of a tensor lies.
func index(i int, shape []int) []int {
	at := make([]int, len(shape))
	for k := len(shape) - 1; k >= 0; k-- {
		at[k] = i % shape[k]
		i /= shape[k]
	}
	return at
}

func numbers(t *kernel.Tensor) []float64 {
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
