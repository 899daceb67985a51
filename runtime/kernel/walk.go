package kernel

import "github.com/asdlc/asdlc/graph"

// maxAxes bounds the rank of tensors in the kernels that walk by strides.
const maxAxes = 16

// maxOperands bounds the operands of a walk.
const maxOperands = 3

// Grains of parallel loops, in elements: how much work makes a worker worth waking.
const (
	grainCheap  = 16384 // a copy or an addition
	grainCostly = 2048  // a transcendental function
)

// walk visits the elements of a row-major tensor in order, in runs along its innermost axis, and follows operands
// laid out by strides. Axes of size 1 are dropped and axes that are adjacent for every operand are merged, so that
// equal shapes make one single run and [N,M] op [M] makes N runs of M.
type walk struct {
	n       int
	axes    int
	dims    [maxAxes]int
	strides [maxOperands][maxAxes]int // in elements; 0 repeats, negative goes back
	ops     int
}

// reset plans a walk of a tensor of the given shape; each operand has one stride a dimension.
func (w *walk) reset(shape []int, operands ...[]int) {
	w.n, w.axes, w.ops = Count(shape), 0, len(operands)
	if w.n == 0 {
		w.axes, w.dims[0] = 1, 0
		return
	}
	for i, d := range shape {
		if d == 1 {
			continue
		}
		if w.mergeable(i, d, operands) {
			w.dims[w.axes-1] *= d
		} else {
			w.dims[w.axes] = d
			w.axes++
		}
		for k, s := range operands {
			w.strides[k][w.axes-1] = s[i]
		}
	}
	if w.axes == 0 { // a scalar
		w.axes, w.dims[0] = 1, 1
		for k := range operands {
			w.strides[k][0] = 1
		}
	}
}

func (w *walk) mergeable(i, d int, operands [][]int) bool {
	if w.axes == 0 {
		return false
	}
	for k, s := range operands {
		if w.strides[k][w.axes-1] != s[i]*d {
			return false
		}
	}
	return true
}

// inner is the stride of operand k along the innermost axis.
func (w *walk) inner(k int) int { return w.strides[k][w.axes-1] }

// cursor is a position of a walk: the run of n elements at pos, whose operands are at off.
type cursor struct {
	w      *walk
	pos, n int
	end    int
	off    [maxOperands]int
	col    int
	index  [maxAxes]int
}

// from begins a walk over the elements lo <= i < hi. The cursor is at its end when n is 0.
func (w *walk) from(lo, hi int) cursor {
	c := cursor{w: w, pos: lo, end: hi}
	if lo >= hi {
		return c
	}
	last := w.axes - 1
	rest := lo
	for i := last; i >= 0; i-- {
		at := rest % w.dims[i]
		rest /= w.dims[i]
		c.index[i] = at
		for k := range w.ops {
			c.off[k] += at * w.strides[k][i]
		}
	}
	c.col = c.index[last]
	c.n = min(w.dims[last]-c.col, hi-lo)
	return c
}

// next goes to the following run.
func (c *cursor) next() {
	w := c.w
	last := w.axes - 1
	c.pos += c.n
	if c.pos >= c.end {
		c.n = 0
		return
	}
	for k := range w.ops {
		c.off[k] -= c.col * w.strides[k][last]
	}
	c.col = 0
	for i := last - 1; i >= 0; i-- {
		c.index[i]++
		if c.index[i] < w.dims[i] {
			for k := range w.ops {
				c.off[k] += w.strides[k][i]
			}
			break
		}
		c.index[i] = 0
		for k := range w.ops {
			c.off[k] -= (w.dims[i] - 1) * w.strides[k][i]
		}
	}
	c.n = min(w.dims[last], c.end-c.pos)
}

// broadcast plans a walk of output 0 with the inputs listed as operands, broadcast as NumPy does.
func (c *Call) broadcast(w *walk, inputs ...int) error {
	shape := c.Out[0].Shape
	if len(shape) > maxAxes {
		return c.Errorf(graph.ErrUnsupported, "rank %d, at most %d", len(shape), maxAxes)
	}
	operands := make([][]int, len(inputs))
	for k, i := range inputs {
		s, ok := broadcastStrides(c.In[i].Shape, shape)
		if !ok {
			return c.Errorf(graph.ErrInvalid, "input %d of shape %v does not broadcast to %v", i, c.In[i].Shape, shape)
		}
		operands[k] = s
	}
	w.reset(shape, operands...)
	return nil
}

// broadcastStrides are the strides with which a row-major tensor of shape from is read as one of shape to; ok is
// false if it does not broadcast to it.
func broadcastStrides(from, to []int) (s []int, ok bool) {
	lead := len(to) - len(from)
	if lead < 0 {
		return nil, false
	}
	s = make([]int, len(to))
	n := 1
	for i := len(from) - 1; i >= 0; i-- {
		switch from[i] {
		case to[lead+i]:
			s[lead+i] = n
		case 1:
		default:
			return nil, false
		}
		n *= from[i]
	}
	return s, true
}
