package models

import (
	"hash/fnv"
	"math"
	"math/rand/v2"

	"github.com/asdlc/asdlc/graph"
)

// initial draws initial values. A parameter's values depend on the seed and its name alone, not on what else the network
// has.
type initial struct{ seed uint64 }

// uniform draws from U(-1/sqrt(fanIn), 1/sqrt(fanIn)): what torch.nn.Linear and torch.nn.Conv2d do for weights
// (kaiming_uniform with a = sqrt 5: He et al. 2015, arXiv:1502.01852, eq. 10, bound sqrt(6/((1+a²) fanIn))) and for
// biases.
func (s initial) uniform(name string, fanIn int, shape ...int) *graph.Tensor {
	h := fnv.New64a()
	h.Write([]byte(name))
	src := rand.NewPCG(s.seed, h.Sum64())
	bound := 1 / math.Sqrt(float64(fanIn))
	return filled(shape, func() float32 {
		// 24 bits a number: float32 holds each of them exactly.
		u := float64(src.Uint64()>>40) / (1 << 24)
		return float32((2*u - 1) * bound)
	})
}

// constant is a vector of equal numbers.
func constant(v float32, n int) *graph.Tensor {
	return filled([]int{n}, func() float32 { return v })
}

func filled(shape []int, next func() float32) *graph.Tensor {
	dims := make([]int64, len(shape))
	count := 1
	for i, d := range shape {
		dims[i] = int64(d)
		count *= d
	}
	data := make([]float32, count)
	for i := range data {
		data[i] = next()
	}
	return graph.TensorOf(data, dims...)
}
