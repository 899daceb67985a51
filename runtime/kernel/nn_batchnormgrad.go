package kernel

import (
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// batchNormGrad is asdl.BatchNormGrad(X[N, C, S...], G[N, C, S...], scale[C], count[]) -> (GX[N, C, S...], along[1, C, 1...],
// sum[1, C, 1...]): the gradients of BatchNormalization by the statistics of the batch in its input, scale and bias, for the
// gradient G of its result. With the mean and variance of a channel over N and S, inv = 1/sqrt(var + epsilon) and a = scale inv,
//
//	sum = sum(G)   along = inv sum(G (X - mean))
//	GX = a G - a/count (inv along (X - mean) + sum)
//
// in which count is N S. A channel is taken through the cache once.
type batchNormGrad[T amd64.Float] struct {
	batchNorm[T]
	g, dx, along, sum []T
	count             float64
}

func makeBatchNormGrad[T amd64.Float](c *Call) (Run, error) {
	if err := c.needs(4); err != nil {
		return nil, err
	}
	if err := c.rankAtLeast(0, 2); err != nil {
		return nil, err
	}
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	x := c.In[0].Shape
	b := &batchNormGrad[T]{batchNorm: batchNorm[T]{
		n: x[0], c: x[1], s: Count(x[2:]), epsilon: float64(c.Node.Float("epsilon", 1e-5)), moments: momentLoopsOf[T](c.Pool),
	}}
	if c.In[1].Len() != c.In[0].Len() || c.In[3].Len() != 1 {
		return nil, c.Errorf(graph.ErrInvalid, "input of shape %v, gradient of shape %v, count of shape %v", x, c.In[1].Shape, c.In[3].Shape)
	}
	if err := c.vector(b.c, 2); err != nil {
		return nil, err
	}
	pool, grain, body := c.Pool, grainFor(6*b.n*b.s), b.channels
	return func(in, out []*Tensor) error {
		b.x, b.g, b.scale, b.count = Data[T](in[0]), Data[T](in[1]), Data[T](in[2]), float64(Data[T](in[3])[0])
		b.dx, b.along, b.sum = optional[T](out, 0), optional[T](out, 1), optional[T](out, 2)
		pool.For(b.c, grain, body)
		return nil
	}, nil
}

func (b *batchNormGrad[T]) channels(lo, hi int) {
	for c := lo; c < hi; c++ {
		mean, variance := b.statistics(c)
		inv := 1 / math.Sqrt(variance+b.epsilon)
		sum, along := 0.0, 0.0
		for n := range b.n {
			g := b.plane(b.g, n, c)
			sum += b.moments.sum(g)
			along += b.moments.along(g, b.plane(b.x, n, c), mean)
		}
		along *= inv
		if b.along != nil {
			b.along[c] = T(along)
		}
		if b.sum != nil {
			b.sum[c] = T(sum)
		}
		if b.dx == nil {
			continue
		}
		a := float64(b.scale[c]) * inv
		for n := range b.n {
			b.moments.centerGrad(b.plane(b.dx, n, c), b.plane(b.g, n, c), b.plane(b.x, n, c),
				T(mean), T(a), T(a/b.count*inv*along), T(a/b.count*sum))
		}
	}
}
