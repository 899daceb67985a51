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

func inferReshape(c *Context) error {
	want := c.Content(1)
	if err := c.wantRank(1, 1); err != nil {
		return err
	}
	if want == nil {
		if n, ok := c.length(1); ok {
			c.Set(0, unknownDims(n)...)
		}
		return nil
	}
	in, ranked := c.Dims(0)
	r := reshape{c: c, in: in, ranked: ranked, want: want, zeros: c.Int("allowzero") != 0}
	out, err := r.solve()
	if err != nil {
		return err
	}
	c.Set(0, out...)
	if content := c.Content(0); content != nil && len(out) <= 1 {
		c.setContent(0, content)
	}
	return nil
}

// reshape solves for the output of a Reshape. Dimensions that are copied take no part in the balance of elements, so
// that unknown ones do no harm.
type reshape struct {
	c      *Context
	in     []graph.Dim
	ranked bool
	want   []graph.Dim
	zeros  bool // 0 means a size of 0
}

func (r *reshape) solve() ([]graph.Dim, error) {
	out := make([]graph.Dim, len(r.want))
	copied := make([]bool, len(r.in))
	open, inferred := -1, false // the dimension to solve for, and whether it is a -1
	opens := 0
	var rest []graph.Dim // dimensions that balance against those of the input
	for i, d := range r.want {
		n, known := d.Int()
		switch {
		case known && n == 0 && !r.zeros && r.ranked:
			if i >= len(r.in) {
				return nil, r.c.fail("shape %v copies dimension %d, which data of type %s lacks", r.want, i, r.c.Type(0))
			}
			out[i], copied[i] = r.in[i], true
			continue
		case known && n == 0 && !r.zeros:
			out[i] = graph.UnknownDim
			opens++
			open = i
			continue
		case known && n == -1 && inferred:
			return nil, r.c.fail("shape %v has -1 twice", r.want)
		case known && n < -1:
			return nil, r.c.fail("shape %v has the negative size %d", r.want, n)
		case known && n == -1:
			open, inferred = i, true
			opens++
		case d.IsUnknown():
			if !inferred {
				open = i
			}
			opens++
		default:
			rest = append(rest, d)
		}
		out[i] = d
		if known && n == -1 {
			out[i] = graph.UnknownDim
		}
	}
	if !r.ranked {
		return out, nil
	}
	var have []graph.Dim
	for i, d := range r.in {
		if !copied[i] {
			have = append(have, d)
		}
	}
	return out, r.balance(out, have, rest, open, opens, inferred)
}

// balance equates the products of have and rest, and of the open dimension if there is just one.
func (r *reshape) balance(out, have, rest []graph.Dim, open, opens int, inferred bool) error {
	total, err := r.c.product(have)
	if err != nil {
		return err
	}
	given, err := r.c.product(rest)
	if err != nil {
		return err
	}
	t, okt := total.Size()
	g, okg := given.Size()
	mismatch := func() error {
		return r.c.fail("data of type %s cannot take the shape %v", r.c.Type(0), r.want)
	}
	switch {
	case opens > 1:
		return nil
	case opens == 0:
		if okt && okg && t != g {
			return mismatch()
		}
		return nil
	case okg && g == 0:
		if inferred {
			return r.c.fail("shape %v has -1 beside a size of 0", r.want)
		}
		return nil
	case okt && okg && t%g != 0:
		return mismatch()
	}
	q := total.Div(given)
	if _, known := q.Size(); !known && q.Mul(given) != total {
		q = r.cancel(have, rest)
	}
	out[open] = q
	return nil
}

// cancel divides after striking dimensions that both sides have.
func (r *reshape) cancel(have, rest []graph.Dim) graph.Dim {
	have, rest = append([]graph.Dim{}, have...), append([]graph.Dim{}, rest...)
	for i := 0; i < len(rest); i++ {
		for k, d := range have {
			if d == rest[i] {
				have = append(have[:k], have[k+1:]...)
				rest = append(rest[:i], rest[i+1:]...)
				i--
				break
			}
		}
	}
	total, err := r.c.product(have)
	if err != nil {
		return graph.UnknownDim
	}
	given, err := r.c.product(rest)
	if err != nil {
		return graph.UnknownDim
	}
	return total.Div(given)
}

func inferFlatten(c *Context) error {
	dims, ok := c.Dims(0)
	if !ok {
		c.Set(0, graph.UnknownDim, graph.UnknownDim)
		return nil
	}
	axis := c.Int("axis")
	r := int64(len(dims))
	if axis < 0 && c.Opset >= 11 {
		axis += r
	}
	if axis < 0 || axis > r {
		return c.fail("axis is %d, want at most %d for data of type %s", c.Int("axis"), r, c.Type(0))
	}
	rows, err := c.product(dims[:axis])
	if err != nil {
		return err
	}
	cols, err := c.product(dims[axis:])
	c.Set(0, rows, cols)
	return err
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

func inferConcat(c *Context) error {
	rank := -1
	for i := range c.In {
		if dims, ok := c.Dims(i); ok {
			if rank >= 0 && rank != len(dims) {
				return c.fail("inputs %s differ in rank", c.inputTypes())
			}
			rank = len(dims)
		}
	}
	if rank < 0 {
		return nil
	}
	axis, err := c.axis("axis", rank)
	if err != nil {
		return err
	}
	out := unknownDims(rank)
	out[axis] = graph.Known(0)
	for i := range c.In {
		dims, ok := c.Dims(i)
		if !ok {
			out[axis] = graph.UnknownDim
			continue
		}
		for k, d := range dims {
			if k == axis {
				out[k] = addDim(out[k], d)
			} else if out[k], ok = mergeDim(out[k], d); !ok {
				return c.fail("inputs %s differ in dimension %d", c.inputTypes(), k)
			}
		}
	}
	c.Set(0, out...)
	if rank == 1 {
		c.setContent(0, c.concatContent())
	}
	return nil
}

// concatContent joins the contents of vectors; elements of which nothing is known are unknown.
func (c *Context) concatContent() []graph.Dim {
	all := []graph.Dim{}
	for i := range c.In {
		part := c.Content(i)
		if part == nil {
			n, ok := c.length(i)
			if !ok {
				return nil
			}
			part = unknownDims(n)
		}
		if all = append(all, part...); len(all) > maxContent {
			return nil
		}
	}
	return all
}

func inferSplit(c *Context) error {
	dims, ranked := c.Dims(0)
	if !ranked {
		return nil
	}
	axis, err := c.axis("axis", len(dims))
	if err != nil {
		return err
	}
	sizes, err := c.splitSizes(dims[axis])
	if err != nil {
		return err
	}
	content, at := c.Content(0), int64(0)
	for i, size := range sizes {
		out := append([]graph.Dim{}, dims...)
		out[axis] = size
		c.Set(i, out...)
		n, ok := size.Size()
		if content == nil || !ok || at+n > int64(len(content)) {
			content = nil
			continue
		}
		c.setContent(i, content[at:at+n])
		at += n
	}
	return nil
}

// splitSizes gives the size of each output along the axis of size total.
func (c *Context) splitSizes(total graph.Dim) ([]graph.Dim, error) {
	n := int64(len(c.Out))
	if c.Has(1) {
		content := c.Content(1)
		if content == nil {
			return unknownDims(int(n)), nil
		}
		return content, c.checkSplit(content, total)
	}
	if split, ok := c.Ints("split"); ok {
		content := knownDims(split)
		return content, c.checkSplit(content, total)
	}
	if a, ok := c.Attr("num_outputs"); ok && a.I != n {
		return nil, c.fail("num_outputs is %d, but there are %d outputs", a.I, n)
	}
	_, uneven := c.Attr("num_outputs")
	size, known := total.Size()
	part := total.Div(graph.Known(n))
	sizes := make([]graph.Dim, n)
	switch {
	case known && size%n != 0 && uneven: // the last part is smaller
		part = graph.Known((size + n - 1) / n)
	case known && size%n != 0:
		return nil, c.fail("axis of size %d does not split into %d equal parts", size, n)
	case !known && part.Mul(graph.Known(n)) != total && uneven:
		part = graph.UnknownDim
	}
	for i := range sizes {
		sizes[i] = part
	}
	if p, ok := part.Size(); ok && known {
		last := size - p*(n-1)
		if last < 0 {
			return nil, c.fail("axis of size %d is too short for %d parts", size, n)
		}
		sizes[n-1] = graph.Known(last)
	}
	return sizes, nil
}

func (c *Context) checkSplit(sizes []graph.Dim, total graph.Dim) error {
	if len(sizes) != len(c.Out) {
		return c.fail("split has %d sizes for %d outputs", len(sizes), len(c.Out))
	}
	sum := graph.Known(0)
	for _, s := range sizes {
		if n, ok := s.Int(); ok && n < 0 {
			return c.fail("split %v has a negative size", sizes)
		}
		sum = addDim(sum, s)
	}
	if _, ok := mergeDim(sum, total); !ok {
		return c.fail("split %v does not add up to the axis of size %s", sizes, total)
	}
	return nil
}

func inferSqueeze(c *Context) error {
	dims, ranked := c.Dims(0)
	axes, given, known := c.intsOrAttr(1, "axes")
	content := c.Content(0)
	if !ranked {
		return nil
	}
	if !known {
		if n, ok := c.length(1); ok && n <= len(dims) {
			c.Set(0, unknownDims(len(dims)-n)...)
		}
		return nil
	}
	set, err := c.axisSet("axes", axes, len(dims))
	if err != nil {
		return err
	}
	out := []graph.Dim{}
	for i, d := range dims {
		n, ok := d.Size()
		switch {
		case given && set[i] && ok && n != 1:
			return c.fail("axis %d of data of type %s has not size 1", i, c.Type(0))
		case !given && !ok:
			return nil // the rank depends on it
		case given && !set[i], !given && n != 1:
			out = append(out, d)
		}
	}
	c.Set(0, out...)
	c.setContent(0, content)
	return nil
}

func inferUnsqueeze(c *Context) error {
	dims, ranked := c.Dims(0)
	axes, _, known := c.intsOrAttr(1, "axes")
	if !ranked {
		return nil
	}
	if !known {
		if n, ok := c.length(1); ok {
			c.Set(0, unknownDims(len(dims)+n)...)
		}
		return nil
	}
	if len(axes) > maxRank {
		return c.fail("%d axes", len(axes))
	}
	set, err := c.axisSet("axes", axes, len(dims)+len(axes))
	if err != nil {
		return err
	}
	out := make([]graph.Dim, len(set))
	k := 0
	for i := range out {
		if set[i] {
			out[i] = graph.Known(1)
			continue
		}
		out[i] = dims[k]
		k++
	}
	c.Set(0, out...)
	c.setContent(0, c.Content(0))
	return nil
}

func inferExpand(c *Context) error {
	shape, ok, err := c.shapeInput(1)
	if err != nil || !ok {
		return err
	}
	dims, ranked := c.Dims(0)
	if !ranked {
		return nil
	}
	out, err := broadcastDims(dims, shape)
	if err != nil {
		return c.fail("input of type %s does not expand to %v: %v", c.Type(0), shape, err)
	}
	c.Set(0, out...)
	content := c.Content(0)
	if len(out) == 1 && len(content) == 1 {
		if n, ok := out[0].Size(); ok && n <= maxContent {
			wide := make([]graph.Dim, n)
			for i := range wide {
				wide[i] = content[0]
			}
			content = wide
		}
	}
	c.setContent(0, content)
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
	return sameShape(c)
}
