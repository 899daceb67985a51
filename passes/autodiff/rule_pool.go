package autodiff

import (
	"github.com/asdlc/asdlc/graph"
)

// maxIndices is, for each output of a MaxPool, the position of its maximum in the flattened input.
func (c *Call) maxIndices() *graph.Value {
	if c.N.Int("storage_order", 0) == 0 {
		return c.extraOutput(1, "indices", c.Out(0).Type.WithElem(graph.Int64))
	}
	return c.Node("", "MaxPool", []*graph.Value{c.In(0)}, 2, c.attrsBut("storage_order")...).Out(1)
}

// vjpMaxPool adds g at the positions of the maxima.
func vjpMaxPool(c *Call) []*graph.Value {
	x, g := c.In(0), c.d(0)
	if g == nil {
		return nil
	}
	indices := c.Reshape(c.maxIndices(), -1)
	zeros := c.Full(c.countShape(x), x.Type.Elem, 0)
	return []*graph.Value{c.ReshapeTo(c.scatterElements(zeros, indices, c.Reshape(g, -1), 0), c.ShapeOf(x))}
}

// countShape is the shape [number of elements of x].
func (c *Call) countShape(x *graph.Value) *graph.Value {
	if s, ok := x.Type.Static(); ok {
		n := int64(1)
		for _, d := range s {
			n *= d
		}
		return c.Ints(n)
	}
	return c.Unsqueeze(c.Op("Size", []*graph.Value{x}), 0)
}

func jvpMaxPool(c *Call) []*graph.Value {
	return []*graph.Value{c.Gather(c.Reshape(c.d(0), -1), c.maxIndices(), 0)}
}

func globalMaxPool(c *Call) []*graph.Value {
	return []*graph.Value{c.Reduce("ReduceMax", c.In(0), true, spatialAxes(c.In(0).Type.Rank())...)}
}

func vjpGlobalAveragePool(c *Call) []*graph.Value {
	x := c.In(0)
	if x.Type.Rank() < 3 {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	}
	count := c.CountOf(x, x.Type.Elem, ints(spatialAxes(x.Type.Rank()))...)
	return []*graph.Value{c.ExpandLike(c.Div(c.d(0), count), x)}
}

// vjpAveragePool spreads g/count over the windows: a transposed convolution with a kernel of ones, each channel by
// itself.
func vjpAveragePool(c *Call) []*graph.Value {
	x, g := c.In(0), c.d(0)
	kernel := c.N.IntList("kernel_shape")
	if x.Type.Rank() != len(kernel)+2 {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	}
	if c.padsAtRun(x, len(kernel)) {
		return pullOf(func(c *Call) []*graph.Value { return c.padFirst(kernel) })(c)
	}
	geo := c.geometry(x, c.Out(0), kernel)
	if geo == nil {
		return nil
	}
	if dx := c.tiles(x, g, geo); dx != nil {
		return []*graph.Value{dx}
	}
	ones := c.Full(c.Ints(append([]int64{1, 1}, kernel...)...), x.Type.Elem, 1)
	each := c.ReshapeTo(c.Div(g, c.windowCounts(geo, ones)), c.planeShape(c.Out(0), num(-1)))
	return []*graph.Value{c.ReshapeTo(c.spread(each, ones, x, geo), c.ShapeOf(x))}
}

// planeShape is the shape [planes, 1, d1, d2, ...] of v, [N, C, d1, d2, ...], with each channel an image of its own.
func (c *Call) planeShape(v *graph.Value, planes piece) *graph.Value {
	shape := []piece{planes, num(1)}
	for i := 2; i < v.Type.Rank(); i++ {
		shape = append(shape, c.dimPiece(v, i))
	}
	return c.shape(shape...)
}

// windowCounts is the number of elements that an AveragePool divides each window by, [1, 1, ...]: those in the image, with
// count_include_pad those in the padded image.
func (c *Call) windowCounts(geo *geometry, ones *graph.Value) *graph.Value {
	x, inner := c.In(0), *geo
	padded := c.N.Int("count_include_pad", 0) != 0
	shape := []piece{num(1), num(1)}
	for i := range geo.kernel {
		d := c.dimPiece(x, i+2)
		if by := geo.begin[i] + geo.end[i]; padded && by != 0 {
			if d.v == nil {
				d.n += by
			} else {
				d.v = c.Add(d.v, c.Ints(by))
			}
		}
		shape = append(shape, d)
	}
	if padded {
		inner.begin, inner.end = make([]int64, geo.rank()), make([]int64, geo.rank())
	}
	return c.windowSums(&inner, c.Full(c.shape(shape...), x.Type.Elem, 1), ones)
}

// windowSums adds up each window over the planes [P, 1, ...], with zeros as padding.
func (c *Call) windowSums(geo *geometry, planes, ones *graph.Value) *graph.Value {
	wide := *geo
	wide.group, wide.end = 1, append([]int64{}, geo.end...)
	if c.N.Int("ceil_mode", 0) != 0 {
		for i := range wide.end {
			wide.end[i] += geo.strides[i] - 1
		}
	}
	return c.cutSpatial(c.Op("Conv", []*graph.Value{planes, ones}, wide.attrs()...), c.Out(0))
}

// absPower is |x|^p.
func (c *Call) absPower(x *graph.Value) *graph.Value {
	switch p := c.N.Int("p", 2); p {
	case 1:
		return c.Unary("Abs", x)
	case 2:
		return c.Square(x)
	default:
		return c.Op("Pow", []*graph.Value{c.Unary("Abs", x), c.FloatLike(x, float64(p))})
	}
}

// pthRoot is s^(1/p) of a sum of powers; at zero its derivative is taken as zero.
func (c *Call) pthRoot(s *graph.Value) *graph.Value {
	p := c.N.Int("p", 2)
	if p == 1 {
		return s
	}
	zero := c.Compare("Equal", s, c.FloatLike(s, 0))
	root := c.Op("Pow", []*graph.Value{c.Where(zero, c.FloatLike(s, 1), s), c.FloatLike(s, 1/float64(p))})
	return c.selectUnless(zero, root)
}

func lpPool(c *Call) []*graph.Value {
	x := c.In(0)
	kernel := c.N.IntList("kernel_shape")
	if x.Type.Rank() != len(kernel)+2 {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	}
	if c.padsAtRun(x, len(kernel)) {
		return c.padFirst(kernel)
	}
	geo := c.geometry(x, c.Out(0), kernel)
	if geo == nil {
		return nil
	}
	ones := c.Full(c.Ints(append([]int64{1, 1}, kernel...)...), x.Type.Elem, 1)
	planes := c.ReshapeTo(c.absPower(x), c.planeShape(x, num(-1)))
	return []*graph.Value{c.ReshapeTo(c.pthRoot(c.windowSums(geo, planes, ones)), c.ShapeOf(c.Out(0)))}
}

func globalLpPool(c *Call) []*graph.Value {
	return []*graph.Value{c.pthRoot(c.SumKeep(c.absPower(c.In(0)), spatialAxes(c.In(0).Type.Rank())...))}
}

// vjpCol2Im takes the patches of g, by a convolution with all one-hot kernels.
func vjpCol2Im(c *Call) []*graph.Value {
	g := c.d(0)
	block, ok := constInts(c.In(2))
	if !ok || g.Type.Rank() != len(block)+2 {
		return c.unsupported("the block shape %s is not constant", c.In(2))
	}
	geo := c.geometry(g, c.In(0), block)
	taps := int64(1)
	for _, n := range block {
		taps *= n
	}
	square := c.Full(c.Ints(taps, taps), g.Type.Elem, 0)
	pick := c.Reshape(c.Op("EyeLike", []*graph.Value{square}), append([]int64{taps, 1}, block...)...)
	columns := c.Op("Conv", []*graph.Value{c.ReshapeTo(g, c.planeShape(g, num(-1))), pick}, geo.attrs()...)
	return []*graph.Value{c.ReshapeTo(columns, c.ShapeOf(c.In(0)))}
}

// tiles is the cotangent for windows that tile the image without gap, overlap or padding, else nil.
func (c *Call) tiles(x, g *graph.Value, geo *geometry) *graph.Value {
	apart, wide, whole := []int64{0, 0}, []int64{1, 1}, []int64{0, 0}
	area := int64(1)
	y := c.Out(0).Type // that of g, which is not always known
	if y.Rank() != x.Type.Rank() {
		return nil
	}
	for i, k := range geo.kernel {
		size, ok1 := x.Type.Dims[i+2].Size()
		out, ok2 := y.Dims[i+2].Size()
		if !ok1 || !ok2 || geo.strides[i] != k || geo.dilations[i] != 1 || geo.begin[i] != 0 || geo.end[i] != 0 || size != out*k {
			return nil
		}
		area *= k
		apart, wide, whole = append(apart, out, 1), append(wide, out, k), append(whole, size)
	}
	each := c.Reshape(c.Scale(g, 1/float64(area)), apart...)
	return c.Reshape(c.Expand(each, c.Ints(wide...)), whole...)
}
