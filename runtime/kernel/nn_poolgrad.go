package kernel

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// makeMaxPoolGrad is asdl.MaxPoolGrad: the elements of G added up at the indices[N, C, ...] that a MaxPool gave, which for each
// plane lie in that plane of the result. G has as many elements, in any shape.
func makeMaxPoolGrad[T amd64.Float](c *Call) (Run, error) {
	if err := c.needs(3); err != nil {
		return nil, err
	}
	if err := c.rankAtLeast(1, 3); err != nil {
		return nil, err
	}
	shape := c.In[1].Shape
	planes, places, total := shape[0]*shape[1], Count(shape[2:]), c.Out[0].Len()
	if c.In[1].Len() != c.In[0].Len() || planes > 0 && total%planes != 0 || planes == 0 && total > 0 {
		return nil, c.Errorf(graph.ErrInvalid, "gradient of shape %v, indices of shape %v and an input of %d elements do not fit", c.In[0].Shape, shape, total)
	}
	if planes == 0 {
		return func(_, _ []*Tensor) error { return nil }, nil
	}
	var g, x []T
	var index []int64
	size := total / planes
	body := func(lo, hi int) {
		for p := lo; p < hi; p++ {
			addAt(x[p*size:(p+1)*size], g[p*places:(p+1)*places], index[p*places:(p+1)*places], int64(p*size))
		}
	}
	return func(in, out []*Tensor) error {
		g, index, x = Data[T](in[0]), Data[int64](in[1]), Data[T](out[0])
		c.Pool.For(planes, grainFor(size+4*places), body)
		g, index, x = nil, nil, nil
		return nil
	}, nil
}

// addAt makes x the sum of the elements of g at their indices, which count from base.
func addAt[T amd64.Float](x, g []T, index []int64, base int64) {
	clear(x)
	index = index[:len(g)]
	for i, v := range g {
		x[index[i]-base] += v
	}
}
