package kernel

import (
	"math"

	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// batchNorm is ONNX BatchNormalization over X[N, C, S...].
//
//	inference  Y = (X - mean) * scale / sqrt(var + epsilon) + B
//	training   mean and var are those of the batch (var is the population variance, divided by N*S), and
//	           running = momentum*running + (1-momentum)*batch
//
// Opset 14 and later say training_mode; before, further outputs mean training, and two more give the batch's own
// mean and variance. Opset 7's spatial=0 keeps statistics per element: its channels are C*S.
type batchNorm[T amd64.Float] struct {
	n, c, s           int
	epsilon, momentum float64
	training          bool
	moments           *momentLoops[T]

	x, y, scale, bias       []T
	mean, variance          []T // inputs
	runMean, runVar         []T // outputs, training only
	batchMean, batchVar     []T // outputs, training before opset 14
	perChannel, perInstance func(lo, hi int)
}

func makeBatchNorm[T amd64.Float](c *Call) (Run, error) {
	if err := c.rankAtLeast(0, 1); err != nil {
		return nil, err
	}
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	b := &batchNorm[T]{
		epsilon:  float64(c.Node.Float("epsilon", 1e-5)),
		momentum: float64(c.Node.Float("momentum", 0.9)),
		moments:  momentLoopsOf[T](c.Pool),
		training: c.Node.Int("training_mode", 0) != 0,
	}
	if c.Opset < 14 {
		b.training = c.hasOut(1) || c.hasOut(2) || c.hasOut(3) || c.hasOut(4)
	}
	x := c.In[0].Shape
	b.n, b.c = x[0], 1
	if len(x) > 1 {
		b.c, b.s = x[1], Count(x[2:])
	} else {
		b.s = 1
	}
	if c.Opset < 9 && c.Node.Int("spatial", 1) == 0 {
		b.c, b.s = b.c*b.s, 1
	}
	if err := c.vector(b.c, 1, 2, 3, 4); err != nil {
		return nil, err
	}
	b.perChannel, b.perInstance = b.train, b.infer
	pool, trainGrain, inferGrain := c.Pool, grainFor(4*b.n*b.s), grainFor(b.c*b.s)
	return func(in, out []*Tensor) error {
		b.bind(in, out)
		if b.training {
			pool.For(b.c, trainGrain, b.perChannel)
		} else {
			pool.For(b.n, inferGrain, b.perInstance)
		}
		return nil
	}, nil
}

func (b *batchNorm[T]) bind(in, out []*Tensor) {
	b.x, b.scale, b.bias = Data[T](in[0]), Data[T](in[1]), Data[T](in[2])
	b.mean, b.variance = Data[T](in[3]), Data[T](in[4])
	b.y = Data[T](out[0])
	b.runMean, b.runVar = optional[T](out, 1), optional[T](out, 2)
	b.batchMean, b.batchVar = optional[T](out, 3), optional[T](out, 4)
}

func (b *batchNorm[T]) plane(x []T, n, c int) []T {
	at := (n*b.c + c) * b.s
	return x[at : at+b.s]
}

func (b *batchNorm[T]) infer(lo, hi int) {
	for n := lo; n < hi; n++ {
		for c := range b.c {
			inv := 1 / math.Sqrt(float64(b.variance[c])+b.epsilon)
			b.apply(n, c, float64(b.mean[c]), inv)
		}
	}
}

func (b *batchNorm[T]) apply(n, c int, mean, inv float64) {
	scale := float64(b.scale[c]) * inv
	b.moments.center(b.plane(b.y, n, c), b.plane(b.x, n, c), 0, T(scale), T(float64(b.bias[c])-mean*scale))
}

func (b *batchNorm[T]) train(lo, hi int) {
	for c := lo; c < hi; c++ {
		mean, variance := b.statistics(c)
		inv := 1 / math.Sqrt(variance+b.epsilon)
		for n := range b.n {
			b.center(n, c, mean, inv)
		}
		b.record(c, mean, variance)
	}
}

// statistics are the mean and the population variance of a channel of the batch.
func (b *batchNorm[T]) statistics(c int) (mean, variance float64) {
	count := float64(b.n * b.s)
	for n := range b.n {
		mean += b.moments.sum(b.plane(b.x, n, c))
	}
	mean /= count
	for n := range b.n {
		variance += b.moments.squares(b.plane(b.x, n, c), mean)
	}
	return mean, variance / count
}

// center is apply without the cancellation of a large mean.
func (b *batchNorm[T]) center(n, c int, mean, inv float64) {
	b.moments.center(b.plane(b.y, n, c), b.plane(b.x, n, c), T(mean), T(float64(b.scale[c])*inv), b.bias[c])
}

func (b *batchNorm[T]) record(c int, mean, variance float64) {
	keep := b.momentum
	if b.runMean != nil {
		b.runMean[c] = T(keep*float64(b.mean[c]) + (1-keep)*mean)
	}
	if b.runVar != nil {
		b.runVar[c] = T(keep*float64(b.variance[c]) + (1-keep)*variance)
	}
	if b.batchMean != nil {
		b.batchMean[c] = T(mean)
	}
	if b.batchVar != nil {
		b.batchVar[c] = T(variance)
	}
}
