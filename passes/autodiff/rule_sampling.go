package autodiff

import (
	"github.com/asdlc/asdlc/graph"
)

// samplingRules are the rows of images that are sampled at computed points.
func samplingRules() []Rule {
	return []Rule{
		{Op: "AffineGrid", Kind: Linear, Diff: only0, VJP: vjpAffineGrid},
		{Op: "GridSample", Kind: Smooth, Diff: first2, VJP: pullOf(gridSample), JVP: pushOf(gridSample)},
	}
}

// vjpAffineGrid is g^T times the points of the regular grid, which the operator makes of the identity.
func vjpAffineGrid(c *Call) []*graph.Value {
	theta, g := c.In(0), c.d(0)
	axes := int64(g.Type.Rank() - 2)
	if axes < 2 {
		return c.unsupported("the rank of the grid is not known; make its size a constant")
	}
	like := c.Full(c.Ints(axes, axes+1), theta.Type.Elem, 0)
	identity := c.Unsqueeze(c.Op("EyeLike", []*graph.Value{like}), 0)
	rest := c.Slice(c.In(1), []int64{1}, []int64{axes + 2}, []int64{0})
	points := c.Reshape(c.apply(identity, c.Concat(0, c.Ints(1), rest))[0], -1, axes)
	points = c.Op("Pad", []*graph.Value{points, c.Ints(0, 0, 0, 1), c.FloatLike(points, 1)})
	flat := c.ReshapeTo(g, c.shape(c.dimPiece(g, 0), num(-1), num(axes)))
	return []*graph.Value{c.MatMul(c.Transpose(flat, 0, 2, 1), points)}
}

// gridAxis is how the points fall on one axis of the image: the positions and weights of the elements of which the
// value is made, [N, P, taps]. What lies outside has weight 0.
type gridAxis struct {
	at, weight *graph.Value
	size       *graph.Value // elements of the axis, int64
}

// gridSample is the sum over the elements around each point (Jaderberg et al. 2015, arXiv:1506.02025), times their weights
// along each axis: 1 for the nearest, else linear or cubic in the distance.
func gridSample(c *Call) []*graph.Value {
	x, grid := c.In(0), c.In(1)
	axes := x.Type.Rank() - 2
	if axes < 1 || grid.Type.Rank() != axes+2 {
		return c.unsupported("the rank of %s or %s is not known; fix the input shapes of the model", x, grid)
	}
	points := c.ReshapeTo(grid, c.shape(num(0), num(-1), num(int64(axes)))) // [N, P, axes]
	var at, weight *graph.Value
	for i := range axes {
		a := c.gridAxis(c.Gather(points, c.Ints(int64(axes-1-i)), 2), c.Squeeze(c.DimOf(x, i+2), 0))
		if i == 0 {
			at, weight = a.at, a.weight
			continue
		}
		// All pairs of taps: [N, P, taps so far, taps].
		at = c.Reshape(c.Add(c.Unsqueeze(c.Mul(at, a.size), 3), c.Unsqueeze(a.at, 2)), 0, 0, -1)
		weight = c.Reshape(c.Mul(c.Unsqueeze(weight, 3), c.Unsqueeze(a.weight, 2)), 0, 0, -1)
	}
	flat := c.Transpose(c.ReshapeTo(x, c.shape(num(0), c.dimPiece(x, 1), num(-1))), 0, 2, 1)
	values := c.Op("GatherND", []*graph.Value{flat, c.Unsqueeze(at, 3)}, graph.I("batch_dims", 1)) // [N, P, taps, C]
	y := c.Squeeze(c.MatMul(c.Unsqueeze(weight, 2), values), 2)
	return []*graph.Value{c.ReshapeTo(c.Transpose(y, 0, 2, 1), c.ShapeOf(c.Out(0)))}
}

// gridAxis computes the taps for coordinates g, [N, P, 1], which run from -1 to 1 over the axis.
func (c *Call) gridAxis(g, size *graph.Value) gridAxis {
	n, one := c.Cast(size, g.Type.Elem), c.FloatLike(g, 1)
	last := c.Sub(n, one)
	low, high := c.FloatLike(g, -0.5), c.shifted(n, -0.5)
	x := c.Scale(c.Sub(c.Mul(c.Add(g, one), n), one), 0.5)
	if c.N.Int("align_corners", 0) != 0 {
		low, high = c.FloatLike(g, 0), last
		x = c.Mul(c.Scale(c.Add(g, one), 0.5), last)
	}
	mode := c.N.Str("mode", "linear")
	if mode == "nearest" {
		x = c.Unary("Round", x)
	}
	x = c.foldOutside(x, low, high, last)
	first, taps := c.Unary("Floor", x), int64(2)
	switch mode {
	case "nearest":
		first, taps = c.Unary("Round", x), 1
	case "cubic", "bicubic":
		first, taps = c.shifted(first, -1), 4
	}
	offsets, sides := make([]float64, taps), make([]float64, taps) // a side is 1 for elements up to the point, -1 behind it
	for k := range offsets {
		offsets[k], sides[k] = float64(k), 1
		if k >= len(offsets)/2 {
			sides[k] = -1
		}
	}
	numbers := func(name string, v []float64) *graph.Value {
		return c.Cast(c.Const(name, graph.TensorOf(v, taps)), g.Type.Elem)
	}
	at := c.Add(first, numbers("offsets", offsets))
	weight := c.tapWeights(mode, c.Mul(c.Sub(x, at), numbers("sides", sides)))
	bounded := c.Op("Clip", []*graph.Value{at, c.FloatLike(g, 0), last})
	switch c.N.Str("padding_mode", "zeros") {
	case "zeros":
		weight = c.selectIf(c.Compare("Equal", at, bounded), weight)
	case "reflection":
		bounded = c.Op("Clip", []*graph.Value{c.Unary("Floor", c.reflect(at, low, high)), c.FloatLike(g, 0), last})
		inside := c.Compare("Equal", at, c.Op("Clip", []*graph.Value{at, c.FloatLike(g, 0), last}))
		bounded = c.Where(inside, at, bounded)
	}
	return gridAxis{at: c.Cast(bounded, graph.Int64), weight: weight, size: size}
}

// foldOutside moves points outside of low..high according to the padding mode. Those that show zeros are kept near.
func (c *Call) foldOutside(x, low, high, last *graph.Value) *graph.Value {
	var moved *graph.Value
	switch c.N.Str("padding_mode", "zeros") {
	case "border":
		moved = c.Op("Clip", []*graph.Value{x, c.FloatLike(x, 0), last})
	case "reflection":
		moved = c.reflect(x, low, high)
	default:
		moved = c.Op("Clip", []*graph.Value{x, c.FloatLike(x, -4), c.shifted(last, 5)})
	}
	outside := c.Op("Or", []*graph.Value{c.Compare("Less", x, low), c.Compare("Greater", x, high)})
	return c.Where(outside, moved, x)
}

// reflect folds x into low..high at its ends.
func (c *Call) reflect(x, low, high *graph.Value) *graph.Value {
	wide := c.Sub(high, low)
	empty := c.Compare("LessOrEqual", wide, c.FloatLike(x, 0))
	period := c.Where(empty, c.FloatLike(x, 2), c.Scale(wide, 2))
	r := c.Op("Mod", []*graph.Value{c.Unary("Abs", c.Sub(x, low)), period}, graph.I("fmod", 1))
	r = c.Where(c.Compare("Greater", r, wide), c.Sub(period, r), r)
	return c.Add(low, c.Where(empty, c.FloatLike(x, 0), r))
}

// tapWeights is the weight of an element at distance d: 1 for the nearest, linear, or the cubic convolution kernel with
// parameter -3/4 (Keys 1981).
func (c *Call) tapWeights(mode string, d *graph.Value) *graph.Value {
	one := c.FloatLike(d, 1)
	switch mode {
	case "nearest":
		return c.OnesLike(d)
	case "cubic", "bicubic":
		const a = -0.75
		near := c.Add(c.Mul(c.Mul(c.shifted(c.Scale(d, a+2), -(a+3)), d), d), one)
		far := c.shifted(c.Mul(c.shifted(c.Mul(c.shifted(c.Scale(d, a), -5*a), d), 8*a), d), -4*a)
		weight := c.Where(c.Compare("LessOrEqual", d, one), near, far)
		return c.selectIf(c.Compare("Less", d, c.FloatLike(d, 2)), weight)
	}
	return c.Sub(one, d) // a floor and the next are at most 1 away
}
