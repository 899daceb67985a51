package kernel

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// makeAffineGrid is ONNX AffineGrid: theta [N, r, r+1] maps the points of a regular grid over -1..1, the last axis
// first; the result is [N, out..., r].
func makeAffineGrid[T amd64.Float](c *Call) (Run, error) {
	theta, shape := c.In[0].Shape, c.Out[0].Shape
	r := len(shape) - 2
	if r < 2 || r > 3 || len(theta) != 3 || theta[0] != shape[0] || theta[1] != r || theta[2] != r+1 {
		return nil, c.Errorf(graph.ErrInvalid, "theta of shape %v does not fit a grid of shape %v", theta, shape)
	}
	align := c.Node.Int("align_corners", 0) != 0
	var coords [][]float64
	for _, n := range shape[1 : 1+r] {
		at := make([]float64, n)
		for i := range at {
			switch {
			case !align:
				at[i] = float64(2*i+1)/float64(n) - 1
			case n > 1:
				at[i] = 2*float64(i)/float64(n-1) - 1
			}
		}
		coords = append(coords, at)
	}
	points := Count(shape[1 : 1+r])
	var m, y []T
	body := func(lo, hi int) {
		for p := lo; p < hi; p++ {
			var x [3]float64
			rest := p % max(points, 1)
			for i := r - 1; i >= 0; i-- {
				x[r-1-i] = coords[i][rest%len(coords[i])]
				rest /= len(coords[i])
			}
			for k := range r {
				row := m[(p/points*r+k)*(r+1):]
				sum := float64(row[r])
				for j := range r {
					sum += float64(row[j]) * x[j]
				}
				y[p*r+k] = T(sum)
			}
		}
	}
	return func(in, out []*Tensor) error {
		m, y = Data[T](in[0]), Data[T](out[0])
		c.Pool.For(theta[0]*points, grainFor(4*r), body)
		m, y = nil, nil
		return nil
	}, nil
}
