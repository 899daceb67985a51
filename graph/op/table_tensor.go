package op

import "github.com/asdlc/asdlc/graph"

// tensorTable has the operators that move elements around.
var tensorTable = []Schema{
	{
		Name: "Reshape", Since: 5, Inputs: []Param{one("data", "T", anyElem), one("shape", "", int64Elem)}, Outputs: unaryOut(anyElem),
		Infer: inferReshape, Doc: "the same elements in another shape; 0 copies a dimension, -1 is solved for",
	},
	{
		Name: "Reshape", Since: 14, Inputs: []Param{one("data", "T", anyElem), one("shape", "", int64Elem)}, Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{attrInt("allowzero", 0)}, Infer: inferReshape, Doc: "the same elements in another shape; 0 copies a dimension unless allowzero, -1 is solved for",
	},
	{Name: "Flatten", Since: 1, Inputs: dataIn(anyElem), Outputs: unaryOut(anyElem), Attrs: []AttrSpec{attrInt("axis", 1)}, Infer: inferFlatten, Doc: "a matrix: dimensions before axis, and from it on"},
	{Name: "Transpose", Since: 1, Inputs: dataIn(anyElem), Outputs: unaryOut(anyElem), Attrs: []AttrSpec{may("perm", graph.AttrInts)}, Infer: inferTranspose, Doc: "dimensions permuted, or reversed"},
	{Name: "Concat", Since: 4, Inputs: []Param{many("inputs", "T", anyElem)}, Outputs: unaryOut(anyElem), Attrs: []AttrSpec{need("axis", graph.AttrInt)}, Infer: inferConcat, Doc: "inputs joined along an axis"},
	{
		Name: "Split", Since: 2, Inputs: dataIn(anyElem), Outputs: []Param{many("outputs", "T", anyElem)},
		Attrs: []AttrSpec{attrInt("axis", 0), may("split", graph.AttrInts)}, Infer: inferSplit, Doc: "parts along an axis",
	},
	{
		Name: "Split", Since: 13, Inputs: []Param{one("input", "T", anyElem), opt("split", "", int64Elem)}, Outputs: []Param{many("outputs", "T", anyElem)},
		Attrs: []AttrSpec{attrInt("axis", 0)}, Infer: inferSplit, Doc: "parts along an axis",
	},
	{
		Name: "Split", Since: 18, Inputs: []Param{one("input", "T", anyElem), opt("split", "", int64Elem)}, Outputs: []Param{many("outputs", "T", anyElem)},
		Attrs: []AttrSpec{attrInt("axis", 0), may("num_outputs", graph.AttrInt)}, Infer: inferSplit, Doc: "parts along an axis",
	},
	{
		Name: "Slice", Since: 1, Inputs: dataIn(anyElem), Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{may("axes", graph.AttrInts), need("ends", graph.AttrInts), need("starts", graph.AttrInts)},
		Infer: inferSlice, Doc: "ranges along axes",
	},
	{
		Name: "Slice", Since: 10,
		Inputs: []Param{
			one("data", "T", anyElem), one("starts", "I", indexElem), one("ends", "I", indexElem), opt("axes", "I", indexElem),
			opt("steps", "I", indexElem),
		},
		Outputs: unaryOut(anyElem), Infer: inferSlice, Doc: "ranges with steps along axes",
	},
	{Name: "Squeeze", Since: 1, Inputs: dataIn(anyElem), Outputs: unaryOut(anyElem), Attrs: []AttrSpec{may("axes", graph.AttrInts)}, Infer: inferSqueeze, Doc: "dimensions of size 1 removed"},
	{Name: "Squeeze", Since: 13, Inputs: []Param{one("data", "T", anyElem), opt("axes", "", int64Elem)}, Outputs: unaryOut(anyElem), Infer: inferSqueeze, Doc: "dimensions of size 1 removed"},
	{Name: "Unsqueeze", Since: 1, Inputs: dataIn(anyElem), Outputs: unaryOut(anyElem), Attrs: []AttrSpec{need("axes", graph.AttrInts)}, Infer: inferUnsqueeze, Doc: "dimensions of size 1 inserted"},
	{Name: "Unsqueeze", Since: 13, Inputs: []Param{one("data", "T", anyElem), one("axes", "", int64Elem)}, Outputs: unaryOut(anyElem), Infer: inferUnsqueeze, Doc: "dimensions of size 1 inserted"},
	{Name: "Expand", Since: 8, Inputs: []Param{one("input", "T", anyElem), one("shape", "", int64Elem)}, Outputs: unaryOut(anyElem), Infer: inferExpand, Doc: "broadcast with a shape"},
	{Name: "Tile", Since: 6, Inputs: []Param{one("input", "T", anyElem), one("repeats", "", int64Elem)}, Outputs: unaryOut(anyElem), Infer: inferTile, Doc: "repeated along each axis"},
	{
		Name: "Pad", Since: 2, Inputs: dataIn(floatElem), Outputs: unaryOut(floatElem),
		Attrs: []AttrSpec{attrStr("mode", "constant"), need("pads", graph.AttrInts), attrFloat("value", 0)}, Infer: inferPad, Doc: "a border added",
	},
	{
		Name: "Pad", Since: 11, Inputs: []Param{one("data", "T", anyElem), one("pads", "", int64Elem), opt("constant_value", "T", anyElem)}, Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{attrStr("mode", "constant")}, Infer: inferPad, Doc: "a border added",
	},
	{
		Name: "Pad", Since: 18,
		Inputs:  []Param{one("data", "T", anyElem), one("pads", "", int64Elem), opt("constant_value", "T", anyElem), opt("axes", "", indexElem)},
		Outputs: unaryOut(anyElem), Attrs: []AttrSpec{attrStr("mode", "constant")}, Infer: inferPad, Doc: "a border added",
	},
	{
		Name: "DepthToSpace", Since: 1, Inputs: unaryIn(anyElem), Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{need("blocksize", graph.AttrInt)}, Infer: inferDepthToSpace, Doc: "blocks of channels moved into space",
	},
	{
		Name: "DepthToSpace", Since: 11, Inputs: unaryIn(anyElem), Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{need("blocksize", graph.AttrInt), attrStr("mode", "DCR")}, Infer: inferDepthToSpace, Doc: "blocks of channels moved into space",
	},
	{
		Name: "SpaceToDepth", Since: 1, Inputs: unaryIn(anyElem), Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{need("blocksize", graph.AttrInt)}, Infer: inferSpaceToDepth, Doc: "blocks of space moved into channels",
	},
	{
		Name: "Trilu", Since: 14, Inputs: []Param{one("input", "T", anyElem), opt("k", "", int64Elem)}, Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{attrInt("upper", 1)}, Infer: inferTrilu, Doc: "upper or lower triangle of matrices",
	},
	{
		Name: "ReverseSequence", Since: 10, Inputs: []Param{one("input", "T", anyElem), one("sequence_lens", "", int64Elem)}, Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{attrInt("batch_axis", 1), attrInt("time_axis", 0)}, Infer: sameShape, Doc: "the beginning of each sequence reversed",
	},
}

func inferTranspose(c *Context) error {
	dims, ok := c.Dims(0)
	perm, given := c.Ints("perm")
	if !ok {
		return nil
	}
	if !given {
		perm = nil
		for i := len(dims) - 1; i >= 0; i-- {
			perm = append(perm, int64(i))
		}
	}
	if len(perm) != len(dims) {
		return c.fail("perm %v is no permutation of the %d dimensions of %s", perm, len(dims), c.Type(0))
	}
	out := make([]graph.Dim, len(dims))
	seen := make([]bool, len(dims))
	for i, p := range perm {
		if p < 0 || p >= int64(len(dims)) || seen[p] {
			return c.fail("perm %v is no permutation of the %d dimensions of %s", perm, len(dims), c.Type(0))
		}
		seen[p] = true
		out[i] = dims[p]
	}
	c.Set(0, out...)
	if len(dims) <= 1 {
		c.setContent(0, c.Content(0))
	}
	return nil
}

func inferTile(c *Context) error {
	dims, ranked := c.Dims(0)
	repeats, ok, err := c.shapeInput(1)
	if err != nil || !ranked {
		return err
	}
	if !ok {
		c.Set(0, unknownDims(len(dims))...)
		return nil
	}
	if len(repeats) != len(dims) {
		return c.fail("%d repeats for input of type %s", len(repeats), c.Type(0))
	}
	out := make([]graph.Dim, len(dims))
	for i, d := range dims {
		if out[i], ok = mulDim(d, repeats[i]); !ok {
			return c.fail("repeats %v overflow", repeats)
		}
	}
	c.Set(0, out...)
	return nil
}

func inferPad(c *Context) error {
	switch mode := c.Str("mode"); mode {
	case "constant", "reflect", "edge":
	case "wrap":
		if c.Opset < 19 {
			return c.fail("mode wrap needs opset 19")
		}
	default:
		return c.fail("mode is %q, want constant, reflect, edge or wrap", mode)
	}
	dims, ranked := c.Dims(0)
	if !ranked {
		return nil
	}
	var pads []graph.Dim
	if p, ok := c.Ints("pads"); ok {
		pads = knownDims(p)
	} else if pads = c.Content(1); pads == nil {
		c.Set(0, unknownDims(len(dims))...)
		return nil
	}
	axes := make([]int64, len(dims))
	for i := range axes {
		axes[i] = int64(i)
	}
	if c.Has(3) {
		var known bool
		if axes, known = c.ints(3); !known {
			c.Set(0, unknownDims(len(dims))...)
			return nil
		}
	}
	if _, err := c.axisSet("axes", axes, len(dims)); err != nil {
		return err
	}
	if len(pads) != 2*len(axes) {
		return c.fail("%d pads for %d axes, want a begin and an end for each", len(pads), len(axes))
	}
	out := append([]graph.Dim{}, dims...)
	for i, a := range axes {
		k, _ := c.normAxis("axes", a, len(dims))
		out[k] = addDim(addDim(out[k], pads[i]), pads[len(axes)+i])
	}
	c.Set(0, out...)
	return nil
}

// blocks checks rank 4 and the block size.
func (c *Context) blocks() (dims []graph.Dim, size int64, err error) {
	if err := c.wantRank(0, 4); err != nil {
		return nil, 0, err
	}
	size = c.Int("blocksize")
	if size < 1 || size > 1<<15 {
		return nil, 0, c.fail("blocksize is %d", size)
	}
	dims, _ = c.Dims(0)
	return dims, size, nil
}

func inferDepthToSpace(c *Context) error {
	d, b, err := c.blocks()
	if err != nil || d == nil {
		return err
	}
	if m := c.Str("mode"); m != "" && m != "DCR" && m != "CRD" {
		return c.fail("mode is %q, want DCR or CRD", m)
	}
	if n, ok := d[1].Size(); ok && n%(b*b) != 0 {
		return c.fail("%d channels do not divide into blocks of %dx%d", n, b, b)
	}
	h, ok1 := mulDim(d[2], graph.Known(b))
	w, ok2 := mulDim(d[3], graph.Known(b))
	if !ok1 || !ok2 {
		return c.fail("sizes of %s overflow", c.Type(0))
	}
	c.Set(0, d[0], d[1].Div(graph.Known(b*b)), h, w)
	return nil
}

func inferSpaceToDepth(c *Context) error {
	d, b, err := c.blocks()
	if err != nil || d == nil {
		return err
	}
	for _, x := range d[2:] {
		if n, ok := x.Size(); ok && n%b != 0 {
			return c.fail("size %d does not divide into blocks of %d", n, b)
		}
	}
	ch, ok := mulDim(d[1], graph.Known(b*b))
	if !ok {
		return c.fail("sizes of %s overflow", c.Type(0))
	}
	c.Set(0, d[0], ch, d[2].Div(graph.Known(b)), d[3].Div(graph.Known(b)))
	return nil
}

func inferTrilu(c *Context) error {
	if dims, ok := c.Dims(0); ok && len(dims) < 2 {
		return c.fail("input has type %s, want rank 2 at least", c.Type(0))
	}
	if err := c.wantOne(1); err != nil {
		return err
	}
	return sameShape(c)
}
