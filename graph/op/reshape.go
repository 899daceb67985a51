package op

import "github.com/asdlc/asdlc/graph"

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
