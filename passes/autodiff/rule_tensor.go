package autodiff

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// tensorRules are the rows of operators that move elements: reshaping, joining, cutting, padding.
func tensorRules() []Rule {
	rows := []Rule{
		{Op: "Identity", Kind: Linear, Diff: only0, VJP: passOn, JVP: passOn},
		{Op: "Reshape", Kind: Linear, Diff: only0, VJP: vjpReshape},
		{Op: "Flatten", Kind: Linear, Diff: only0, VJP: vjpReshape},
		{Op: "Squeeze", Kind: Linear, Diff: only0, VJP: vjpReshape},
		{Op: "Unsqueeze", Kind: Linear, Diff: only0, VJP: vjpReshape},
		{Op: "Transpose", Kind: Linear, Diff: only0, VJP: vjpTranspose},
		{Op: "Concat", Kind: Linear, Diff: all, VJP: vjpConcat},
		{Op: "Split", Kind: Linear, Diff: only0, VJP: vjpSplit},
		{Op: "Slice", Kind: Linear, Diff: only0, VJP: vjpSlice},
		{Op: "Pad", Kind: Linear, Diff: only0 | 1<<2, VJP: vjpPad},
		{Op: "Expand", Kind: Linear, Diff: only0, VJP: vjpExpand},
		{Op: "Tile", Kind: Linear, Diff: only0, VJP: vjpTile},
		{Op: "DepthToSpace", Kind: Linear, Diff: only0, VJP: vjpDepthToSpace},
		{Op: "SpaceToDepth", Kind: Linear, Diff: only0, VJP: vjpSpaceToDepth},
		{Op: "Trilu", Kind: Linear, Diff: only0, VJP: vjpTrilu},
		{Op: "CumSum", Kind: Linear, Diff: only0, VJP: vjpCumSum},
		{Op: "CumProd", Kind: Smooth, Diff: only0, VJP: pullOf(cumProd), JVP: pushOf(cumProd)},
		{Op: "CenterCropPad", Kind: Linear, Diff: only0, VJP: vjpCenterCropPad},
		{Op: "ReverseSequence", Kind: Linear, Diff: only0, VJP: func(c *Call) []*graph.Value { return c.apply(c.d(0), c.In(1)) }},
	}
	rows = append(rows, gatherRules()...)
	return append(rows, zeroRows("", "Constant", "ConstantOfShape", "EyeLike", "NonZero", "Range", "Shape", "Size", "BitCast",
		"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial")...)
}

func passOn(c *Call) []*graph.Value { return c.D[:1] }

// reshapeLike gives g the shape of like; a constant shape if at most one dimension is open.
func (c *Call) reshapeLike(g, like *graph.Value) *graph.Value {
	if !like.Type.Ranked {
		return c.ReshapeTo(g, c.Shape(like))
	}
	shape, open := make([]int64, len(like.Type.Dims)), 0
	for i, d := range like.Type.Dims {
		n, ok := d.Size()
		if !ok {
			n = -1
			open++
		}
		if n == 0 {
			open = 2 // -1 beside 0 cannot be solved, and 0 means another dimension
		}
		shape[i] = n
	}
	if open > 1 {
		return c.reshapeZero(g, c.ShapeOf(like))
	}
	return c.Reshape(g, shape...)
}

func vjpReshape(c *Call) []*graph.Value {
	return []*graph.Value{c.reshapeLike(c.d(0), c.In(0))}
}

func vjpTranspose(c *Call) []*graph.Value {
	perm := c.N.IntList("perm")
	back := make([]int64, len(perm))
	for i, p := range perm {
		back[p] = int64(i)
	}
	return []*graph.Value{c.Transpose(c.d(0), back...)}
}

func vjpConcat(c *Call) []*graph.Value {
	in, g := c.N.Inputs(), c.d(0)
	if g.Type.Rank() < 1 {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", c.Out(0))
	}
	at := axis(c.N.Int("axis", 0), g.Type.Rank())
	ct := make([]*graph.Value, len(in))
	if len(in) == 1 {
		return []*graph.Value{g}
	}
	sizes := make([]piece, len(in))
	var start int64
	wanted, last := 0, 0
	static := true
	for i, x := range in {
		sizes[i] = c.dimPiece(x, int(at))
		static = static && sizes[i].v == nil
		if c.wants(i) {
			wanted, last = wanted+1, i
		}
	}
	if wanted == 1 && static {
		for _, s := range sizes[:last] {
			start += s.n
		}
		ct[last] = c.Slice(g, []int64{start}, []int64{start + sizes[last].n}, []int64{at})
		return ct
	}
	return c.Node("", "Split", []*graph.Value{g, c.shape(sizes...)}, len(in), graph.I("axis", at)).Outputs()
}

func vjpSplit(c *Call) []*graph.Value {
	parts := append([]*graph.Value{}, c.D...)
	for i, p := range parts {
		if p != nil {
			continue
		}
		if c.Out(i) == nil {
			return c.unsupported("output %d of %d is missing; give it a name", i, len(parts))
		}
		parts[i] = c.ZerosLike(c.Out(i))
	}
	return []*graph.Value{c.Concat(c.N.Int("axis", 0), parts...)}
}

func vjpExpand(c *Call) []*graph.Value {
	return []*graph.Value{c.unbroadcast(c.d(0), c.In(0))}
}

// vjpTile folds each dimension to [repeats, size] and sums over the first.
func vjpTile(c *Call) []*graph.Value {
	x := c.In(0)
	if !x.Type.Ranked {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	}
	repeats, known := constInts(c.In(1))
	var shape []piece
	var summed []int64
	for i := range x.Type.Dims {
		r := piece{}
		if known {
			r.n = repeats[i]
		} else {
			r.v = c.Slice(c.In(1), []int64{int64(i)}, []int64{int64(i) + 1}, []int64{0})
		}
		shape, summed = append(shape, r, c.dimPiece(x, i)), append(summed, int64(2*i))
	}
	if len(summed) == 0 {
		return []*graph.Value{c.d(0)}
	}
	return []*graph.Value{c.Sum(c.reshapeZero(c.d(0), c.shape(shape...)), summed...)}
}

func vjpDepthToSpace(c *Call) []*graph.Value {
	if c.N.Str("mode", "DCR") == "CRD" {
		return pullOf(depthToSpaceCRD)(c)
	}
	return []*graph.Value{c.Op("SpaceToDepth", []*graph.Value{c.d(0)}, graph.I("blocksize", c.N.Int("blocksize", 1)))}
}

// depthToSpaceCRD reads channels as [C/b^2, b, b] and interleaves the b with the image axes.
func depthToSpaceCRD(c *Call) []*graph.Value {
	x, b := c.In(0), c.N.Int("blocksize", 1)
	if x.Type.Rank() != 4 {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	}
	channels := piece{v: c.Div(c.DimOf(x, 1), c.Ints(b*b))}
	if n, ok := x.Type.Dims[1].Size(); ok {
		channels = num(n / (b * b))
	}
	split := c.ReshapeTo(x, c.shape(num(-1), channels, num(b), num(b), c.dimPiece(x, 2), c.dimPiece(x, 3)))
	return []*graph.Value{c.ReshapeTo(c.Transpose(split, 0, 1, 4, 2, 5, 3), c.ShapeOf(c.Out(0)))}
}

func vjpSpaceToDepth(c *Call) []*graph.Value {
	return []*graph.Value{c.Op("DepthToSpace", []*graph.Value{c.d(0)}, graph.I("blocksize", c.N.Int("blocksize", 1)))}
}

func vjpTrilu(c *Call) []*graph.Value { return c.apply(c.d(0), c.In(1)) }

// vjpCumSum sums from the other end.
func vjpCumSum(c *Call) []*graph.Value {
	reverse := graph.I("reverse", 1-c.N.Int("reverse", 0))
	return []*graph.Value{c.Op("CumSum", []*graph.Value{c.d(0), c.In(1)}, graph.I("exclusive", c.N.Int("exclusive", 0)), reverse)}
}

// cumProd multiplies step by step, so that zeros need no care.
func cumProd(c *Call) []*graph.Value {
	x := c.In(0)
	given, ok := constInts(c.In(1))
	if !ok || len(given) != 1 || !x.Type.Ranked {
		return c.unsupported("the axis %s is not constant, or the rank of %s is not known", c.In(1), x)
	}
	a := axis(given[0], x.Type.Rank())
	trips := c.Squeeze(c.DimOf(x, int(a)), 0)
	first := c.Full(c.shape(c.otherAxes(x, int(a), int(a)+1)...), x.Type.Elem, 1)
	reverse, exclusive := c.N.Int("reverse", 0) != 0, c.N.Int("exclusive", 0) != 0
	outs := c.emitLoop("products", trips, nil, []*graph.Value{first}, nil, func(b *op.Builder, i *graph.Value, now []*graph.Value) []*graph.Value {
		if reverse {
			i = b.Sub(b.Sub(trips, b.Int(1)), i)
		}
		next := b.Mul(now[0], b.Gather(x, i, a))
		if exclusive {
			return []*graph.Value{next, b.Identity(now[0])}
		}
		return []*graph.Value{next, b.Identity(next)}
	}, 1)
	direction := int64(0)
	if reverse {
		direction = 1
	}
	return []*graph.Value{c.scanResult(outs[1], a, direction)}
}

// vjpCenterCropPad crops what was padded, and pads what was cropped.
func vjpCenterCropPad(c *Call) []*graph.Value {
	x := c.In(0)
	if !x.Type.Ranked {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	}
	axes := axesFrom(0, x.Type.Rank())
	if a, ok := c.N.Attr("axes"); ok {
		axes = a.Ints
	}
	var sizes []piece
	for _, a := range axes {
		sizes = append(sizes, c.dimPiece(x, int(axis(a, x.Type.Rank()))))
	}
	return c.apply(c.d(0), c.shape(sizes...))
}

// vjpPad cuts what Pad added: for constant padding that is Pad by the negative amounts, the other way round where an
// amount is negative. The padding value gets what was cut.
func vjpPad(c *Call) []*graph.Value {
	if c.N.Str("mode", "constant") != "constant" {
		return pullOf(padByGather)(c)
	}
	g := c.d(0)
	amounts := c.Neg
	if pads, ok := constInts(c.In(1)); ok {
		amounts = func(*graph.Value) *graph.Value { return c.Ints(negated(pads)...) }
	}
	ct := make([]*graph.Value, 3)
	if ct[0] = g; g.Type.Rank() != 0 {
		ct[0] = c.apply(g, amounts(c.In(1)), nil, c.In(3))[0]
	}
	if c.wants(2) {
		ct[2] = c.Sub(c.Sum(g), c.Sum(ct[0]))
		if c.In(2).Type.Rank() == 1 {
			ct[2] = c.Unsqueeze(ct[2], 0)
		}
	}
	return ct
}

func negated(v []int64) []int64 {
	out := make([]int64, len(v))
	for i, n := range v {
		out[i] = -n
	}
	return out
}

// padByGather writes padding that repeats elements of x: along each axis, the positions are padded and gathered.
func padByGather(c *Call) []*graph.Value {
	x := c.In(0)
	pads, known := constInts(c.In(1))
	if !x.Type.Ranked {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	}
	axes := axesFrom(0, x.Type.Rank())
	if c.In(3) != nil {
		given, ok := constInts(c.In(3))
		if !ok {
			return c.unsupported("the axes are not constant")
		}
		axes = given
	}
	y := x
	for k, a := range axes {
		n := len(axes)
		var amounts *graph.Value
		if known {
			if pads[k] == 0 && pads[k+n] == 0 {
				continue
			}
			amounts = c.Ints(pads[k], pads[k+n])
		} else {
			amounts = c.Gather(c.In(1), c.Ints(int64(k), int64(k+n)), 0)
		}
		a = axis(a, x.Type.Rank())
		where := c.Op("Pad", []*graph.Value{c.positions(x, int(a)), amounts}, graph.S("mode", c.N.Str("mode", "")))
		y = c.Gather(y, where, a)
	}
	if y == x {
		y = c.Identity(x)
	}
	return []*graph.Value{y}
}

// positions is 0, 1, ..., D-1 for dimension D of x.
func (c *Call) positions(x *graph.Value, at int) *graph.Value {
	d := c.dimPiece(x, at)
	if d.v == nil {
		ids := make([]int64, d.n)
		for i := range ids {
			ids[i] = int64(i)
		}
		return c.Const("positions", graph.Ints(ids...))
	}
	return c.Op("Range", []*graph.Value{c.Int(0), c.Squeeze(d.v, 0), c.Int(1)})
}
