package op

import "github.com/asdlc/asdlc/graph"

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
