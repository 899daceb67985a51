package autodiff

import (
	"github.com/asdlc/asdlc/graph"
)

// cut is one sliced axis of a Slice node.
type cut struct {
	axis  int
	start piece // as given: negative ones count from the end
	step  int64
	k     int // position among the starts
}

// vjpSlice puts g back into zeros: by Pad along axes with step 1, else by gathering, for each position of the input, its
// element of g or a zero behind its end.
func vjpSlice(c *Call) []*graph.Value {
	x, g := c.In(0), c.d(0)
	cuts := c.cuts(x)
	if cuts == nil {
		return nil
	}
	rank := x.Type.Rank()
	before, after := make([]piece, rank), make([]piece, rank)
	padded := false
	for _, cut := range cuts {
		if cut.step == 1 {
			before[cut.axis], after[cut.axis] = c.margins(x, g, cut)
			padded = true
		}
	}
	for _, cut := range cuts {
		if cut.step != 1 {
			g = c.unstride(x, g, cut)
		}
	}
	if padded {
		g = c.Op("Pad", []*graph.Value{g, c.shape(append(before, after...)...)})
	}
	return []*graph.Value{g}
}

// cuts reads the sliced axes; nil means that the node was reported.
func (c *Call) cuts(x *graph.Value) []cut {
	starts, known := constInts(c.In(1))
	n := int64(len(starts))
	if !known && c.In(1).Type.Rank() == 1 {
		n, _ = c.In(1).Type.Dims[0].Size()
	}
	axes, ok := constInts(c.In(3))
	if c.In(3) == nil {
		axes, ok = axesFrom(0, int(n)), true
	}
	steps, stepped := constInts(c.In(4))
	if !ok || !x.Type.Ranked || (c.In(4) != nil && !stepped) || int64(len(axes)) != n {
		c.unsupported("the rank of %s, the axes or the steps are not constant; fix the input shapes of the model", x)
		return nil
	}
	cuts := make([]cut, n)
	for k := range cuts {
		cuts[k] = cut{axis: int(axis(axes[k], x.Type.Rank())), step: 1, k: k}
		if stepped {
			cuts[k].step = steps[k]
		}
		if known {
			cuts[k].start = num(starts[k])
			continue
		}
		at := []int64{int64(k)}
		cuts[k].start.v = c.Cast(c.Slice(c.In(1), at, []int64{int64(k) + 1}, []int64{0}), graph.Int64)
	}
	return cuts
}

// margins is how many positions of the axis lie before and after the part that was cut out.
func (c *Call) margins(x, g *graph.Value, cut cut) (before, after piece) {
	size, part := c.dimPiece(x, cut.axis), c.dimPiece(g, cut.axis)
	before = c.clampStart(cut.start, size)
	if before.v == nil && size.v == nil && part.v == nil {
		return before, num(size.n - part.n - before.n)
	}
	return before, piece{v: c.Sub(c.Sub(c.tensor(size), c.tensor(part)), c.tensor(before))}
}

// tensor is a piece as an int64 tensor of shape [1].
func (c *Call) tensor(p piece) *graph.Value {
	if p.v != nil {
		return p.v
	}
	return c.Ints(p.n)
}

// clampStart is a start of Slice as a position from 0 to size.
func (c *Call) clampStart(start, size piece) piece {
	if start.v == nil && size.v == nil {
		return num(max(0, min(axis(start.n, int(size.n)), size.n)))
	}
	if start.v == nil && start.n == 0 {
		return start
	}
	s, d, zero := c.tensor(start), c.tensor(size), c.Ints(0)
	if start.v != nil || start.n < 0 {
		s = c.Where(c.Compare("Less", s, zero), c.Add(s, d), s)
	}
	s = c.Op("Min", []*graph.Value{c.Op("Max", []*graph.Value{s, zero}), d})
	return piece{v: s}
}

// unstride undoes a Slice with a step along one axis.
func (c *Call) unstride(x, g *graph.Value, cut cut) *graph.Value {
	pick := func(i int) *graph.Value {
		at := int64(cut.k)
		return c.Slice(c.In(i), []int64{at}, []int64{at + 1}, []int64{0})
	}
	index := c.Cast(pick(1), graph.Int64) // starts and ends may be int32
	end := c.Cast(pick(2), graph.Int64)
	from := c.Op("Slice", []*graph.Value{c.positions(x, cut.axis), index, end, c.Ints(0), c.Ints(cut.step)})
	part := c.DimOf(g, cut.axis)
	zeroAt := c.Expand(part, c.DimOf(x, cut.axis))
	to := c.Op("ScatterElements", []*graph.Value{zeroAt, from, c.positions(g, cut.axis)}, graph.I("axis", 0))
	pads := make([]int64, 2*g.Type.Rank())
	pads[g.Type.Rank()+cut.axis] = 1
	return c.Gather(c.Op("Pad", []*graph.Value{g, c.Ints(pads...)}), to, int64(cut.axis))
}
