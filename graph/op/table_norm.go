package op

import "github.com/asdlc/asdlc/graph"

var (
	bnAttrs  = []AttrSpec{attrFloat("epsilon", 1e-5), attrFloat("momentum", 0.9)}
	bnTrain  = append([]AttrSpec{attrInt("training_mode", 0)}, bnAttrs...)
	fiveOut  = []Param{one("Y", "T", floatElem), opt("mean", "T", floatElem), opt("var", "T", floatElem), opt("saved_mean", "T", floatElem), opt("saved_var", "T", floatElem)}
	dropped  = []Param{one("output", "T", floatElem), opt("mask", "", boolElem)}
	dropIn   = []Param{one("data", "T", floatElem), opt("ratio", "", floatElem), opt("training_mode", "", boolElem)}
	gnInputs = []Param{one("X", "T", floatElem), one("scale", "T", floatElem), one("bias", "T", floatElem)}
)

func bnIn(scale, stat string) []Param {
	return []Param{
		one("X", "T", floatElem), one("scale", scale, floatElem), one("B", scale, floatElem), one("input_mean", stat, floatElem),
		one("input_var", stat, floatElem),
	}
}

// normTable has the operators that normalise, softmax and dropout.
var normTable = []Schema{
	{Name: "BatchNormalization", Since: 7, Inputs: bnIn("T", "T"), Outputs: fiveOut, Attrs: append([]AttrSpec{attrInt("spatial", 1)}, bnAttrs...), Infer: inferBatchNorm, Doc: "normalisation over the batch"},
	{Name: "BatchNormalization", Since: 9, Inputs: bnIn("T", "T"), Outputs: fiveOut, Attrs: bnAttrs, Infer: inferBatchNorm, Doc: "normalisation over the batch"},
	{
		Name: "BatchNormalization", Since: 14, Inputs: bnIn("T", "U"), Attrs: bnTrain,
		Outputs: []Param{one("Y", "T", floatElem), opt("running_mean", "U", floatElem), opt("running_var", "U", floatElem)},
		Infer:   inferBatchNorm, Doc: "normalisation over the batch, or with training_mode by its statistics",
	},
	{
		Name: "BatchNormalization", Since: 15, Inputs: bnIn("T1", "T2"), Attrs: bnTrain,
		Outputs: []Param{one("Y", "T", floatElem), opt("running_mean", "T2", floatElem), opt("running_var", "T2", floatElem)},
		Infer:   inferBatchNorm, Doc: "normalisation over the batch, or with training_mode by its statistics",
	},
	{
		Name: "LayerNormalization", Since: 17,
		Inputs:  []Param{one("X", "T", floatElem), one("Scale", "T", floatElem), opt("B", "T", floatElem)},
		Outputs: []Param{one("Y", "T", floatElem), opt("Mean", "", floatElem), opt("InvStdDev", "", floatElem)},
		Attrs:   []AttrSpec{attrInt("axis", -1), attrFloat("epsilon", 1e-5), attrInt("stash_type", 1)}, Infer: inferLayerNorm, Doc: "normalisation over the last axes",
	},
	{
		Name: "RMSNormalization", Since: 23, Inputs: []Param{one("X", "", floatElem), one("scale", "T", floatElem)}, Outputs: unaryOut(floatElem),
		Attrs: []AttrSpec{attrInt("axis", -1), attrFloat("epsilon", 1e-5), attrInt("stash_type", 1)}, Infer: inferLayerNorm, Doc: "division by the root mean square over the last axes",
	},
	{
		Name: "InstanceNormalization", Since: 6, Inputs: []Param{one("input", "T", floatElem), one("scale", "T", floatElem), one("B", "T", floatElem)}, Outputs: unaryOut(floatElem),
		Attrs: []AttrSpec{attrFloat("epsilon", 1e-5)}, Infer: inferInstanceNorm, Doc: "normalisation over positions",
	},
	{
		Name: "GroupNormalization", Since: 18, Inputs: gnInputs, Outputs: unaryOut(floatElem),
		Attrs: []AttrSpec{attrFloat("epsilon", 1e-5), need("num_groups", graph.AttrInt)}, Infer: inferGroupNorm, Doc: "normalisation over groups of channels; scale and bias a group",
	},
	{
		Name: "GroupNormalization", Since: 21, Inputs: gnInputs, Outputs: unaryOut(floatElem),
		Attrs: []AttrSpec{attrFloat("epsilon", 1e-5), need("num_groups", graph.AttrInt), attrInt("stash_type", 1)}, Infer: inferGroupNorm, Doc: "normalisation over groups of channels; scale and bias a channel",
	},
	{
		Name: "LpNormalization", Since: 1, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem),
		Attrs: []AttrSpec{attrInt("axis", -1), attrInt("p", 2)}, Infer: inferAxisOp, Doc: "division by the p-norm along an axis",
	},
	{
		Name: "LRN", Since: 1, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem),
		Attrs: []AttrSpec{attrFloat("alpha", 0.0001), attrFloat("beta", 0.75), attrFloat("bias", 1), need("size", graph.AttrInt)}, Infer: inferLRN, Doc: "local response normalisation",
	},
	{
		Name: "MeanVarianceNormalization", Since: 9, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem),
		Attrs: []AttrSpec{{Name: "axes", Kind: graph.AttrInts, Default: graph.Is("axes", 0, 2, 3)}}, Infer: inferMeanVariance, Doc: "(X - mean) / standard deviation over axes",
	},
	{Name: "Softmax", Since: 1, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Attrs: []AttrSpec{attrInt("axis", 1)}, Infer: inferFlatAxisOp, Doc: "softmax over all axes from axis on"},
	{Name: "Softmax", Since: 13, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Attrs: []AttrSpec{attrInt("axis", -1)}, Infer: inferAxisOp, Doc: "softmax along an axis"},
	{Name: "LogSoftmax", Since: 1, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Attrs: []AttrSpec{attrInt("axis", 1)}, Infer: inferFlatAxisOp, Doc: "log of softmax over all axes from axis on"},
	{Name: "LogSoftmax", Since: 13, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Attrs: []AttrSpec{attrInt("axis", -1)}, Infer: inferAxisOp, Doc: "log of softmax along an axis"},
	{Name: "Hardmax", Since: 1, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Attrs: []AttrSpec{attrInt("axis", 1)}, Infer: inferFlatAxisOp, Doc: "1 at the first maximum over all axes from axis on"},
	{Name: "Hardmax", Since: 13, Inputs: unaryIn(floatElem), Outputs: unaryOut(floatElem), Attrs: []AttrSpec{attrInt("axis", -1)}, Infer: inferAxisOp, Doc: "1 at the first maximum along an axis"},
	{
		Name: "Dropout", Since: 7, Inputs: []Param{one("data", "T", floatElem)}, Outputs: []Param{one("output", "T", floatElem), opt("mask", "T", floatElem)},
		Attrs: []AttrSpec{attrFloat("ratio", 0.5)}, Infer: inferDropout, Doc: "identity in inference",
	},
	{Name: "Dropout", Since: 10, Inputs: []Param{one("data", "T", floatElem)}, Outputs: dropped, Attrs: []AttrSpec{attrFloat("ratio", 0.5)}, Infer: inferDropout, Doc: "identity in inference"},
	{Name: "Dropout", Since: 12, Inputs: dropIn, Outputs: dropped, Attrs: []AttrSpec{may("seed", graph.AttrInt)}, Infer: inferDropout, Doc: "random zeros in training, else identity"},
}

func inferBatchNorm(c *Context) error {
	x, ranked := c.Dims(0)
	channels := graph.UnknownDim
	if ranked {
		if len(x) < 1 {
			return c.fail("X is a scalar")
		}
		channels = graph.Known(1)
		if len(x) > 1 {
			channels = x[1]
		}
	}
	if c.Int("spatial") == 0 && c.Opset < 9 {
		return c.errorf(graph.ErrUnsupported, "spatial=0 (statistics per position)")
	}
	for i := 1; i < 5; i++ {
		if err := c.checkBias(i, channels); err != nil {
			return err
		}
		if d, ok := c.Dims(i); ok {
			channels, _ = mergeDim(channels, d[0])
		}
	}
	if ranked {
		out := append([]graph.Dim{}, x...)
		if len(out) > 1 {
			out[1] = channels
		}
		c.Set(0, out...)
	}
	for i := 1; i < len(c.Out); i++ {
		if c.Out[i].Present && c.Opset >= 14 && c.Int("training_mode") == 0 {
			return c.fail("output %d is given in training mode alone; set training_mode to 1 or leave it out", i)
		}
		c.Set(i, channels)
	}
	return nil
}

func inferLayerNorm(c *Context) error {
	x, ranked := c.Dims(0)
	for i := 1; i < len(c.Out); i++ {
		c.setElem(i, graph.Float32)
		if s := c.Int("stash_type"); s != int64(graph.Float32) {
			if e := graph.Elem(s); s > 0 && s < 32 && e.IsFloat() {
				c.setElem(i, e)
			} else {
				return c.fail("stash_type is %d, which is no floating-point type", s)
			}
		}
	}
	if !ranked {
		return nil
	}
	axis, err := c.axis("axis", len(x))
	if err != nil {
		return err
	}
	for i := 1; i < len(c.In); i++ {
		s, ok := c.Dims(i)
		if !ok || !c.Has(i) {
			continue
		}
		r, err := broadcastDims(x, s)
		if err != nil || !sameDims(r, x) {
			return c.fail("%s has type %s, which does not broadcast to X of type %s", c.inputName(i), c.Type(i), c.Type(0))
		}
	}
	c.Set(0, x...)
	stats := append([]graph.Dim{}, x[:axis]...)
	for range x[axis:] {
		stats = append(stats, graph.Known(1))
	}
	c.Set(1, stats...)
	c.Set(2, stats...)
	return nil
}

func inferInstanceNorm(c *Context) error {
	x, ranked := c.Dims(0)
	if !ranked {
		return nil
	}
	if len(x) < 2 {
		return c.fail("input has type %s, want [N, C, ...]", c.Type(0))
	}
	for i := 1; i < 3; i++ {
		if err := c.checkBias(i, x[1]); err != nil {
			return err
		}
	}
	return sameShape(c)
}

func inferLRN(c *Context) error {
	if size := c.Int("size"); size < 1 {
		return c.fail("size is %d, want channels to sum over", size)
	}
	if x, ranked := c.Dims(0); ranked && len(x) < 2 {
		return c.fail("X has type %s, want [N, C, ...]", c.Type(0))
	}
	return sameShape(c)
}

func inferGroupNorm(c *Context) error {
	groups := c.Int("num_groups")
	if groups < 1 {
		return c.fail("num_groups is %d", groups)
	}
	x, ranked := c.Dims(0)
	if !ranked {
		return nil
	}
	if len(x) < 2 {
		return c.fail("X has type %s, want [N, C, ...]", c.Type(0))
	}
	if n, ok := x[1].Size(); ok && n%groups != 0 {
		return c.fail("%d channels do not divide into %d groups", n, groups)
	}
	size := x[1]
	if c.Opset < 21 {
		size = graph.Known(groups)
	}
	for i := 1; i < 3; i++ {
		if err := c.checkBias(i, size); err != nil {
			return err
		}
	}
	return sameShape(c)
}

func inferMeanVariance(c *Context) error {
	if dims, ok := c.Dims(0); ok {
		axes, _ := c.Ints("axes")
		if _, err := c.axisSet("axes", axes, len(dims)); err != nil {
			return err
		}
	}
	return sameShape(c)
}

// inferAxisOp: an elementwise shape, and an axis that must exist.
func inferAxisOp(c *Context) error {
	if dims, ok := c.Dims(0); ok {
		if len(dims) == 0 {
			return c.fail("%s is a scalar", c.inputName(0))
		}
		if _, err := c.axis("axis", len(dims)); err != nil {
			return err
		}
	}
	return sameShape(c)
}

// inferFlatAxisOp is inferAxisOp where the axis may also be the rank.
func inferFlatAxisOp(c *Context) error {
	if dims, ok := c.Dims(0); ok {
		r := int64(len(dims))
		if a := c.Int("axis"); a < -r || a > r {
			return c.fail("axis is %d, want %d..%d", a, -r, r)
		}
	}
	return sameShape(c)
}

func inferDropout(c *Context) error {
	for i := 1; i < len(c.In); i++ {
		if c.Has(i) {
			if t := c.Type(i); t.Ranked && len(t.Dims) != 0 {
				if n, ok := t.Dims[0].Size(); len(t.Dims) > 1 || ok && n != 1 {
					return c.fail("%s has type %s, want a scalar", c.inputName(i), t)
				}
			}
		}
	}
	c.like(0, 0)
	c.like(1, 0)
	return nil
}
