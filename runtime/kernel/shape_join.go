package kernel

import "github.com/asdlc/asdlc/graph"

// makeConcat joins the inputs along an axis. Of each input, one run of bytes goes to each position of the axes before.
func makeConcat(c *Call) (Run, error) {
	out := c.Out[0].Shape
	axis, err := c.axis("axis", 1, len(out)) // before opset 4 the axis was optional
	if err != nil {
		return nil, err
	}
	if err := c.sameElem(0); err != nil {
		return nil, err
	}
	total := 0
	for i, in := range c.In {
		if !in.Present || len(in.Shape) != len(out) {
			return nil, c.Errorf(graph.ErrInvalid, "input %d of shape %v does not fit output shape %v", i, in.Shape, out)
		}
		total += in.Shape[axis]
	}
	if total != out[axis] {
		return nil, c.Errorf(graph.ErrInvalid, "the inputs have %d entries along axis %d, the output %d", total, axis, out[axis])
	}
	outer, inner := Count(out[:axis]), Count(out[axis+1:])*c.Out[0].Elem.Size()
	var ins []*Tensor
	var dst []byte
	body := func(lo, hi int) {
		at := 0
		for k, t := range ins {
			run := c.In[k].Shape[axis] * inner
			for o := lo; o < hi; o++ {
				copy(dst[o*total*inner+at:][:run], t.Raw[o*run:][:run])
			}
			at += run
		}
	}
	grain := 1 + 8*grainCheap/(total*inner+1)
	return func(in, out []*Tensor) error {
		ins, dst = in, out[0].Raw
		c.Pool.For(outer, grain, body)
		return nil
	}, nil
}

// makeSplit cuts input 0 along an axis into the outputs. The sizes are those of the outputs' shapes; for outputs that
// nobody uses they come from the attribute or input split, or are equal parts.
func makeSplit(c *Call) (Run, error) {
	if err := c.needs(1); err != nil {
		return nil, err
	}
	x := c.In[0].Shape
	axis, err := c.axis("axis", 0, len(x))
	if err != nil {
		return nil, err
	}
	if c.has(1) {
		if err := c.indices(1); err != nil {
			return nil, err
		}
	}
	list := c.Node.IntList("split")
	parts := int(c.Node.Int("num_outputs", int64(len(c.Out))))
	part := (x[axis] + parts - 1) / max(parts, 1)
	sizes := make([]int, len(c.Out))
	outer, inner := Count(x[:axis]), Count(x[axis+1:])*c.In[0].Elem.Size()
	var outs []*Tensor
	var src []byte
	body := func(lo, hi int) {
		at := 0
		for k, t := range outs {
			run := sizes[k] * inner
			if t != nil {
				for o := lo; o < hi; o++ {
					copy(t.Raw[o*run:][:run], src[o*x[axis]*inner+at:][:run])
				}
			}
			at += run
		}
	}
	grain := 1 + 8*grainCheap/(x[axis]*inner+1)
	return func(in, out []*Tensor) error {
		left := x[axis]
		for k := range sizes {
			switch {
			case c.Out[k].Present:
				sizes[k] = c.Out[k].Shape[axis]
			case k < len(list):
				sizes[k] = int(list[k])
			case input(in, 1) != nil:
				sizes[k] = indexAt(in[1], k)
			default:
				sizes[k] = min(part, left)
			}
			left -= sizes[k]
			if sizes[k] < 0 || left < 0 {
				return c.Errorf(graph.ErrInvalid, "the parts exceed the %d entries of axis %d", x[axis], axis)
			}
		}
		outs, src = out, in[0].Raw
		c.Pool.For(outer, grain, body)
		return nil
	}, nil
}

func joinRows() []Row {
	return []Row{
		{Op: "Concat", Note: "portable", Make: makeConcat},
		{Op: "Split", Note: "portable", Make: makeSplit},
	}
}
