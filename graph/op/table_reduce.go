package op

import "github.com/asdlc/asdlc/graph"

// Parameters and attributes of the reductions before and since their axes are an input.
func reduceIn(types Elems) []Param { return []Param{one("data", "T", types)} }

func reduceAxesIn(types Elems) []Param {
	return []Param{one("data", "T", types), opt("axes", "", int64Elem)}
}

// maxElem are the element types that can be compared in a reduction.
const maxElem = wideElem | byteElem

var (
	reduceAttrs     = []AttrSpec{may("axes", graph.AttrInts), attrInt("keepdims", 1)}
	reduceAxesAttrs = []AttrSpec{attrInt("keepdims", 1), attrInt("noop_with_empty_axes", 0)}
	argAttrs        = []AttrSpec{attrInt("axis", 0), attrInt("keepdims", 1)}
	argLastAttrs    = []AttrSpec{attrInt("axis", 0), attrInt("keepdims", 1), attrInt("select_last_index", 0)}
)

// reduceTable has the reductions over axes.
var reduceTable = []Schema{
	{Name: "ReduceSum", Since: 1, Inputs: reduceIn(wideElem), Outputs: unaryOut(wideElem), Attrs: reduceAttrs, Infer: inferReduce, Doc: "sum over axes"},
	{Name: "ReduceSum", Since: 13, Inputs: reduceAxesIn(wideElem), Outputs: unaryOut(wideElem), Attrs: reduceAxesAttrs, Infer: inferReduce, Doc: "sum over axes"},
	{Name: "ReduceMean", Since: 1, Inputs: reduceIn(wideElem), Outputs: unaryOut(wideElem), Attrs: reduceAttrs, Infer: inferReduce, Doc: "mean over axes"},
	{Name: "ReduceMean", Since: 18, Inputs: reduceAxesIn(wideElem), Outputs: unaryOut(wideElem), Attrs: reduceAxesAttrs, Infer: inferReduce, Doc: "mean over axes"},
	{Name: "ReduceMax", Since: 1, Inputs: reduceIn(maxElem), Outputs: unaryOut(maxElem), Attrs: reduceAttrs, Infer: inferReduce, Doc: "maximum over axes"},
	{Name: "ReduceMax", Since: 18, Inputs: reduceAxesIn(maxElem), Outputs: unaryOut(maxElem), Attrs: reduceAxesAttrs, Infer: inferReduce, Doc: "maximum over axes"},
	{Name: "ReduceMax", Since: 20, Inputs: reduceAxesIn(maxElem | boolElem), Outputs: unaryOut(maxElem | boolElem), Attrs: reduceAxesAttrs, Infer: inferReduce, Doc: "maximum over axes"},
	{Name: "ReduceMin", Since: 1, Inputs: reduceIn(maxElem), Outputs: unaryOut(maxElem), Attrs: reduceAttrs, Infer: inferReduce, Doc: "minimum over axes"},
	{Name: "ReduceMin", Since: 18, Inputs: reduceAxesIn(maxElem), Outputs: unaryOut(maxElem), Attrs: reduceAxesAttrs, Infer: inferReduce, Doc: "minimum over axes"},
	{Name: "ReduceMin", Since: 20, Inputs: reduceAxesIn(maxElem | boolElem), Outputs: unaryOut(maxElem | boolElem), Attrs: reduceAxesAttrs, Infer: inferReduce, Doc: "minimum over axes"},
	{Name: "ReduceProd", Since: 1, Inputs: reduceIn(wideElem), Outputs: unaryOut(wideElem), Attrs: reduceAttrs, Infer: inferReduce, Doc: "product over axes"},
	{Name: "ReduceProd", Since: 18, Inputs: reduceAxesIn(wideElem), Outputs: unaryOut(wideElem), Attrs: reduceAxesAttrs, Infer: inferReduce, Doc: "product over axes"},
	{Name: "ReduceL1", Since: 1, Inputs: reduceIn(wideElem), Outputs: unaryOut(wideElem), Attrs: reduceAttrs, Infer: inferReduce, Doc: "sum of absolute values over axes"},
	{Name: "ReduceL1", Since: 18, Inputs: reduceAxesIn(wideElem), Outputs: unaryOut(wideElem), Attrs: reduceAxesAttrs, Infer: inferReduce, Doc: "sum of absolute values over axes"},
	{Name: "ReduceL2", Since: 1, Inputs: reduceIn(wideElem), Outputs: unaryOut(wideElem), Attrs: reduceAttrs, Infer: inferReduce, Doc: "Euclidean norm over axes"},
	{Name: "ReduceL2", Since: 18, Inputs: reduceAxesIn(wideElem), Outputs: unaryOut(wideElem), Attrs: reduceAxesAttrs, Infer: inferReduce, Doc: "Euclidean norm over axes"},
	{Name: "ReduceSumSquare", Since: 1, Inputs: reduceIn(wideElem), Outputs: unaryOut(wideElem), Attrs: reduceAttrs, Infer: inferReduce, Doc: "sum of squares over axes"},
	{Name: "ReduceSumSquare", Since: 18, Inputs: reduceAxesIn(wideElem), Outputs: unaryOut(wideElem), Attrs: reduceAxesAttrs, Infer: inferReduce, Doc: "sum of squares over axes"},
	{Name: "ReduceLogSum", Since: 1, Inputs: reduceIn(wideElem), Outputs: unaryOut(wideElem), Attrs: reduceAttrs, Infer: inferReduce, Doc: "log of the sum over axes"},
	{Name: "ReduceLogSum", Since: 18, Inputs: reduceAxesIn(wideElem), Outputs: unaryOut(wideElem), Attrs: reduceAxesAttrs, Infer: inferReduce, Doc: "log of the sum over axes"},
	{Name: "ReduceLogSumExp", Since: 1, Inputs: reduceIn(wideElem), Outputs: unaryOut(wideElem), Attrs: reduceAttrs, Infer: inferReduce, Doc: "log of the sum of exponentials over axes"},
	{Name: "ReduceLogSumExp", Since: 18, Inputs: reduceAxesIn(wideElem), Outputs: unaryOut(wideElem), Attrs: reduceAxesAttrs, Infer: inferReduce, Doc: "log of the sum of exponentials over axes"},

	{Name: "ArgMax", Since: 1, Inputs: reduceIn(numElem), Outputs: []Param{one("reduced", "", int64Elem)}, Attrs: argAttrs, Infer: inferArg, Doc: "index of the maximum along an axis"},
	{Name: "ArgMax", Since: 12, Inputs: reduceIn(numElem), Outputs: []Param{one("reduced", "", int64Elem)}, Attrs: argLastAttrs, Infer: inferArg, Doc: "index of the maximum along an axis"},
	{Name: "ArgMin", Since: 1, Inputs: reduceIn(numElem), Outputs: []Param{one("reduced", "", int64Elem)}, Attrs: argAttrs, Infer: inferArg, Doc: "index of the minimum along an axis"},
	{Name: "ArgMin", Since: 12, Inputs: reduceIn(numElem), Outputs: []Param{one("reduced", "", int64Elem)}, Attrs: argLastAttrs, Infer: inferArg, Doc: "index of the minimum along an axis"},
	{
		Name: "CumSum", Since: 11, Inputs: []Param{one("x", "T", wideElem), one("axis", "", indexElem)}, Outputs: unaryOut(wideElem),
		Attrs: []AttrSpec{attrInt("exclusive", 0), attrInt("reverse", 0)}, Infer: inferCumSum, Doc: "cumulative sum along an axis",
	},
	{
		Name: "CumProd", Since: 26, Inputs: []Param{one("x", "T", wideElem), one("axis", "", indexElem)}, Outputs: unaryOut(wideElem),
		Attrs: []AttrSpec{attrInt("exclusive", 0), attrInt("reverse", 0)}, Infer: inferCumSum, Doc: "cumulative product along an axis",
	},
	{
		Name: "TopK", Since: 1, Inputs: []Param{one("X", "T", floatElem)}, Outputs: []Param{one("Values", "T", floatElem), one("Indices", "", int64Elem)},
		Attrs: []AttrSpec{attrInt("axis", -1), need("k", graph.AttrInt)}, Infer: inferTopK, Doc: "the k largest along an axis",
	},
	{
		Name: "TopK", Since: 10, Inputs: []Param{one("X", "T", floatElem), one("K", "", int64Elem)}, Outputs: []Param{one("Values", "T", floatElem), one("Indices", "", int64Elem)},
		Attrs: []AttrSpec{attrInt("axis", -1)}, Infer: inferTopK, Doc: "the k largest along an axis",
	},
	{
		Name: "TopK", Since: 11, Inputs: []Param{one("X", "T", numElem), one("K", "", int64Elem)}, Outputs: []Param{one("Values", "T", numElem), one("Indices", "", int64Elem)},
		Attrs: []AttrSpec{attrInt("axis", -1), attrInt("largest", 1), attrInt("sorted", 1)}, Infer: inferTopK, Doc: "the k largest or smallest along an axis",
	},
}

func inferReduce(c *Context) error {
	axes, given, known := c.intsOrAttr(1, "axes")
	dims, ranked := c.Dims(0)
	keep := c.Int("keepdims") != 0
	if !ranked {
		if known && len(axes) == 0 && !keep && c.Int("noop_with_empty_axes") == 0 {
			c.Set(0)
		}
		return nil
	}
	if !known {
		return c.reduceUnknownAxes(dims, keep)
	}
	all := !given || len(axes) == 0
	if all && c.Int("noop_with_empty_axes") != 0 {
		c.Set(0, dims...)
		return nil
	}
	set, err := c.axisSet("axes", axes, len(dims))
	if err != nil {
		return err
	}
	out := []graph.Dim{}
	for i, d := range dims {
		switch {
		case !all && !set[i]:
			out = append(out, d)
		case keep:
			out = append(out, graph.Known(1))
		}
	}
	c.Set(0, out...)
	if len(out) <= 1 && len(dims) == 1 {
		c.setContent(0, reducedContent(c.Node.Op, c.Content(0)))
	}
	return nil
}

// reduceUnknownAxes: the rank follows from the number of axes.
func (c *Context) reduceUnknownAxes(dims []graph.Dim, keep bool) error {
	rank := len(dims)
	if !keep {
		t := c.Type(1)
		if !t.Ranked || len(t.Dims) != 1 {
			return nil
		}
		n, ok := t.Dims[0].Size()
		if !ok || n > int64(rank) {
			return nil
		}
		if n == 0 && c.Int("noop_with_empty_axes") == 0 {
			n = int64(rank)
		}
		rank -= int(n)
	}
	out := make([]graph.Dim, rank)
	for i := range out {
		out[i] = graph.UnknownDim
	}
	c.Set(0, out...)
	return nil
}

// reducedContent is the content of a one-dimensional content reduced to one number.
func reducedContent(op string, content []graph.Dim) []graph.Dim {
	fold := map[string]func(a, b graph.Dim) graph.Dim{
		"ReduceSum": addContent, "ReduceProd": mulContent, "ReduceMax": maxContentOf, "ReduceMin": minContent,
	}[op]
	if fold == nil || len(content) == 0 {
		return nil
	}
	r := content[0]
	for _, d := range content[1:] {
		r = fold(r, d)
	}
	return []graph.Dim{r}
}

func inferArg(c *Context) error {
	dims, ok := c.Dims(0)
	if !ok {
		return nil
	}
	axis, err := c.axis("axis", len(dims))
	if err != nil {
		return err
	}
	if dims[axis] == graph.Known(0) {
		return c.fail("axis %d of %s is empty", axis, c.Type(0))
	}
	out := append([]graph.Dim{}, dims[:axis]...)
	if c.Int("keepdims") != 0 {
		out = append(out, graph.Known(1))
	}
	c.Set(0, append(out, dims[axis+1:]...)...)
	return nil
}

func inferCumSum(c *Context) error {
	if err := c.wantOne(1); err != nil {
		return err
	}
	if axis, ok := c.ints(1); ok {
		if dims, ok := c.Dims(0); ok {
			if _, err := c.normAxis("axis", axis[0], len(dims)); err != nil {
				return err
			}
		}
	}
	return sameShape(c)
}

func inferTopK(c *Context) error {
	dims, ok := c.Dims(0)
	if !ok {
		return nil
	}
	axis, err := c.axis("axis", len(dims))
	if err != nil {
		return err
	}
	k := graph.UnknownDim
	if a, ok := c.Attr("k"); ok {
		k = graph.Known(a.I)
	} else if err := c.wantOne(1); err != nil {
		return err
	} else if content := c.Content(1); len(content) == 1 {
		k = content[0]
	}
	if n, ok := k.Int(); ok {
		if size, ok := dims[axis].Size(); n < 0 || ok && n > size {
			return c.fail("k is %d, but axis %d of X has size %s", n, axis, dims[axis])
		}
	}
	out := append([]graph.Dim{}, dims...)
	out[axis] = k
	c.Set(0, out...)
	c.Set(1, out...)
	return nil
}
