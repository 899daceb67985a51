package op

import "github.com/asdlc/asdlc/graph"

var patchAttrs = []AttrSpec{
	need("kernel_shape", graph.AttrInts), may("strides", graph.AttrInts), may("dilations", graph.AttrInts), may("pads", graph.AttrInts),
}

// runtimeTable has the operators that the Go runtime puts in the place of patterns of standard ones. They are in no file.
var runtimeTable = []Schema{
	{
		Domain: graph.Asdl, Name: "BatchNormGrad", Since: 1,
		Inputs:  []Param{one("X", "T", floatElem), one("G", "T", floatElem), one("scale", "T", floatElem), one("count", "T", floatElem)},
		Outputs: []Param{one("GX", "T", floatElem), opt("along", "T", floatElem), opt("sum", "T", floatElem)},
		Attrs:   []AttrSpec{attrFloat("epsilon", 1e-5)}, Infer: inferBatchNormGrad, Doc: "gradient of BatchNormalization by batch statistics",
	},
	{
		Domain: graph.Asdl, Name: "ConvWeightGrad", Since: 1,
		Inputs:  []Param{one("X", "T", floatElem), one("G", "T", floatElem)},
		Outputs: []Param{one("W", "T", floatElem)},
		Attrs: []AttrSpec{
			need("kernel_shape", graph.AttrInts), may("strides", graph.AttrInts), may("dilations", graph.AttrInts), may("pads", graph.AttrInts), attrInt("group", 1),
		},
		Infer: inferConvWeightGrad, Doc: "gradient of Conv in its weight",
	},
	{
		Domain: graph.Asdl, Name: "LayerNormGrad", Since: 1,
		Inputs: []Param{
			one("X", "T", floatElem), one("G", "T", floatElem), one("scale", "T", floatElem), one("mean", "T", floatElem), one("inv", "T", floatElem),
		},
		Outputs: []Param{one("GX", "T", floatElem), opt("along", "T", floatElem), opt("sum", "T", floatElem)},
		Attrs:   []AttrSpec{attrInt("axis", -1)}, Infer: inferLayerNormGrad, Doc: "gradient of LayerNormalization",
	},
	{
		Domain: graph.Asdl, Name: "MatMul", Since: 1, Inputs: binaryIn(floatElem), Outputs: unaryOut(floatElem),
		Attrs: []AttrSpec{attrInt("transA", 0), attrInt("transB", 0), attrStr("triangleA", ""), attrStr("triangleB", "")},
		Infer: func(c *Context) error { return c.inferProduct(c.Int("transA") != 0, c.Int("transB") != 0) },
		Doc:   "MatMul of operands with their last two dimensions exchanged, or of triangular ones",
	},
	{
		Domain: graph.Asdl, Name: "UpperSolve", Since: 1, Inputs: []Param{one("Q", "T", floatElem), one("B", "T", floatElem)},
		Outputs: []Param{one("X", "T", floatElem)}, Attrs: []AttrSpec{attrInt("right", 0), attrInt("trans", 0)},
		Infer: func(c *Context) error { c.like(0, 1); return nil }, Doc: "X of op(Q) X = B, or of X op(Q) = B, for an upper triangular Q",
	},
	{
		Domain: graph.Asdl, Name: "MaxAbs", Since: 1, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Attrs: []AttrSpec{attrInt("keepdims", 0)},
		Infer: func(c *Context) error { c.Set(0); return nil }, Doc: "the largest absolute value",
	},
	{
		Domain: graph.Asdl, Name: "PatchColumns", Since: 1, Inputs: []Param{one("X", "T", floatElem), one("indices", "I", indexElem)},
		Outputs: []Param{one("Y", "T", floatElem)}, Attrs: patchAttrs,
		Infer: inferPatchColumns, Doc: "elements of the patches that a Conv sees, by their index",
	},
	{
		Domain: graph.Asdl, Name: "MaxPoolGrad", Since: 1,
		Inputs:  []Param{one("G", "T", floatElem), one("indices", "", int64Elem), one("shape", "", int64Elem)},
		Outputs: []Param{one("X", "T", floatElem)}, Infer: inferMaxPoolGrad,
		Doc: "gradient of MaxPool in its input of the given shape: G added up at the indices",
	},
	{
		Domain: graph.Asdl, Name: "PatchGram", Since: 1, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Attrs: patchAttrs,
		Infer: func(c *Context) error { return c.inferPatches(false) }, Doc: "sum of p p^T over the patches p that a Conv sees",
	},
	{
		Domain: graph.Asdl, Name: "PatchSum", Since: 1, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Attrs: patchAttrs,
		Infer: func(c *Context) error { return c.inferPatches(true) }, Doc: "sum of the patches that a Conv sees, as a row",
	},
	{
		Domain: graph.Asdl, Name: "Pointwise", Since: 1,
		Inputs: []Param{many("X", "T", floatElem)}, Outputs: []Param{many("Y", "T", floatElem)},
		Attrs: []AttrSpec{need("ops", graph.AttrStrings), need("args", graph.AttrInts), need("results", graph.AttrInts)},
		Infer: inferPointwise, Doc: "element-wise operators in one",
	},
	{
		Domain: graph.Asdl, Name: "ReluGrad", Since: 1,
		Inputs:  []Param{one("G", "T", floatElem), one("Y", "T", floatElem)},
		Outputs: []Param{one("X", "T", floatElem)}, Infer: sameShape, Doc: "gradient of Relu: G where Y is positive, else 0",
	},
}

func inferBatchNormGrad(c *Context) error {
	x := c.Type(0)
	if !x.Ranked || x.Rank() < 2 {
		return nil
	}
	c.Set(0, x.Dims...)
	channel := make([]graph.Dim, x.Rank())
	for i := range channel {
		channel[i] = graph.Known(1)
	}
	channel[1] = x.Dims[1]
	c.Set(1, channel...)
	c.Set(2, channel...)
	return nil
}

func inferMaxPoolGrad(c *Context) error {
	dims, ok, err := c.shapeInput(2)
	if err == nil && ok {
		c.Set(0, dims...)
	}
	return err
}

func inferLayerNormGrad(c *Context) error {
	x, ok := c.Dims(0)
	if !ok {
		return nil
	}
	axis, err := c.axis("axis", len(x))
	if err != nil {
		return err
	}
	c.Set(0, x...)
	c.Set(1, x[axis:]...)
	c.Set(2, x[axis:]...)
	return nil
}

// inferPointwise: every result has the shape that the inputs broadcast to.
func inferPointwise(c *Context) error {
	dims, ok, err := c.broadcastInputs()
	if err != nil || !ok {
		return err
	}
	for i := range c.Out {
		c.Set(i, dims...)
	}
	return nil
}

func inferConvWeightGrad(c *Context) error {
	kernel, _ := c.Ints("kernel_shape")
	x, g, group := c.Type(0), c.Type(1), c.Int("group")
	if !x.Ranked || !g.Ranked {
		return nil
	}
	if x.Rank() != len(kernel)+2 || g.Rank() != x.Rank() || group < 1 {
		return c.fail("X has type %s, G has type %s, want [N, C, ...] and [N, M, ...] for a kernel of %v in %d groups", x, g, kernel, group)
	}
	ins := graph.UnknownDim
	if n, ok := x.Dims[1].Size(); ok {
		ins = graph.Known(n / group)
	}
	c.Set(0, append([]graph.Dim{g.Dims[1], ins}, knownDims(kernel)...)...)
	return nil
}

// inferPatches: [k, k], or [1, k], for patches of k elements.
func inferPatchColumns(c *Context) error {
	x, ok1 := c.Dims(0)
	index, ok2 := c.Dims(1)
	if !ok1 || !ok2 {
		return nil
	}
	if len(x) < 3 || len(index) != 1 {
		return c.fail("shapes %v and %v, want [N, C, ...] and a list of indices", x, index)
	}
	kernel, _, err := c.kernelShape(len(x) - 2)
	if err != nil {
		return err
	}
	geo, err := c.window(kernel)
	if err != nil {
		return err
	}
	places := graph.Known(1)
	for i := range kernel {
		d, err := c.slide(&geo, x[2+i], i)
		if err != nil {
			return err
		}
		places = places.Mul(d)
	}
	c.Set(0, x[0], index[0], places)
	return nil
}

func (c *Context) inferPatches(row bool) error {
	kernel, _ := c.Ints("kernel_shape")
	x, k := c.Type(0), graph.UnknownDim
	if x.Ranked {
		if x.Rank() != len(kernel)+2 {
			return c.fail("X has type %s, want [N, C, ...] for a kernel of %v", x, kernel)
		}
		if n, ok := x.Dims[1].Size(); ok {
			for _, m := range kernel {
				n *= m
			}
			k = graph.Known(n)
		}
	}
	if row {
		c.Set(0, graph.Known(1), k)
	} else {
		c.Set(0, k, k)
	}
	return nil
}
