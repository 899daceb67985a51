package autodiff

import (
	"github.com/asdlc/asdlc/graph"
)

// lpNorm is x divided by its 1- or 2-norm along an axis; a line of zeros stays.
func lpNorm(c *Call) []*graph.Value {
	x, norm := c.In(0), "ReduceL2"
	if c.N.Int("p", 2) == 1 {
		norm = "ReduceL1"
	}
	n := c.Reduce(norm, x, true, c.N.Int("axis", -1))
	zero := c.Compare("Equal", n, c.FloatLike(n, 0))
	return []*graph.Value{c.Div(x, c.Where(zero, c.FloatLike(n, 1), n))}
}

// meanVariance is (x - mean) / (deviation + 1e-9). The deviation is a 2-norm, whose derivative at zero is zero.
func meanVariance(c *Call) []*graph.Value {
	x, axes := c.In(0), []int64{0, 2, 3}
	if a, ok := c.N.Attr("axes"); ok {
		axes = a.Ints
	}
	if !x.Type.Ranked {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	}
	at := make([]int, len(axes))
	for i, a := range axes {
		at[i] = int(axis(a, x.Type.Rank()))
	}
	centred := c.Sub(x, c.mean(x, axes))
	deviation := c.Div(c.Reduce("ReduceL2", centred, true, axes...), c.Sqrt(c.CountOf(x, x.Type.Elem, at...)))
	return []*graph.Value{c.Div(centred, c.shifted(deviation, 1e-9))}
}

// lrn is x / (bias + alpha/size * sum of squares over size neighbouring channels)^beta (Krizhevsky et al. 2012).
func lrn(c *Call) []*graph.Value {
	x, size := c.In(0), c.N.Int("size", 1)
	rank := x.Type.Rank()
	if rank < 2 {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	}
	// The channels become an image of [C, positions], over which AveragePool slides.
	image := c.ReshapeTo(c.Square(x), c.shape(num(0), num(1), c.dimPiece(x, 1), num(-1)))
	mean := c.Op("AveragePool", []*graph.Value{image}, graph.Is("kernel_shape", size, 1),
		graph.Is("pads", (size-1)/2, 0, size/2, 0), graph.I("count_include_pad", 1))
	base := c.shifted(c.Scale(c.reshapeLike(mean, x), c.attr("alpha", 1e-4)), c.attr("bias", 1))
	return []*graph.Value{c.Mul(x, c.Op("Pow", []*graph.Value{base, c.FloatLike(base, -c.attr("beta", 0.75))}))}
}
