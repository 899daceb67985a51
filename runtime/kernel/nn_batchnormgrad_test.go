package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// TestBatchNormGrad compares with the formulas in float64, for sizes that are no multiples of a vector's, a batch of one, and in
// the memory of the gradient.
func TestBatchNormGrad(t *testing.T) {
	forPools(t, func(t *testing.T, p *Pool) {
		testBatchNormGrad[float32](t, p)
		testBatchNormGrad[float64](t, p)
	})
}

func testBatchNormGrad[T amd64.Float](t *testing.T, p *Pool) {
	rng := rand.New(rand.NewPCG(61, 62))
	for _, shape := range [][]int{{4, 3}, {1, 2, 7}, {3, 5, 4, 4}, {2, 3, 33, 37}, {5, 1, 1, 1}} {
		n, c, s := shape[0], shape[1], Count(shape[2:])
		x, g, scale := randomTensor[T](rng, shape...), randomTensor[T](rng, shape...), randomTensor[T](rng, c)
		count := Of([]T{T(n * s)})
		channel := []int{1, c}
		for range len(shape) - 2 {
			channel = append(channel, 1)
		}
		o := opCase{
			domain: graph.Asdl, op: "BatchNormGrad", in: []*Tensor{x, g, scale, count}, pool: p, attrs: []graph.Attr{graph.F("epsilon", 0.5)},
			out: []Spec{outLike[T](shape...), outLike[T](channel...), outLike[T](channel...)},
		}
		want, along, sum := make([]float64, x.Len()), make([]float64, c), make([]float64, c)
		for ch := range c {
			mean, variance, size := 0.0, 0.0, float64(n*s)
			each := func(f func(i int, x, g float64)) {
				for i := range x.Len() {
					if i/s%c == ch {
						f(i, float64(Data[T](x)[i]), float64(Data[T](g)[i]))
					}
				}
			}
			each(func(_ int, x, g float64) { mean, sum[ch] = mean+x/size, sum[ch]+g })
			each(func(_ int, x, g float64) {
				variance, along[ch] = variance+(x-mean)*(x-mean)/size, along[ch]+g*(x-mean)
			})
			inv := 1 / math.Sqrt(variance+0.5)
			along[ch] *= inv
			a := float64(Data[T](scale)[ch]) * inv
			each(func(i int, x, g float64) { want[i] = a*g - a/size*(inv*along[ch]*(x-mean)+sum[ch]) })
		}
		out := o.run(t)
		tolerance := 8 * math.Sqrt(float64(n*s)) * epsilon[T]()
		wantClose[T](t, "gx", out[0], want, tolerance)
		wantClose[T](t, "along", out[1], along, tolerance)
		wantClose[T](t, "sum", out[2], sum, tolerance)
		if got := o.allocs(t); got != 0 {
			t.Errorf("%v allocations in a run", got)
		}
		run, fresh, err := o.prepare(t)
		if err != nil {
			t.Fatal(err)
		}
		if err := run(o.in, []*Tensor{g, fresh[1], fresh[2]}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(Data[T](g), Data[T](out[0])) {
			t.Errorf("shape %v: other results in place", shape)
		}
	}
}
