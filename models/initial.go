package models

import (
	"hash/fnv"
	"math"
	"math/rand/v2"

	"github.com/asdlc/asdlc/graph"
)

// distribution makes a stream of independent draws from a source.
type distribution func(*rand.Rand) func() float32

// constant is one number, always.
func constant(v float32) distribution {
	return func(*rand.Rand) func() float32 { return func() float32 { return v } }
}

// uniform draws from U(-bound, bound).
func uniform(bound float64) distribution {
	return func(r *rand.Rand) func() float32 {
		return func() float32 {
			// 24 bits a number: float32 holds each of them exactly.
			u := float64(r.Uint64()>>40) / (1 << 24)
			return float32((2*u - 1) * bound)
		}
	}
}

// normal draws from N(0, std²). (What PyTorch's trunc_normal_ cuts off by default, beyond 2, is 100 of the standard
// deviations that networks use.)
func normal(std float64) distribution {
	return func(r *rand.Rand) func() float32 {
		return func() float32 { return float32(std * r.NormFloat64()) }
	}
}

// lecun draws from a normal distribution cut off at two of its standard deviations, scaled so that what is left has the
// variance 1/fanIn: the default of Flax, of which MLP-Mixer's reference makes use.
func lecun(fanIn int) distribution {
	const left = 0.87962566103423978 // standard deviation of the standard normal distribution cut off at 2
	std := 1 / (math.Sqrt(float64(fanIn)) * left)
	return func(r *rand.Rand) func() float32 {
		return func() float32 {
			for {
				if x := r.NormFloat64(); math.Abs(x) <= 2 {
					return float32(std * x)
				}
			}
		}
	}
}

// first makes the first n draws of a distribution zero.
func first(n int, d distribution) distribution {
	return func(r *rand.Rand) func() float32 {
		next, i := d(r), 0
		return func() float32 {
			if i++; i <= n {
				next()
				return 0
			}
			return next()
		}
	}
}

// layer is what the initial values of a layer may depend on.
type layer struct {
	path          string
	op            string // Linear, Conv, Embedding
	fanIn, fanOut int    // numbers that a result is made of, and results that a number goes into
}

// scheme gives the distributions of a layer's weight and bias.
type scheme func(layer) (weight, bias distribution)

// standard is what torch.nn.Linear, Conv2d and Embedding do by themselves: weights and biases U(-1/sqrt(fanIn),
// 1/sqrt(fanIn)) (kaiming_uniform with a = sqrt 5: He et al. 2015, arXiv:1502.01852, eq. 10, bound
// sqrt(6/((1+a²) fanIn))), embeddings N(0, 1).
func standard(l layer) (weight, bias distribution) {
	if l.op == "Embedding" {
		return normal(1), nil
	}
	bound := 1 / math.Sqrt(float64(l.fanIn))
	return uniform(bound), uniform(bound)
}

// he is what torchvision's ResNet does: convolutions N(0, 2/fanOut) (He et al. 2015, arXiv:1502.01852, section 2.2,
// backward case), linear layers as standard.
func he(l layer) (weight, bias distribution) {
	if l.op == "Conv" {
		return normal(math.Sqrt(2 / float64(l.fanOut))), constant(0)
	}
	return standard(l)
}

// draw makes a parameter. Its values depend on the seed and its name alone, not on what else the network has.
func draw(seed uint64, name string, d distribution, shape []int64) *graph.Tensor {
	h := fnv.New64a()
	h.Write([]byte(name))
	t, err := graph.NewTensor(graph.Float32, shape...)
	if err != nil {
		panic("BUG: " + err.Error()) // Build has counted the parameters
	}
	next := d(rand.New(rand.NewPCG(seed, h.Sum64())))
	data := graph.Data[float32](t)
	for i := range data {
		data[i] = next()
	}
	return t
}
