package kernel

import "github.com/asdlc/asdlc/graph"

// trilu keeps the triangle above (upper=1) or below diagonal k of each matrix, and zeros the rest.
func trilu[T graph.Number](c *Call) (Run, error) {
	if err := c.needs(1); err != nil {
		return nil, err
	}
	x := c.In[0].Shape
	if len(x) < 2 {
		return nil, c.Errorf(graph.ErrInvalid, "shape %v, want matrices", x)
	}
	if c.has(1) {
		if err := c.indices(1); err != nil {
			return nil, err
		}
	}
	rows, cols := x[len(x)-2], x[len(x)-1]
	upper := c.Node.Int("upper", 1) == 1
	var k int
	var dst, src []T
	body := func(lo, hi int) {
		for r := lo; r < hi; r++ {
			d, s := dst[r*cols:][:cols], src[r*cols:][:cols]
			if upper {
				cut := min(max(r%rows+k, 0), cols)
				clear(d[:cut])
				copy(d[cut:], s[cut:])
			} else {
				cut := min(max(r%rows+k+1, 0), cols)
				copy(d[:cut], s)
				clear(d[cut:])
			}
		}
	}
	return func(in, out []*Tensor) error {
		k, dst, src = 0, Data[T](out[0]), Data[T](in[0])
		if t := input(in, 1); t != nil {
			k = indexAt(t, 0)
		}
		c.Pool.For(Count(x[:len(x)-1]), 1+grainCheap/(cols+1), body)
		return nil
	}, nil
}

// compress keeps the entries along an axis, or of the flattened input, where condition (input 1) is true.
func compress[T graph.Number](c *Call) (Run, error) {
	if err := c.needs(2); err != nil {
		return nil, err
	}
	if c.In[1].Elem != graph.Bool {
		return nil, c.Errorf(graph.ErrInvalid, "condition of type %s, want bool", c.In[1].Elem)
	}
	x := c.In[0].Shape
	outer, d, inner := 1, c.In[0].Len(), 1
	if _, ok := c.Node.Attr("axis"); ok {
		axis, err := c.axis("axis", 0, len(x))
		if err != nil {
			return nil, err
		}
		outer, d, inner = Count(x[:axis]), x[axis], Count(x[axis+1:])
	}
	return func(in, out []*Tensor) error {
		condition, dst, src := Data[bool](in[1]), Data[T](out[0]), Data[T](in[0])
		if len(condition) > d {
			return c.Errorf(graph.ErrInvalid, "condition has %d elements, more than the %d it selects from", len(condition), d)
		}
		kept := 0
		for _, keep := range condition {
			if keep {
				kept++
			}
		}
		if kept*outer*inner != len(dst) {
			return c.Errorf(graph.ErrInvalid, "condition selects %d entries of %d elements, the output holds %d elements", kept*outer, inner, len(dst))
		}
		for o := range outer {
			for i, keep := range condition {
				if keep {
					copy(dst[:inner], src[(o*d+i)*inner:])
					dst = dst[inner:]
				}
			}
		}
		return nil
	}, nil
}

// nonZero lists the indices of the elements that are not zero, one column each.
func nonZero[T graph.Number](c *Call) (Run, error) {
	if err := c.needs(1); err != nil {
		return nil, err
	}
	x := c.In[0].Shape
	if len(x) == 0 { // [0, 1] or [0, 0]: no indices
		return func(_, _ []*Tensor) error { return nil }, nil
	}
	var zero T
	return func(in, out []*Tensor) error {
		src, dst := Data[T](in[0]), Data[int64](out[0])
		columns, found := len(dst)/len(x), 0
		for i, v := range src {
			if v == zero {
				continue
			}
			if found < columns {
				rest := i
				for k := len(x) - 1; k >= 0; k-- {
					dst[k*columns+found] = int64(rest % x[k])
					rest /= x[k]
				}
			}
			found++
		}
		if found != columns {
			return c.Errorf(graph.ErrInvalid, "%d elements are not zero, the output holds %d", found, columns)
		}
		return nil
	}, nil
}

func selectTable() []Row {
	return []Row{
		bySize("Trilu", 0, trilu[uint8], trilu[uint16], trilu[uint32], trilu[uint64]),
		bySize("Compress", 0, compress[uint8], compress[uint16], compress[uint32], compress[uint64]),
		row[float32]("NonZero", nonZero[float32]), row[float64]("NonZero", nonZero[float64]), row[bool]("NonZero", nonZero[bool]),
		row[int8]("NonZero", nonZero[int8]), row[int16]("NonZero", nonZero[int16]),
		row[int32]("NonZero", nonZero[int32]), row[int64]("NonZero", nonZero[int64]),
		row[uint8]("NonZero", nonZero[uint8]), row[uint16]("NonZero", nonZero[uint16]),
		row[uint32]("NonZero", nonZero[uint32]), row[uint64]("NonZero", nonZero[uint64]),
	}
}
