package op

import "github.com/asdlc/asdlc/graph"

var (
	attentionAttrs = []AttrSpec{
		attrInt("is_causal", 0), may("kv_num_heads", graph.AttrInt), may("q_num_heads", graph.AttrInt), attrInt("qk_matmul_output_mode", 0),
		may("scale", graph.AttrFloat), attrFloat("softcap", 0), may("softmax_precision", graph.AttrInt),
	}
	attentionOut = []Param{
		one("Y", "T1", floatElem), opt("present_key", "T1", floatElem), opt("present_value", "T2", floatElem), opt("qk_matmul_output", "T1", floatElem),
	}
)

func attentionIn(more ...Param) []Param {
	return append([]Param{
		one("Q", "T1", floatElem), one("K", "T1", floatElem), one("V", "T2", floatElem), opt("attn_mask", "U", numElem|boolElem),
		opt("past_key", "T1", floatElem), opt("past_value", "T2", floatElem),
	}, more...)
}

func gridSample(since int, mode string) Schema {
	return Schema{
		Name: "GridSample", Since: since, Inputs: []Param{one("X", "T1", anyElem), one("grid", "T2", floatElem)}, Outputs: []Param{one("Y", "T1", anyElem)},
		Attrs: []AttrSpec{attrInt("align_corners", 0), attrStr("mode", mode), attrStr("padding_mode", "zeros")}, Infer: inferGridSample, Doc: "values interpolated at the points of a grid",
	}
}

// fusedTable has the newer operators that stand for several others.
var fusedTable = []Schema{
	{Name: "Attention", Since: 23, Inputs: attentionIn(), Outputs: attentionOut, Attrs: attentionAttrs, Infer: inferAttention, Doc: "scaled dot-product attention"},
	{Name: "Attention", Since: 24, Inputs: attentionIn(opt("nonpad_kv_seqlen", "", int64Elem)), Outputs: attentionOut, Attrs: attentionAttrs, Infer: inferAttention, Doc: "scaled dot-product attention"},
	{
		Name: "RotaryEmbedding", Since: 23,
		Inputs:  []Param{one("X", "T", floatElem), one("cos_cache", "T", floatElem), one("sin_cache", "T", floatElem), opt("position_ids", "", int64Elem)},
		Outputs: unaryOut(floatElem), Attrs: []AttrSpec{attrInt("interleaved", 0), may("num_heads", graph.AttrInt), attrInt("rotary_embedding_dim", 0)},
		Infer: sameShape, Doc: "pairs of features rotated by position",
	},
	{
		Name: "LinearAttention", Since: 27,
		Inputs: []Param{
			one("query", "T", floatElem), one("key", "T", floatElem), one("value", "T", floatElem), opt("past_state", "S", floatElem),
			opt("decay", "T", floatElem), opt("beta", "T", floatElem),
		},
		Outputs: []Param{one("output", "T", floatElem), one("present_state", "S", floatElem)},
		Attrs: []AttrSpec{
			attrInt("chunk_size", 64), need("kv_num_heads", graph.AttrInt), need("q_num_heads", graph.AttrInt), attrFloat("scale", 0),
			attrStr("update_rule", "gated_delta"),
		},
		Infer: inferLinearAttention, Doc: "attention by a recurrent state",
	},
	{
		Name: "CausalConvWithState", Since: 27,
		Inputs:  []Param{one("input", "T", floatElem), one("weight", "T", floatElem), opt("bias", "T", floatElem), opt("past_state", "T", floatElem)},
		Outputs: []Param{one("output", "T", floatElem), one("present_state", "T", floatElem)}, Attrs: []AttrSpec{attrStr("activation", "none")},
		Infer: inferCausalConv, Doc: "depthwise convolution over the past",
	},
	gridSample(16, "bilinear"),
	gridSample(20, "linear"),
	{
		Name: "AffineGrid", Since: 20, Inputs: []Param{one("theta", "T", floatElem), one("size", "", int64Elem)}, Outputs: unaryOut(floatElem),
		Attrs: []AttrSpec{attrInt("align_corners", 0)}, Infer: inferAffineGrid, Doc: "points of an affinely mapped grid",
	},
	{
		Name: "CenterCropPad", Since: 18, Inputs: []Param{one("input_data", "T", anyElem), one("shape", "", indexElem)}, Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{may("axes", graph.AttrInts)}, Infer: inferCenterCropPad, Doc: "cropped or padded to a size, around the centre",
	},
	{
		Name: "TensorScatter", Since: 24, Inputs: []Param{one("past_cache", "T", anyElem), one("update", "T", anyElem), opt("write_indices", "", int64Elem)}, Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{attrInt("axis", -2), attrStr("mode", "linear")}, Infer: inferAxisOp, Doc: "a cache with positions overwritten",
	},
	{
		Name: "BitCast", Since: 26, Inputs: []Param{one("input", "", numElem|boolElem)}, Outputs: []Param{one("output", "", numElem|boolElem)},
		Attrs: []AttrSpec{need("to", graph.AttrInt)}, Infer: inferBitCast, Doc: "the same bits as another element type",
	},
}

// heads gives [batch, heads, sequence, size] of input i, which may also be [batch, sequence, heads*size].
func (c *Context) heads(i int, attr string) (dims []graph.Dim, ok bool, err error) {
	dims, ok = c.Dims(i)
	switch {
	case !ok:
		return nil, false, nil
	case len(dims) == 4:
		return dims, true, nil
	case len(dims) != 3:
		return nil, false, c.fail("%s has type %s, want rank 3 or 4", c.inputName(i), c.Type(i))
	}
	n := c.Int(attr)
	if n < 1 {
		return nil, false, c.fail("%s has rank 3, which needs the attribute %s", c.inputName(i), attr)
	}
	if size, ok := dims[2].Size(); ok && size%n != 0 {
		return nil, false, c.fail("size %d of %s does not divide into %d heads", size, c.inputName(i), n)
	}
	return []graph.Dim{dims[0], graph.Known(n), dims[1], dims[2].Div(graph.Known(n))}, true, nil
}

func inferAttention(c *Context) error {
	var qkv [3][]graph.Dim
	for i, attr := range []string{"q_num_heads", "kv_num_heads", "kv_num_heads"} {
		dims, ok, err := c.heads(i, attr)
		if err != nil || !ok {
			return err
		}
		qkv[i] = dims
	}
	q, k, v := qkv[0], qkv[1], qkv[2]
	if _, ok := mergeDim(q[3], k[3]); !ok {
		return c.fail("Q of type %s and K of type %s have heads of sizes %s and %s", c.Type(0), c.Type(1), q[3], k[3])
	}
	if _, ok := mergeDim(k[2], v[2]); !ok {
		return c.fail("K of type %s and V of type %s differ in length", c.Type(1), c.Type(2))
	}
	if len(c.Type(0).Dims) == 3 {
		width, ok := mulDim(q[1], v[3])
		if !ok {
			return c.fail("size of the output overflows")
		}
		c.Set(0, q[0], q[2], width)
	} else {
		c.Set(0, q[0], q[1], q[2], v[3])
	}
	total := k[2]
	if c.Has(4) {
		past, ok := c.Dims(4)
		if err := c.wantRank(4, 4); err != nil {
			return err
		}
		total = graph.UnknownDim
		if ok {
			total = addDim(past[2], k[2])
		}
	}
	c.Set(1, k[0], k[1], total, k[3])
	c.Set(2, v[0], v[1], total, v[3])
	c.Set(3, q[0], q[1], q[2], total)
	return nil
}

func inferLinearAttention(c *Context) error {
	var part [3][]graph.Dim
	for i, attr := range []string{"q_num_heads", "kv_num_heads", "kv_num_heads"} {
		if err := c.wantRank(i, 3); err != nil {
			return err
		}
		dims, ok, err := c.heads(i, attr)
		if err != nil || !ok {
			return err
		}
		part[i] = dims
	}
	q, k, v := part[0], part[1], part[2]
	width, ok := mulDim(q[1], v[3])
	if !ok {
		return c.fail("size of the output overflows")
	}
	c.Set(0, q[0], q[2], width)
	c.Set(1, k[0], k[1], k[3], v[3])
	if 1 < len(c.Out) && c.Out[1].Type.Elem == graph.Undefined {
		c.setElem(1, c.Type(0).Elem)
	}
	return nil
}

func inferCausalConv(c *Context) error {
	for i := range 2 {
		if err := c.wantRank(i, 3); err != nil {
			return err
		}
	}
	x, ok := c.Dims(0)
	if !ok {
		return nil
	}
	c.Set(0, x...)
	state := graph.UnknownDim
	if w, ok := c.Dims(1); ok {
		if n, ok := w[2].Size(); ok && n < 1 {
			return c.fail("weight of type %s has no taps", c.Type(1))
		}
		state = w[2].Sub(graph.Known(1))
	}
	c.Set(1, x[0], x[1], state)
	return nil
}

// inferGridSample: X [N, C, in...] and grid [N, out..., rank] give [N, C, out...].
func inferGridSample(c *Context) error {
	x, okx := c.Dims(0)
	grid, okg := c.Dims(1)
	if okx && len(x) < 3 || okx && okg && len(x) != len(grid) || okg && len(grid) < 3 {
		return c.fail("X has type %s and grid %s, want equal ranks of at least 3", c.Type(0), c.Type(1))
	}
	if !okg {
		return nil
	}
	if n, ok := grid[len(grid)-1].Size(); ok && n != int64(len(grid)-2) {
		return c.fail("grid has type %s, want points of %d coordinates", c.Type(1), len(grid)-2)
	}
	batch, channels := grid[0], graph.UnknownDim
	if okx {
		var ok bool
		if batch, ok = mergeDim(x[0], grid[0]); !ok {
			return c.fail("X has type %s and grid %s, want equal batches", c.Type(0), c.Type(1))
		}
		channels = x[1]
	}
	c.Set(0, append([]graph.Dim{batch, channels}, grid[1:len(grid)-1]...)...)
	return nil
}

// inferAffineGrid: size [N, C, out...] gives [N, out..., rank].
func inferAffineGrid(c *Context) error {
	if err := c.wantRank(0, 3); err != nil {
		return err
	}
	size, ok, err := c.shapeInput(1)
	if err != nil || !ok {
		return err
	}
	if n := len(size); n != 4 && n != 5 {
		return c.fail("size has %d numbers, want 4 or 5", n)
	}
	out := append([]graph.Dim{size[0]}, size[2:]...)
	c.Set(0, append(out, graph.Known(int64(len(size)-2)))...)
	return nil
}

func inferCenterCropPad(c *Context) error {
	dims, ranked := c.Dims(0)
	if !ranked {
		return nil
	}
	shape, known, err := c.shapeInput(1)
	if err != nil {
		return err
	}
	axes, given := c.Ints("axes")
	if !given {
		for i := range dims {
			axes = append(axes, int64(i))
		}
	}
	if _, err := c.axisSet("axes", axes, len(dims)); err != nil {
		return err
	}
	if known && len(shape) != len(axes) {
		return c.fail("shape has %d numbers for %d axes", len(shape), len(axes))
	}
	out := append([]graph.Dim{}, dims...)
	for i, a := range axes {
		k, _ := c.normAxis("axes", a, len(dims))
		out[k] = elementOf(shape, i)
	}
	c.Set(0, out...)
	return nil
}

func inferBitCast(c *Context) error {
	if err := c.castTo("to", c.Int("to")); err != nil {
		return err
	}
	if from, to := c.Type(0).Elem, graph.Elem(c.Int("to")); from.Valid() && from.Size() != to.Size() {
		return c.fail("%s and %s differ in size", from, to)
	}
	return sameShape(c)
}
