package op

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
)

var (
	convAttrs = []AttrSpec{
		attrStr("auto_pad", "NOTSET"), may("dilations", graph.AttrInts), attrInt("group", 1), may("kernel_shape", graph.AttrInts),
		may("pads", graph.AttrInts), may("strides", graph.AttrInts),
	}
	convTransposeAttrs = append([]AttrSpec{may("output_padding", graph.AttrInts), may("output_shape", graph.AttrInts)}, convAttrs...)
	poolAttrs          = []AttrSpec{
		attrStr("auto_pad", "NOTSET"), need("kernel_shape", graph.AttrInts), may("pads", graph.AttrInts), may("strides", graph.AttrInts),
	}
	ceilAttrs = append([]AttrSpec{attrInt("ceil_mode", 0)}, poolAttrs...)
	dilAttrs  = append([]AttrSpec{may("dilations", graph.AttrInts)}, ceilAttrs...)
	pooled    = []Param{one("Y", "T", floatElem|byteElem), opt("Indices", "", int64Elem)}
	gemmAttrs = []AttrSpec{attrFloat("alpha", 1), attrFloat("beta", 1), attrInt("transA", 0), attrInt("transB", 0)}
	rnnAttrs  = []AttrSpec{
		may("activation_alpha", graph.AttrFloats), may("activation_beta", graph.AttrFloats), may("clip", graph.AttrFloat), attrStr("direction", "forward"), may("hidden_size", graph.AttrInt),
	}
	tanhAttrs = append([]AttrSpec{{Name: "activations", Kind: graph.AttrStrings, Default: graph.Ss("activations", "Tanh", "Tanh")}}, rnnAttrs...)
	lstmAttrs = append([]AttrSpec{may("activations", graph.AttrStrings), attrInt("input_forget", 0)}, rnnAttrs...)
	gruAttrs  = append([]AttrSpec{may("activations", graph.AttrStrings), attrInt("linear_before_reset", 0)}, rnnAttrs...)
	layout    = attrInt("layout", 0)
)

func convIn() []Param {
	return []Param{one("X", "T", floatElem), one("W", "T", floatElem), opt("B", "T", floatElem)}
}

func rnnIn(more ...Param) []Param {
	return append([]Param{
		one("X", "T", floatElem), one("W", "T", floatElem), one("R", "T", floatElem), opt("B", "T", floatElem),
		opt("sequence_lens", "", int32Elem), opt("initial_h", "T", floatElem),
	}, more...)
}

func rnnOut(more ...Param) []Param {
	return append([]Param{opt("Y", "T", floatElem), opt("Y_h", "T", floatElem)}, more...)
}

// nnTable has the products, convolutions, pooling and recurrent operators.
var nnTable = []Schema{
	{Name: "MatMul", Since: 1, Inputs: binaryIn(wideElem), Outputs: unaryOut(wideElem), Infer: inferMatMul, Doc: "matrix product, batched as numpy.matmul"},
	{Name: "Gemm", Since: 7, Inputs: []Param{one("A", "T", wideElem), one("B", "T", wideElem), one("C", "T", wideElem)}, Outputs: unaryOut(wideElem), Attrs: gemmAttrs, Infer: inferGemm, Doc: "alpha A B + beta C"},
	{Name: "Gemm", Since: 11, Inputs: []Param{one("A", "T", wideElem), one("B", "T", wideElem), opt("C", "T", wideElem)}, Outputs: unaryOut(wideElem), Attrs: gemmAttrs, Infer: inferGemm, Doc: "alpha A B + beta C"},
	{Name: "Einsum", Since: 12, Inputs: []Param{many("Inputs", "T", numElem)}, Outputs: unaryOut(numElem), Attrs: []AttrSpec{need("equation", graph.AttrString)}, Infer: inferEinsum, Doc: "sum of products by index letters"},
	{Name: "Det", Since: 11, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: inferDet, Doc: "determinants of square matrices"},

	{Name: "Conv", Since: 1, Inputs: convIn(), Outputs: unaryOut(floatElem), Attrs: convAttrs, Infer: inferConv, Doc: "convolution"},
	{Name: "ConvTranspose", Since: 1, Inputs: convIn(), Outputs: unaryOut(floatElem), Attrs: convTransposeAttrs, Infer: inferConvTranspose, Doc: "transposed convolution"},
	{
		Name: "Col2Im", Since: 18, Inputs: []Param{one("input", "T", anyElem), one("image_shape", "", int64Elem), one("block_shape", "", int64Elem)}, Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{may("dilations", graph.AttrInts), may("pads", graph.AttrInts), may("strides", graph.AttrInts)}, Infer: inferCol2Im, Doc: "sum of patches into an image",
	},
	{Name: "MaxPool", Since: 1, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Attrs: poolAttrs, Infer: inferPool, Doc: "maximum over windows"},
	{Name: "MaxPool", Since: 8, Inputs: unaryIn(floatElem), Outputs: pooled, Attrs: append([]AttrSpec{attrInt("storage_order", 0)}, poolAttrs...), Infer: inferPool, Doc: "maximum over windows, and its index"},
	{Name: "MaxPool", Since: 10, Inputs: unaryIn(floatElem | byteElem), Outputs: pooled, Attrs: append([]AttrSpec{attrInt("storage_order", 0)}, dilAttrs...), Infer: inferPool, Doc: "maximum over windows, and its index"},
	{Name: "AveragePool", Since: 7, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Attrs: append([]AttrSpec{attrInt("count_include_pad", 0)}, poolAttrs...), Infer: inferPool, Doc: "mean over windows"},
	{Name: "AveragePool", Since: 10, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Attrs: append([]AttrSpec{attrInt("count_include_pad", 0)}, ceilAttrs...), Infer: inferPool, Doc: "mean over windows"},
	{Name: "AveragePool", Since: 19, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Attrs: append([]AttrSpec{attrInt("count_include_pad", 0)}, dilAttrs...), Infer: inferPool, Doc: "mean over windows"},
	{Name: "LpPool", Since: 2, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Attrs: append([]AttrSpec{attrInt("p", 2)}, poolAttrs...), Infer: inferPool, Doc: "p-norm over windows"},
	{Name: "LpPool", Since: 18, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Attrs: append([]AttrSpec{attrInt("p", 2)}, dilAttrs...), Infer: inferPool, Doc: "p-norm over windows"},
	{Name: "GlobalAveragePool", Since: 1, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: inferGlobalPool, Doc: "mean over all positions"},
	{Name: "GlobalMaxPool", Since: 1, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Infer: inferGlobalPool, Doc: "maximum over all positions"},
	{Name: "GlobalLpPool", Since: 2, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Attrs: []AttrSpec{attrInt("p", 2)}, Infer: inferGlobalPool, Doc: "p-norm over all positions"},

	{Name: "RNN", Since: 7, Inputs: rnnIn(), Outputs: rnnOut(), Attrs: tanhAttrs, Infer: inferRNN(1), Doc: "simple recurrent layer"},
	{Name: "RNN", Since: 14, Inputs: rnnIn(), Outputs: rnnOut(), Attrs: append([]AttrSpec{layout}, tanhAttrs...), Infer: inferRNN(1), Doc: "simple recurrent layer"},
	{Name: "GRU", Since: 7, Inputs: rnnIn(), Outputs: rnnOut(), Attrs: gruAttrs, Infer: inferRNN(3), Doc: "gated recurrent layer"},
	{Name: "GRU", Since: 14, Inputs: rnnIn(), Outputs: rnnOut(), Attrs: append([]AttrSpec{layout}, gruAttrs...), Infer: inferRNN(3), Doc: "gated recurrent layer"},
	{
		Name: "LSTM", Since: 7, Inputs: rnnIn(opt("initial_c", "T", floatElem), opt("P", "T", floatElem)), Outputs: rnnOut(opt("Y_c", "T", floatElem)),
		Attrs: lstmAttrs, Infer: inferRNN(4), Doc: "long short-term memory layer",
	},
	{
		Name: "LSTM", Since: 14, Inputs: rnnIn(opt("initial_c", "T", floatElem), opt("P", "T", floatElem)), Outputs: rnnOut(opt("Y_c", "T", floatElem)),
		Attrs: append([]AttrSpec{layout}, lstmAttrs...), Infer: inferRNN(4), Doc: "long short-term memory layer",
	},
	{
		Name: "Upsample", Since: 7, Inputs: unaryIn(anyElem), Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{attrStr("mode", "nearest"), need("scales", graph.AttrFloats)}, Infer: inferResize, Doc: "interpolation to another size",
	},
	{
		Name: "Upsample", Since: 9, Inputs: []Param{one("X", "T", anyElem), one("scales", "", floatElem)}, Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{attrStr("mode", "nearest")}, Infer: inferResize, Doc: "interpolation to another size; replaced by Resize with opset 10",
	},
	{
		Name: "Resize", Since: 10, Inputs: []Param{one("X", "T", anyElem), one("scales", "", floatElem)}, Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{attrStr("mode", "nearest")}, Infer: inferResize, Doc: "interpolation to another size",
	},
	{
		Name: "Resize", Since: 11, Inputs: []Param{one("X", "T", anyElem), one("roi", "", floatElem), one("scales", "", floatElem), opt("sizes", "", int64Elem)}, Outputs: unaryOut(anyElem),
		Attrs: resizeAttrs, Infer: inferResize, Doc: "interpolation to another size",
	},
	{
		Name: "Resize", Since: 13, Inputs: resizeIn(), Outputs: unaryOut(anyElem),
		Attrs: resizeAttrs, Infer: inferResize, Doc: "interpolation to another size",
	},
	{
		Name: "Resize", Since: 18, Inputs: resizeIn(), Outputs: unaryOut(anyElem),
		Attrs: append([]AttrSpec{attrInt("antialias", 0), may("axes", graph.AttrInts), attrStr("keep_aspect_ratio_policy", "stretch")}, resizeAttrs...),
		Infer: inferResize, Doc: "interpolation to another size",
	},
}

func exchangedDims(dims []graph.Dim, swap bool) []graph.Dim {
	if r := len(dims); swap && r > 1 {
		dims = slices.Clone(dims)
		dims[r-1], dims[r-2] = dims[r-2], dims[r-1]
	}
	return dims
}

func inferMatMul(c *Context) error { return c.inferProduct(false, false) }

// inferProduct: with transA or transB, an operand of two dimensions or more is stored with its last two exchanged.
func (c *Context) inferProduct(transA, transB bool) error {
	a, oka := c.Dims(0)
	b, okb := c.Dims(1)
	a, b = exchangedDims(a, transA), exchangedDims(b, transB)
	if oka && len(a) == 0 || okb && len(b) == 0 {
		return c.fail("A has type %s and B %s; neither may be a scalar", c.Type(0), c.Type(1))
	}
	if !oka || !okb {
		return nil
	}
	rowA, colB := len(a) > 1, len(b) > 1
	inner := b[0]
	if colB {
		inner = b[len(b)-2]
	}
	if _, ok := mergeDim(a[len(a)-1], inner); !ok {
		return c.fail("A of type %s has %s columns, but B of type %s has %s rows", c.Type(0), a[len(a)-1], c.Type(1), inner)
	}
	out, err := broadcastDims(a[:max(len(a)-2, 0)], b[:max(len(b)-2, 0)])
	if err != nil {
		return c.fail("batch dimensions of %s: %v", c.inputTypes(), err)
	}
	if rowA {
		out = append(out, a[len(a)-2])
	}
	if colB {
		out = append(out, b[len(b)-1])
	}
	c.Set(0, out...)
	return nil
}

func inferGemm(c *Context) error {
	if err := c.wantRank(0, 2); err != nil {
		return err
	}
	if err := c.wantRank(1, 2); err != nil {
		return err
	}
	m, k := c.gemmSide(0, "transA")
	k2, n := c.gemmSide(1, "transB")
	if _, ok := mergeDim(k, k2); !ok {
		return c.fail("A of type %s (transA=%d) and B of type %s (transB=%d): inner sizes %s and %s differ",
			c.Type(0), c.Int("transA"), c.Type(1), c.Int("transB"), k, k2)
	}
	out := []graph.Dim{m, n}
	if bias, ok := c.Dims(2); ok && c.Has(2) {
		r, err := broadcastDims(out, bias)
		if err != nil || len(r) != 2 || !sameDims(r, out) {
			return c.fail("C of type %s does not broadcast to [%s,%s]", c.Type(2), m, n)
		}
	}
	c.Set(0, out...)
	return nil
}

// gemmSide is the shape of input i after its transposition.
func (c *Context) gemmSide(i int, trans string) (rows, cols graph.Dim) {
	d, ok := c.Dims(i)
	switch {
	case !ok:
		return graph.UnknownDim, graph.UnknownDim
	case c.Int(trans) != 0:
		return d[1], d[0]
	}
	return d[0], d[1]
}

func inferDet(c *Context) error {
	d, ok := c.Dims(0)
	if !ok {
		return nil
	}
	if len(d) < 2 {
		return c.fail("X has type %s, want square matrices", c.Type(0))
	}
	if _, ok := mergeDim(d[len(d)-1], d[len(d)-2]); !ok {
		return c.fail("X has type %s, want square matrices", c.Type(0))
	}
	c.Set(0, append([]graph.Dim{}, d[:len(d)-2]...)...)
	return nil
}

// inferRNN types a recurrent layer with the given number of gates.
func inferRNN(gates int64) func(*Context) error {
	return func(c *Context) error {
		for i := range 3 {
			if err := c.wantRank(i, 3); err != nil {
				return err
			}
		}
		dirs := int64(1)
		switch d := c.Str("direction"); d {
		case "forward", "reverse":
		case "bidirectional":
			dirs = 2
		default:
			return c.fail("direction is %q, want forward, reverse or bidirectional", d)
		}
		hidden, err := c.rnnHidden(gates)
		if err != nil {
			return err
		}
		seq, batch := graph.UnknownDim, graph.UnknownDim
		batchFirst := c.Int("layout") != 0
		if x, ok := c.Dims(0); ok {
			seq, batch = x[0], x[1]
			if batchFirst {
				seq, batch = batch, seq
			}
		}
		d := graph.Known(dirs)
		if batchFirst {
			c.Set(0, batch, seq, d, hidden)
			c.Set(1, batch, d, hidden)
			c.Set(2, batch, d, hidden)
			return nil
		}
		c.Set(0, seq, d, batch, hidden)
		c.Set(1, d, batch, hidden)
		c.Set(2, d, batch, hidden)
		return nil
	}
}

// rnnHidden is the hidden size, from R [dirs, gates*hidden, hidden] and the attribute.
func (c *Context) rnnHidden(gates int64) (graph.Dim, error) {
	hidden := graph.UnknownDim
	if r, ok := c.Dims(2); ok {
		hidden = r[2]
		if rows, ok := mulDim(hidden, graph.Known(gates)); ok {
			if _, ok := mergeDim(rows, r[1]); !ok {
				return hidden, c.fail("R has type %s, want [directions, %d*hidden, hidden]", c.Type(2), gates)
			}
		}
	}
	if a, ok := c.Attr("hidden_size"); ok {
		if hidden, ok = mergeDim(graph.Known(a.I), hidden); !ok || a.I < 1 {
			return hidden, c.fail("hidden_size is %d, but R has type %s", a.I, c.Type(2))
		}
	}
	return hidden, nil
}
