package kernel

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/runtime/kernel/amd64"
)

// noiseTable has the counter-based generator of step graphs (asdl.Uniform, asdl.Normal), whose numbers are the same in every
// runtime.
var noiseTable = []Row{
	{Domain: graph.Asdl, Op: "Uniform", Elems: floats, Decide: -1, Note: "portable", Make: byOutput(makeUniformNoise[float32], makeUniformNoise[float64])},
	{Domain: graph.Asdl, Op: "Normal", Elems: floats, Decide: -1, Note: "portable", Make: byOutput(makeNormalNoise[float32], makeNormalNoise[float64])},
}

// noise is one draw of a run.
type noise[T amd64.Float] struct {
	y             []T
	first, second amd64.NoiseKeys
}

// makeUniformNoise is asdl.Uniform(shape, seed[], step[]) with the attribute draw.
func makeUniformNoise[T amd64.Float](c *Call) (Run, error) {
	k, n := c.Pool.Kernels(), &noise[T]{}
	return n.prepare(c, "draw", "draw", grainFor(4), func(lo, hi int) { amd64.DrawUniform(k, n.y[lo:hi], lo, &n.first) })
}

// makeNormalNoise is asdl.Normal(shape, seed[], step[]) of the two uniform draws that the attributes first and second name.
func makeNormalNoise[T amd64.Float](c *Call) (Run, error) {
	k, n := c.Pool.Kernels(), &noise[T]{}
	return n.prepare(c, "first", "second", grainFor(8), func(lo, hi int) { amd64.DrawNormal(k, n.y[lo:hi], lo, &n.first, &n.second) })
}

// prepare makes the run that sets n and calls body.
func (n *noise[T]) prepare(c *Call, first, second string, grain int, body func(lo, hi int)) (Run, error) {
	if err := c.needs(3); err != nil {
		return nil, err
	}
	if len(c.In[1].Shape) != 0 || len(c.In[2].Shape) != 0 {
		return nil, c.Node.Errorf(graph.ErrInvalid, "seed and step have shapes %v and %v, want scalars", c.In[1].Shape, c.In[2].Shape)
	}
	one, other, pool := c.Node.Int(first, 0), c.Node.Int(second, 0), c.Pool
	return func(in, out []*Tensor) error {
		seed, step := Data[int64](in[1])[0], Data[int64](in[2])[0]
		n.first, n.second = amd64.NewNoiseKeys(seed, step, one), amd64.NewNoiseKeys(seed, step, other)
		n.y = Data[T](out[0])
		if count := uint64(len(n.y)); count > 1<<32 {
			return fmt.Errorf("%d random numbers of one draw, want at most 2^32", count)
		}
		pool.For(len(n.y), grain, body)
		n.y = nil
		return nil
	}, nil
}
