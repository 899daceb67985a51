package kernel

import (
	"math"

	"github.com/asdlc/asdlc/graph"
)

// orders are the comparisons of numbers.
func orders[T numeric]() []Row {
	return []Row{
		row[T]("Less", binary(lessLoop[T](), grainCheap)),
		row[T]("LessOrEqual", binary(lessOrEqualLoop[T](), grainCheap)),
		row[T]("Greater", binary(lessLoop[T]().swapped(), grainCheap)),
		row[T]("GreaterOrEqual", binary(lessOrEqualLoop[T]().swapped(), grainCheap)),
	}
}

func equal[T graph.Number]() []Row {
	return []Row{row[T]("Equal", binary(equalLoop[T](), grainCheap))}
}

func booleans() []Row {
	return inPlace([]int{0, 1},
		row[bool]("And", binary(andLoop(), grainCheap)),
		row[bool]("Or", binary(orLoop(), grainCheap)),
		row[bool]("Xor", binary(xorLoop(), grainCheap)),
	)
}

func not() []Row {
	return inPlace([]int{0}, row[bool]("Not", unary(notLoop, grainCheap)))
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
			switch {
			case sc == 0 && (sx == 0 || !cond[i]) && (sy == 0 || cond[i]): // one number
				v := y[k]
				if cond[i] {
					v = x[j]
				}
				fill(d, v)
			case sc == 0 && cond[i]:
				copy(d, x[j:j+at.n])
			case sc == 0:
				copy(d, y[k:k+at.n])
			case sx == 0 && sy == 0:
				for p, yes := range cond[i : i+at.n] {
					v := y[k]
					if yes {
						v = x[j]
					}
					d[p] = v
				}
			case sx == 0:
				chooseFrom(d, cond[i:i+at.n], x[j], y[k:k+at.n])
			case sy == 0:
				chooseOr(d, cond[i:i+at.n], x[j:j+at.n], y[k])
			default:
				choose(d, cond[i:i+at.n], x[j:j+at.n], y[k:k+at.n])
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
