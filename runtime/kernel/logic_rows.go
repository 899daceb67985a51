package kernel

import (
	"math"

	"github.com/asdlc/asdlc/graph"
)

// orders are the comparisons of numbers.
func orders[T numeric]() []Row {
	return []Row{
		row[T]("Less", binary(lift(func(a, b T) bool { return a < b }), grainCheap)),
		row[T]("LessOrEqual", binary(lift(func(a, b T) bool { return a <= b }), grainCheap)),
		row[T]("Greater", binary(lift(func(a, b T) bool { return a > b }), grainCheap)),
		row[T]("GreaterOrEqual", binary(lift(func(a, b T) bool { return a >= b }), grainCheap)),
	}
}

func equal[T graph.Number]() []Row {
	return []Row{row[T]("Equal", binary(lift(func(a, b T) bool { return a == b }), grainCheap))}
}

func booleans() []Row {
	return inPlace([]int{0, 1},
		row[bool]("And", binary(lift(func(a, b bool) bool { return a && b }), grainCheap)),
		row[bool]("Or", binary(lift(func(a, b bool) bool { return a || b }), grainCheap)),
		row[bool]("Xor", binary(lift(func(a, b bool) bool { return a != b }), grainCheap)),
	)
}

func not() []Row {
	return inPlace([]int{0}, row[bool]("Not", unary(each(func(a bool) bool { return !a }), grainCheap)))
}

// classes are the tests for special floating-point values.
func classes[T floating]() []Row {
	return []Row{
		row[T]("IsNaN", unary(each(func(x T) bool { return x != x }), grainCheap)),
		row[T]("IsInf", func(c *Call) (Run, error) {
			lo, hi := math.Inf(-1), math.Inf(1)
			negative, positive := c.Node.Int("detect_negative", 1) == 1, c.Node.Int("detect_positive", 1) == 1
			return unary(each(func(x T) bool {
				return negative && float64(x) == lo || positive && float64(x) == hi
			}), grainCheap)(c)
		}),
	}
}

// where selects by input 0, with broadcasting of all three. One condition for all elements is a copy, or nothing where the
// result lies in the place of what is selected.
func where[T graph.Number](c *Call) (Run, error) {
	if err := c.needs(3); err != nil {
		return nil, err
	}
	if err := c.sameElem(1); err != nil {
		return nil, err
	}
	w := &walk{}
	if err := c.broadcast(w, 0, 1, 2); err != nil {
		return nil, err
	}
	var cond []bool
	var x, y, dst []T
	body := func(lo, hi int) {
		for at := w.from(lo, hi); at.n > 0; at.next() {
			i, sc := at.off[0], w.inner(0)
			j, sx := at.off[1], w.inner(1)
			k, sy := at.off[2], w.inner(2)
			d := dst[at.pos : at.pos+at.n]
			for p := range d {
				if cond[i] {
					d[p] = x[j]
				} else {
					d[p] = y[k]
				}
				i, j, k = i+sc, j+sx, k+sy
			}
		}
	}
	var src []T
	whole := func(lo, hi int) { copy(dst[lo:hi], src[lo:hi]) }
	return func(in, out []*Tensor) error {
		cond, x, y, dst = Data[bool](in[0]), Data[T](in[1]), Data[T](in[2]), Data[T](out[0])
		if len(cond) == 1 && w.n > 1 {
			if src = y; cond[0] {
				src = x
			}
			if len(src) == w.n { // then its shape is that of the result
				if &src[0] != &dst[0] {
					c.Pool.For(w.n, grainCheap, whole)
				}
				return nil
			}
		}
		c.Pool.For(w.n, grainCheap, body)
		return nil
	}, nil
}

func whereRow() Row {
	r := bySize("Where", 1, where[uint8], where[uint16], where[uint32], where[uint64])
	r.InPlace = []int{1, 2}
	return r
}
