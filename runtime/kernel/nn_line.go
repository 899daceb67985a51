package kernel

import (
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// lines prepares a kernel that works on the lines of X along one axis: f is told the elements start, start+step, ...,
// n of them.
func lines[T amd64.Float](c *Call, axis, cost int, f func(y, x []T, start, n, step int)) Run {
	s := c.In[0].Shape
	n, step := s[axis], Count(s[axis+1:])
	outer := Count(s[:axis])
	var x, y []T
	body := func(lo, hi int) {
		for i := lo; i < hi; i++ {
			f(y, x, i/step*n*step+i%step, n, step)
		}
	}
	return func(in, out []*Tensor) error {
		x, y = Data[T](in[0]), Data[T](out[0])
		if n > 0 {
			c.Pool.For(outer*step, grainFor(cost*n), body)
		}
		x, y = nil, nil
		return nil
	}
}

// makeLpNorm is ONNX LpNormalization: x divided by its 1- or 2-norm along an axis; a line of zeros stays.
func makeLpNorm[T amd64.Float](c *Call) (Run, error) {
	axis, err := c.axis("axis", -1, len(c.In[0].Shape))
	if err != nil {
		return nil, err
	}
	p := c.Node.Int("p", 2)
	if p != 1 && p != 2 {
		return nil, c.Errorf(graph.ErrInvalid, "p is %d, want 1 or 2", p)
	}
	return lines(c, axis, 2, func(y, x []T, start, n, step int) {
		norm := 0.0
		for i := range n {
			v := float64(x[start+i*step])
			if p == 1 {
				norm += math.Abs(v)
			} else {
				norm = math.Hypot(norm, v)
			}
		}
		if norm == 0 {
			norm = 1
		}
		for i := range n {
			y[start+i*step] = T(float64(x[start+i*step]) / norm)
		}
	}), nil
}

// makeHardmax is ONNX Hardmax: 1 at the first maximum along an axis, 0 elsewhere. Before opset 13 the dimensions from
// axis on are one.
func makeHardmax[T amd64.Float](c *Call) (Run, error) {
	x := c.In[0].Shape
	def := int64(-1)
	if c.Opset < 13 {
		def = 1
	}
	axis, err := c.axis("axis", def, len(x)+1)
	if c.Opset >= 13 {
		axis, err = c.axis("axis", def, len(x))
	}
	if err != nil {
		return nil, err
	}
	if c.Opset < 13 {
		flat := *c
		flat.In = append([]Spec{}, c.In...)
		flat.In[0].Shape = []int{Count(x[:axis]), Count(x[axis:])}
		c, axis = &flat, 1
	}
	return lines(c, axis, 1, func(y, x []T, start, n, step int) {
		best := 0
		for i := range n {
			if y[start+i*step] = 0; x[start+i*step] > x[start+best*step] {
				best = i
			}
		}
		y[start+best*step] = 1
	}), nil
}

// makeLRN is ONNX LRN: x / (bias + alpha/size * sum of squares over size neighbouring channels)^beta (Krizhevsky et
// al. 2012).
func makeLRN[T amd64.Float](c *Call) (Run, error) {
	if err := c.rankAtLeast(0, 2); err != nil {
		return nil, err
	}
	size := int(c.Node.Int("size", 0))
	if size < 1 {
		return nil, c.Errorf(graph.ErrInvalid, "size is %d, want 1 or more", size)
	}
	alpha, beta, bias := float64(c.Node.Float("alpha", 1e-4)), float64(c.Node.Float("beta", 0.75)), float64(c.Node.Float("bias", 1))
	before, after := (size-1)/2, size/2
	return lines(c, 1, 8, func(y, x []T, start, n, step int) {
		for i := range n {
			sum := 0.0
			for k := max(0, i-before); k <= min(n-1, i+after); k++ {
				v := float64(x[start+k*step])
				sum += v * v
			}
			y[start+i*step] = T(float64(x[start+i*step]) * math.Pow(bias+alpha/float64(size)*sum, -beta))
		}
	}), nil
}

// makeMeanVariance is ONNX MeanVarianceNormalization: (x - mean) / (deviation + 1e-9) over axes.
func makeMeanVariance[T amd64.Float](c *Call) (Run, error) {
	shape := c.In[0].Shape
	list := []int64{0, 2, 3}
	if a, ok := c.Node.Attr("axes"); ok {
		list = a.Ints
	}
	axes, err := c.wrapAxes(list, len(shape))
	if err != nil {
		return nil, err
	}
	groups, members := []int{0}, []int{0} // offsets
	for i, step := range strides(shape) {
		to := &groups
		for _, a := range axes {
			if a == i {
				to = &members
			}
		}
		var next []int
		for _, at := range *to {
			for k := range shape[i] {
				next = append(next, at+k*step)
			}
		}
		*to = next
	}
	var x, y []T
	body := func(lo, hi int) {
		for _, at := range groups[lo:hi] {
			sum, squares := 0.0, 0.0
			for _, m := range members {
				sum += float64(x[at+m])
			}
			mean := sum / float64(len(members))
			for _, m := range members {
				d := float64(x[at+m]) - mean
				squares += d * d
			}
			scale := 1 / (math.Sqrt(squares/float64(len(members))) + 1e-9)
			for _, m := range members {
				y[at+m] = T((float64(x[at+m]) - mean) * scale)
			}
		}
	}
	return func(in, out []*Tensor) error {
		x, y = Data[T](in[0]), Data[T](out[0])
		c.Pool.For(len(groups), grainFor(3*len(members)), body)
		x, y = nil, nil
		return nil
	}, nil
}

// makeGlobalLpPool is ONNX GlobalLpPool: the p-norm of each channel.
func makeGlobalLpPool[T amd64.Float](c *Call) (Run, error) {
	p := c.Node.Int("p", 2)
	if p < 1 {
		return nil, c.Errorf(graph.ErrInvalid, "p is %d, want 1 or more", p)
	}
	return makeGlobalPool(func(x []T) T {
		sum := 0.0
		for _, v := range x {
			sum += math.Pow(math.Abs(float64(v)), float64(p))
		}
		return T(math.Pow(sum, 1/float64(p)))
	})(c)
}
