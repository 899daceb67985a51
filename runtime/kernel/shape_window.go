package kernel

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// windowTable are the operators that move whole blocks along an axis.
func windowTable() []Row {
	return slices.Concat(
		[]Row{
			bySize("CenterCropPad", 0, centerCropPad[uint8], centerCropPad[uint16], centerCropPad[uint32], centerCropPad[uint64]),
			bySize("ReverseSequence", 0, reverseSequence[uint8], reverseSequence[uint16], reverseSequence[uint32], reverseSequence[uint64]),
		},
		inPlace([]int{0}, bySize("TensorScatter", 0, tensorScatter[uint8], tensorScatter[uint16], tensorScatter[uint32], tensorScatter[uint64])),
	)
}

// centerCropPad copies the middle of the input to the middle of the output; what is beyond the input is zero.
func centerCropPad[T graph.Number](c *Call) (Run, error) {
	x, y := c.In[0].Shape, c.Out[0].Shape
	if len(x) != len(y) || len(x) > maxAxes {
		return nil, c.Errorf(graph.ErrInvalid, "shape %v cannot become %v", x, y)
	}
	both := make([]int, len(x)) // size of the part that is copied
	from, to := 0, 0            // its offsets
	sx, sy := strides(x), strides(y)
	for i := range x {
		both[i] = min(x[i], y[i])
		from += (x[i] - both[i]) / 2 * sx[i]
		to += (y[i] - both[i]) / 2 * sy[i]
	}
	var w walk
	w.reset(both, sx, sy)
	return func(in, out []*Tensor) error {
		src, dst := Data[T](in[0]), Data[T](out[0])
		clear(dst)
		for at := w.from(0, w.n); at.n > 0; at.next() {
			a, b := from+at.off[0], to+at.off[1]
			if w.inner(0) == 1 && w.inner(1) == 1 {
				copy(dst[b:b+at.n], src[a:])
				continue
			}
			for i := range at.n {
				dst[b+i*w.inner(1)] = src[a+i*w.inner(0)]
			}
		}
		return nil
	}, nil
}

// tensorScatter writes updates into a cache at positions of one axis, another first position for each sequence.
func tensorScatter[T graph.Number](c *Call) (Run, error) {
	if err := c.needs(2); err != nil {
		return nil, err
	}
	x, u := c.In[0].Shape, c.In[1].Shape
	axis, err := c.axis("axis", -2, len(x))
	if err != nil {
		return nil, err
	}
	if len(u) != len(x) || axis == 0 || Count(u[:axis]) != Count(x[:axis]) || Count(u[axis+1:]) != Count(x[axis+1:]) || u[axis] > x[axis] {
		return nil, c.Errorf(graph.ErrInvalid, "update of shape %v does not fit a cache of shape %v along axis %d", u, x, axis)
	}
	mode := c.Node.Str("mode", "linear")
	if mode != "linear" && mode != "circular" {
		return nil, c.Errorf(graph.ErrInvalid, "mode is %q, want linear or circular", mode)
	}
	if err := c.vector(x[0], 2); err != nil {
		return nil, err
	}
	outer, each, length, count, inner := x[0], Count(x[1:axis]), x[axis], u[axis], Count(x[axis+1:])
	return func(in, out []*Tensor) error {
		src, dst := Data[T](in[1]), Data[T](out[0])
		copy(dst, Data[T](in[0]))
		for b := range outer {
			first := 0
			if t := input(in, 2); t != nil {
				first = indexAt(t, b)
			}
			if first < 0 || mode == "linear" && first+count > length {
				return c.Errorf(graph.ErrInvalid, "write_indices[%d] is %d: %d positions do not fit the cache's %d", b, first, count, length)
			}
			for e := b * each; e < (b+1)*each; e++ {
				for t := range count {
					at := (e*length + (first+t)%length) * inner
					copy(dst[at:at+inner], src[(e*count+t)*inner:])
				}
			}
		}
		return nil
	}, nil
}

// reverseSequence reverses the beginning of each sequence, as far as its length says.
func reverseSequence[T graph.Number](c *Call) (Run, error) {
	if err := c.needs(2); err != nil {
		return nil, err
	}
	s := c.In[0].Shape
	batchAxis, timeAxis := int(c.Node.Int("batch_axis", 1)), int(c.Node.Int("time_axis", 0))
	if len(s) < 2 || batchAxis+timeAxis != 1 || batchAxis*timeAxis != 0 {
		return nil, c.Errorf(graph.ErrInvalid, "batch_axis %d and time_axis %d, want 0 and 1 in any order", batchAxis, timeAxis)
	}
	batch, steps, inner := s[batchAxis], s[timeAxis], Count(s[2:])
	if err := c.vector(batch, 1); err != nil {
		return nil, err
	}
	bStep, tStep := strides(s)[batchAxis], strides(s)[timeAxis]
	return func(in, out []*Tensor) error {
		src, dst := Data[T](in[0]), Data[T](out[0])
		for b := range batch {
			n := indexAt(in[1], b)
			if n < 0 || n > steps {
				return c.Errorf(graph.ErrInvalid, "sequence_lens[%d] is %d, want 0 to %d", b, n, steps)
			}
			for t := range steps {
				from := t
				if t < n {
					from = n - 1 - t
				}
				copy(dst[b*bStep+t*tStep:b*bStep+t*tStep+inner], src[b*bStep+from*tStep:])
			}
		}
		return nil
	}, nil
}
