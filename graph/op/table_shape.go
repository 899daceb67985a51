package op

import "github.com/asdlc/asdlc/graph"

func dataIn(types Elems) []Param { return []Param{one("data", "T", types)} }

// shapeTable has the operators that make shapes and constants, and those that change the element type.
var shapeTable = []Schema{
	{Name: "Shape", Since: 1, Inputs: dataIn(anyElem), Outputs: []Param{one("shape", "", int64Elem)}, Infer: inferShape, Doc: "the shape as an int64 vector"},
	{
		Name: "Shape", Since: 15, Inputs: dataIn(anyElem), Outputs: []Param{one("shape", "", int64Elem)},
		Attrs: []AttrSpec{may("end", graph.AttrInt), attrInt("start", 0)}, Infer: inferShape, Doc: "part of the shape as an int64 vector",
	},
	{Name: "Size", Since: 1, Inputs: dataIn(anyElem), Outputs: []Param{one("size", "", int64Elem)}, Infer: inferSize, Doc: "the number of elements as an int64 scalar"},
	{
		Name: "Constant", Since: 1, Outputs: []Param{one("output", "", anyElem)},
		Attrs: []AttrSpec{need("value", graph.AttrTensor)}, Infer: inferConstant, Doc: "a constant tensor",
	},
	{
		Name: "Constant", Since: 12, Outputs: []Param{one("output", "", anyElem)},
		Attrs: []AttrSpec{
			may("value", graph.AttrTensor), may("value_float", graph.AttrFloat), may("value_floats", graph.AttrFloats),
			may("value_int", graph.AttrInt), may("value_ints", graph.AttrInts), may("value_string", graph.AttrString),
			may("value_strings", graph.AttrStrings),
		},
		Infer: inferConstant, Doc: "a constant tensor",
	},
	{
		Name: "ConstantOfShape", Since: 9, Inputs: []Param{one("input", "", int64Elem)}, Outputs: []Param{one("output", "", fixedElem)},
		Attrs: []AttrSpec{may("value", graph.AttrTensor)}, Infer: inferConstantOfShape, Doc: "a tensor of the given shape, filled with one value",
	},
	{
		Name: "Range", Since: 11, Inputs: []Param{one("start", "T", numElem), one("limit", "T", numElem), one("delta", "T", numElem)},
		Outputs: unaryOut(numElem), Infer: inferRange, Doc: "start, start+delta, ... below limit",
	},
	{
		Name: "Range", Since: 27, Inputs: []Param{one("start", "T", numElem), one("limit", "T", numElem), one("delta", "T", numElem)},
		Outputs: unaryOut(numElem), Attrs: []AttrSpec{attrInt("stash_type", 1)}, Infer: inferRange, Doc: "start, start+delta, ... below limit",
	},
	{
		Name: "EyeLike", Since: 9, Inputs: []Param{one("input", "", fixedElem)}, Outputs: []Param{one("output", "", fixedElem)},
		Attrs: []AttrSpec{may("dtype", graph.AttrInt), attrInt("k", 0)}, Infer: inferEyeLike, Doc: "ones on a diagonal, in the shape of a matrix",
	},
	{Name: "Identity", Since: 1, Inputs: dataIn(anyElem), Outputs: unaryOut(anyElem), Infer: identity, Doc: "its input"},
	{
		Name: "Cast", Since: 6, Inputs: []Param{one("input", "", anyElem)}, Outputs: []Param{one("output", "", anyElem)},
		Attrs: []AttrSpec{need("to", graph.AttrInt)}, Infer: inferCast, Doc: "conversion to an element type",
	},
	{
		Name: "Cast", Since: 19, Inputs: []Param{one("input", "", anyElem)}, Outputs: []Param{one("output", "", anyElem)},
		Attrs: []AttrSpec{need("to", graph.AttrInt), attrInt("saturate", 1)}, Infer: inferCast, Doc: "conversion to an element type",
	},
	{
		Name: "Cast", Since: 24, Inputs: []Param{one("input", "", anyElem)}, Outputs: []Param{one("output", "", anyElem)},
		Attrs: []AttrSpec{need("to", graph.AttrInt), attrInt("saturate", 1), attrStr("round_mode", "up")}, Infer: inferCast, Doc: "conversion to an element type",
	},
	{
		Name: "CastLike", Since: 15, Inputs: []Param{one("input", "", anyElem), one("target_type", "T", anyElem)}, Outputs: unaryOut(anyElem),
		Infer: inferCastLike, Doc: "conversion to the element type of another tensor",
	},
	{
		Name: "CastLike", Since: 19, Inputs: []Param{one("input", "", anyElem), one("target_type", "T", anyElem)}, Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{attrInt("saturate", 1)}, Infer: inferCastLike, Doc: "conversion to the element type of another tensor",
	},
	{
		Name: "CastLike", Since: 24, Inputs: []Param{one("input", "", anyElem), one("target_type", "T", anyElem)}, Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{attrInt("saturate", 1), attrStr("round_mode", "up")}, Infer: inferCastLike, Doc: "conversion to the element type of another tensor",
	},
}

func identity(c *Context) error {
	c.like(0, 0)
	c.setContent(0, c.Content(0))
	return nil
}

func inferShape(c *Context) error {
	dims, ok := c.Dims(0)
	if !ok {
		if _, cut := c.Attr("end"); !cut && c.Int("start") == 0 {
			c.Set(0, graph.UnknownDim)
		}
		return nil
	}
	clamp := func(v int64) int64 {
		if v < 0 {
			v += int64(len(dims))
		}
		return min(max(v, 0), int64(len(dims)))
	}
	from, to := clamp(c.Int("start")), int64(len(dims))
	if end, ok := c.Attr("end"); ok {
		to = max(from, clamp(end.I))
	}
	c.Set(0, graph.Known(to-from))
	c.setContent(0, dims[from:to])
	return nil
}

func inferSize(c *Context) error {
	c.Set(0)
	dims, ok := c.Dims(0)
	if !ok {
		return nil
	}
	n, err := c.product(dims)
	c.setContent(0, []graph.Dim{n})
	return err
}

func inferConstant(c *Context) error {
	attrs := c.Node.Attrs()
	if len(attrs) != 1 {
		return c.fail("has %d attributes, want exactly one that gives the value", len(attrs))
	}
	a, ok := c.Attr(attrs[0].Name)
	if !ok {
		return c.fail("attribute %q refers to attribute %q of the function, which the call does not give", attrs[0].Name, attrs[0].Ref)
	}
	switch a.Kind {
	case graph.AttrTensor:
		if a.T == nil {
			return c.fail("attribute %q holds no tensor", a.Name)
		}
		t := a.T.Type()
		c.setElem(0, t.Elem)
		c.Set(0, t.Dims...)
		if len(t.Dims) <= 1 && a.T.Len() <= maxContent {
			c.setContent(0, tensorContent(a.T))
		}
	case graph.AttrFloat:
		c.setElem(0, graph.Float32)
		c.Set(0)
	case graph.AttrFloats:
		c.setElem(0, graph.Float32)
		c.Set(0, graph.Known(int64(len(a.Floats))))
	case graph.AttrInt:
		c.setElem(0, graph.Int64)
		c.Set(0)
		c.setContent(0, knownDims([]int64{a.I}))
	case graph.AttrInts:
		c.setElem(0, graph.Int64)
		c.Set(0, graph.Known(int64(len(a.Ints))))
		if len(a.Ints) <= maxContent {
			c.setContent(0, knownDims(a.Ints))
		}
	default:
		return c.errorf(graph.ErrUnsupported, "a constant of %s", a.Kind)
	}
	return nil
}

func inferConstantOfShape(c *Context) error {
	c.setElem(0, graph.Float32)
	value := graph.Known(0)
	if a, ok := c.Attr("value"); ok {
		if a.T == nil || a.T.Len() != 1 {
			return c.fail("attribute %q is not a tensor of one element", "value")
		}
		c.setElem(0, a.T.Elem)
		value = graph.UnknownDim
		if v := tensorContent(a.T); v != nil {
			value = v[0]
		}
	}
	dims, ok, err := c.shapeInput(0)
	if err != nil || !ok {
		return err
	}
	c.Set(0, dims...)
	if len(dims) > 1 {
		return nil
	}
	n := int64(1)
	if len(dims) == 1 {
		if n, ok = dims[0].Size(); !ok || n > maxContent {
			return nil
		}
	}
	content := make([]graph.Dim, n)
	for i := range content {
		content[i] = value
	}
	c.setContent(0, content)
	return nil
}

// shapeInput reads input i as a shape; ok is false if even its length is not known.
func (c *Context) shapeInput(i int) (dims []graph.Dim, ok bool, err error) {
	if err := c.wantRank(i, 1); err != nil {
		return nil, false, err
	}
	if content := c.Content(i); content != nil {
		for _, d := range content {
			if n, ok := d.Int(); ok && n < 0 {
				return nil, false, c.fail("%s has the negative size %d", c.inputName(i), n)
			}
		}
		return append([]graph.Dim{}, content...), true, nil
	}
	n, ok := c.length(i)
	if !ok {
		return nil, false, nil
	}
	return unknownDims(n), true, nil
}

const maxRank = 64

// length is the number of elements of the vector input i, if it is known and sensible as a rank.
func (c *Context) length(i int) (int, bool) {
	dims, ok := c.Dims(i)
	if !ok || len(dims) != 1 {
		return 0, false
	}
	n, ok := dims[0].Size()
	return int(n), ok && n <= maxRank
}

func unknownDims(n int) []graph.Dim {
	dims := make([]graph.Dim, n)
	for i := range dims {
		dims[i] = graph.UnknownDim
	}
	return dims
}

func inferRange(c *Context) error {
	for i := range 3 {
		if t := c.Type(i); t.Ranked && len(t.Dims) != 0 {
			if n, ok := t.Dims[0].Size(); len(t.Dims) > 1 || ok && n != 1 {
				return c.fail("%s has type %s, want a scalar", c.inputName(i), t)
			}
		}
	}
	c.Set(0, graph.UnknownDim)
	start, limit, delta := c.Content(0), c.Content(1), c.Content(2)
	if len(start) != 1 || len(limit) != 1 || len(delta) != 1 {
		return c.floatRange()
	}
	step, ok := delta[0].Int()
	if !ok {
		return nil
	}
	if step == 0 {
		return c.fail("delta is 0")
	}
	n := stepsBetween(start[0], limit[0], step)
	c.Set(0, n)
	if size, ok := n.Size(); ok && size <= maxContent {
		content := make([]graph.Dim, size)
		for i := range content {
			content[i] = addDim(start[0], graph.Known(int64(i)*step))
		}
		c.setContent(0, content)
	}
	return nil
}

// stepsBetween is max(0, ceil((limit-start)/step)); a symbolic difference is taken to have the sign of step.
func stepsBetween(start, limit graph.Dim, step int64) graph.Dim {
	span := subContent(limit, start)
	if step < 0 {
		span, step = subContent(start, limit), -step
	}
	if _, hi := sign(span); hi {
		return graph.Known(0)
	}
	if step < 0 || span.IsUnknown() { // -step overflows
		return graph.UnknownDim
	}
	if step == 1 {
		return span
	}
	return addDim(span, graph.Known(step-1)).Div(graph.Known(step))
}

// floatRange sizes a range of constants that are not integers.
func (c *Context) floatRange() error {
	var v [3]float64
	for i := range v {
		f, ok := c.floats(i)
		if !ok || len(f) != 1 {
			return nil
		}
		v[i] = f[0]
	}
	if v[2] == 0 {
		return c.fail("delta is 0")
	}
	n := (v[1] - v[0]) / v[2]
	switch {
	case n != n || n > 1<<40:
		return c.fail("from %g to %g by %g is no range", v[0], v[1], v[2])
	case n <= 0:
		c.Set(0, graph.Known(0))
	default:
		k := int64(n)
		if float64(k) < n {
			k++
		}
		c.Set(0, graph.Known(k))
	}
	return nil
}

func inferEyeLike(c *Context) error {
	if err := c.wantRank(0, 2); err != nil {
		return err
	}
	c.setElem(0, c.Type(0).Elem)
	if a, ok := c.Attr("dtype"); ok {
		if err := c.castTo("dtype", a.I); err != nil {
			return err
		}
	}
	return sameShape(c)
}

// castTo sets the element type of output 0 from an attribute.
func (c *Context) castTo(attr string, to int64) error {
	e := graph.Elem(to)
	if to <= 0 || to > 255 {
		return c.fail("attribute %q is %d, which is no element type", attr, to)
	}
	if !e.Valid() && e != graph.String {
		return c.errorf(graph.ErrUnsupported, "element type %s (attribute %q)", e, attr)
	}
	c.setElem(0, e)
	return nil
}

func inferCast(c *Context) error {
	if err := c.castTo("to", c.Int("to")); err != nil {
		return err
	}
	c.like(0, 0)
	c.castContent()
	return nil
}

func inferCastLike(c *Context) error {
	c.like(0, 0)
	c.castContent()
	return nil
}

// castContent carries content over to the element type of output 0, as far as it can hold it.
func (c *Context) castContent() {
	content := c.Content(0)
	to := c.Out[0].Type.Elem
	if content == nil && to.IsInt() && c.Type(0).Elem.IsFloat() {
		content = c.env.roundedConst(c.Node.In(0), "Cast")
	}
	limit, ok := map[graph.Elem]int64{
		graph.Int64: 1<<63 - 1, graph.Int32: 1<<31 - 1, graph.Float32: 1 << 24, graph.Float64: 1 << 53,
		graph.Bool: 1<<63 - 1,
	}[to]
	if !ok {
		return
	}
	c.setContent(0, mapContent(content, func(d graph.Dim) graph.Dim {
		n, known := d.Int()
		switch {
		case to == graph.Bool && positive(d):
			return graph.Known(1)
		case to == graph.Bool && !known, known && (n > limit || n < -limit):
			return graph.UnknownDim
		case to == graph.Bool:
			return truth(n != 0)
		}
		return d
	}))
}
