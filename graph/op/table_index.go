package op

import "github.com/asdlc/asdlc/graph"

// indexTable has the operators that pick and place elements by indices.
var indexTable = []Schema{
	{
		Name: "Gather", Since: 1, Inputs: []Param{one("data", "T", anyElem), one("indices", "", indexElem)}, Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{attrInt("axis", 0)}, Infer: inferGather, Doc: "slices along an axis, by index",
	},
	{
		Name: "GatherElements", Since: 11, Inputs: []Param{one("data", "T", anyElem), one("indices", "", indexElem)}, Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{attrInt("axis", 0)}, Infer: inferGatherElements, Doc: "elements along an axis, by index",
	},
	{
		Name: "GatherND", Since: 11, Inputs: []Param{one("data", "T", anyElem), one("indices", "", int64Elem)}, Outputs: unaryOut(anyElem),
		Infer: inferGatherND, Doc: "slices by index tuples",
	},
	{
		Name: "GatherND", Since: 12, Inputs: []Param{one("data", "T", anyElem), one("indices", "", int64Elem)}, Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{attrInt("batch_dims", 0)}, Infer: inferGatherND, Doc: "slices by index tuples",
	},
	{
		Name: "Scatter", Since: 9, Inputs: scatterIn(indexElem), Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{attrInt("axis", 0)}, Infer: inferScatterElements, Doc: "old name of ScatterElements",
	},
	{
		Name: "ScatterElements", Since: 11, Inputs: scatterIn(indexElem), Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{attrInt("axis", 0)}, Infer: inferScatterElements, Doc: "data with elements along an axis replaced by updates",
	},
	{
		Name: "ScatterElements", Since: 16, Inputs: scatterIn(indexElem), Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{attrInt("axis", 0), attrStr("reduction", "none")}, Infer: inferScatterElements,
		Doc: "data with elements along an axis replaced by, or combined with, updates",
	},
	{Name: "ScatterND", Since: 11, Inputs: scatterIn(int64Elem), Outputs: unaryOut(anyElem), Infer: inferScatterND, Doc: "data with slices at index tuples replaced by updates"},
	{
		Name: "ScatterND", Since: 16, Inputs: scatterIn(int64Elem), Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{attrStr("reduction", "none")}, Infer: inferScatterND, Doc: "data with slices at index tuples replaced by, or combined with, updates",
	},
	{
		Name: "OneHot", Since: 9, Inputs: []Param{one("indices", "", numElem), one("depth", "", numElem), one("values", "T", anyElem)}, Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{attrInt("axis", -1)}, Infer: inferOneHot, Doc: "values[1] at the index along a new axis, values[0] elsewhere",
	},
	{Name: "NonZero", Since: 9, Inputs: unaryIn(anyElem), Outputs: []Param{one("Y", "", int64Elem)}, Infer: inferNonZero, Doc: "indices of the elements that are not 0, one column each"},
	{
		Name: "Compress", Since: 9, Inputs: []Param{one("input", "T", anyElem), one("condition", "", boolElem)}, Outputs: unaryOut(anyElem),
		Attrs: []AttrSpec{may("axis", graph.AttrInt)}, Infer: inferCompress, Doc: "slices along an axis where a condition holds",
	},
}

func scatterIn(index Elems) []Param {
	return []Param{one("data", "T", anyElem), one("indices", "", index), one("updates", "T", anyElem)}
}

func inferGather(c *Context) error {
	data, ok := c.Dims(0)
	if !ok {
		return nil
	}
	if len(data) == 0 {
		return c.fail("data is a scalar")
	}
	axis, err := c.axis("axis", len(data))
	if err != nil {
		return err
	}
	index, ok := c.Dims(1)
	if !ok {
		return nil
	}
	if err := c.checkIndices(data[axis]); err != nil {
		return err
	}
	out := append([]graph.Dim{}, data[:axis]...)
	out = append(append(out, index...), data[axis+1:]...)
	c.Set(0, out...)
	if content := c.Content(0); content != nil && len(data) == 1 {
		c.setContent(0, pickContent(content, c.Content(1)))
	}
	return nil
}

// checkIndices fails if a short constant index lies outside of a known axis.
func (c *Context) checkIndices(size graph.Dim) error {
	n, ok := size.Size()
	if !ok {
		return nil
	}
	for _, d := range c.Content(1) {
		if i, ok := d.Int(); ok && (i < -n || i >= n) {
			return c.fail("index %d is outside of an axis of size %d", i, n)
		}
	}
	return nil
}

func pickContent(data, index []graph.Dim) []graph.Dim {
	return mapContent(index, func(d graph.Dim) graph.Dim {
		i, ok := d.Int()
		if ok && i < 0 {
			i += int64(len(data))
		}
		if !ok || i < 0 || i >= int64(len(data)) {
			return graph.UnknownDim
		}
		return data[i]
	})
}

func inferGatherElements(c *Context) error {
	if err := c.elementsAxis(); err != nil {
		return err
	}
	c.like(0, 1)
	return nil
}

// elementsAxis checks data, indices and axis of GatherElements and ScatterElements.
func (c *Context) elementsAxis() error {
	data, ok := c.Dims(0)
	if !ok {
		return nil
	}
	if len(data) == 0 {
		return c.fail("data is a scalar")
	}
	if _, err := c.axis("axis", len(data)); err != nil {
		return err
	}
	return c.wantRank(1, len(data))
}

func inferScatterElements(c *Context) error {
	if err := c.elementsAxis(); err != nil {
		return err
	}
	if err := c.checkReduction(); err != nil {
		return err
	}
	index, ok1 := c.Dims(1)
	updates, ok2 := c.Dims(2)
	if ok1 && ok2 && !sameDims(index, updates) {
		return c.fail("indices of type %s and updates of type %s differ in shape", c.Type(1), c.Type(2))
	}
	return sameShape(c)
}

func (c *Context) checkReduction() error {
	switch r := c.Str("reduction"); r {
	case "", "none", "add", "mul":
	case "max", "min":
		if c.Opset < 18 {
			return c.fail("reduction %q needs opset 18", r)
		}
	default:
		return c.fail("reduction is %q, want none, add, mul, max or min", r)
	}
	return nil
}

// sameDims reports whether two shapes may be equal.
func sameDims(a, b []graph.Dim) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if _, ok := mergeDim(a[i], b[i]); !ok {
			return false
		}
	}
	return true
}

// tupleShape splits the shape of index tuples over data from dimension batch on: the shape of the list of tuples, and
// that of the slices they name.
func (c *Context) tupleShape(batch int) (list, slice []graph.Dim, ok bool, err error) {
	data, ok0 := c.Dims(0)
	index, ok1 := c.Dims(1)
	if ok0 && len(data) == 0 || ok1 && len(index) == 0 {
		return nil, nil, false, c.fail("data of type %s and indices of type %s; neither may be a scalar", c.Type(0), c.Type(1))
	}
	if !ok0 || !ok1 {
		return nil, nil, false, nil
	}
	if batch < 0 || batch >= min(len(data), len(index)) {
		return nil, nil, false, c.fail("batch_dims is %d, want 0..%d", batch, min(len(data), len(index))-1)
	}
	k, known := index[len(index)-1].Size()
	if !known {
		return nil, nil, false, nil
	}
	if k < 1 || k > int64(len(data)-batch) {
		return nil, nil, false, c.fail("index tuples have length %d, want 1..%d for data of type %s", k, len(data)-batch, c.Type(0))
	}
	return index[:len(index)-1], data[batch+int(k):], true, nil
}

func inferGatherND(c *Context) error {
	batch := c.Int("batch_dims")
	if batch < 0 || batch > maxRank {
		return c.fail("batch_dims is %d", batch)
	}
	list, slice, ok, err := c.tupleShape(int(batch))
	if err != nil || !ok {
		return err
	}
	c.Set(0, append(append([]graph.Dim{}, list...), slice...)...)
	return nil
}

func inferScatterND(c *Context) error {
	if err := c.checkReduction(); err != nil {
		return err
	}
	list, slice, ok, err := c.tupleShape(0)
	if err != nil {
		return err
	}
	if updates, ranked := c.Dims(2); ok && ranked {
		want := append(append([]graph.Dim{}, list...), slice...)
		if !sameDims(updates, want) {
			return c.fail("updates have type %s, want shape %v", c.Type(2), want)
		}
	}
	return sameShape(c)
}

func inferOneHot(c *Context) error {
	if err := c.wantRank(2, 1); err != nil {
		return err
	}
	if n, ok := c.length(2); ok && n != 2 {
		return c.fail("%s has type %s, want two elements", c.inputName(2), c.Type(2))
	}
	if err := c.wantOne(1); err != nil {
		return err
	}
	index, ok := c.Dims(0)
	if !ok {
		return nil
	}
	axis, err := c.axis("axis", len(index)+1)
	if err != nil {
		return err
	}
	depth := graph.UnknownDim
	if content := c.Content(1); len(content) == 1 {
		depth = content[0]
	}
	out := append([]graph.Dim{}, index[:axis]...)
	out = append(append(out, depth), index[axis:]...)
	c.Set(0, out...)
	return nil
}

func inferNonZero(c *Context) error {
	rows := graph.UnknownDim
	if dims, ok := c.Dims(0); ok {
		rows = graph.Known(int64(len(dims)))
	}
	c.Set(0, rows, graph.UnknownDim)
	return nil
}

func inferCompress(c *Context) error {
	if err := c.wantRank(1, 1); err != nil {
		return err
	}
	count := graph.UnknownDim
	if v, ok := c.ints(1); ok {
		n := int64(0)
		for _, b := range v {
			n += b
		}
		count = graph.Known(n)
	}
	a, ok := c.Attr("axis")
	if !ok {
		c.Set(0, count)
		return nil
	}
	dims, ranked := c.Dims(0)
	if !ranked {
		return nil
	}
	axis, err := c.normAxis("axis", a.I, len(dims))
	if err != nil {
		return err
	}
	out := append([]graph.Dim{}, dims...)
	out[axis] = count
	c.Set(0, out...)
	return nil
}
