package autodiff

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// unbroadcast sums g over the dimensions along which a value of like's shape was broadcast to g's. Where it is not
// known before the run whether a dimension d of like (out of D of g) is 1 or D, g is folded to [D/d, d] and summed
// over the first part. A nil g is zero.
func (c *Call) unbroadcast(g, like *graph.Value) *graph.Value {
	if g == nil || op.SameShape(g, like) {
		return g
	}
	if !g.Type.Ranked || !like.Type.Ranked {
		c.unsupported("the rank of %s is not known; fix the input shapes of the model", like)
		return nil
	}
	lead := len(g.Type.Dims) - len(like.Type.Dims)
	var summed []int64
	open := false
	for i := range g.Type.Dims {
		switch {
		case i < lead:
			summed = append(summed, int64(i))
		case mayBeOne(like.Type.Dims[i-lead], g.Type.Dims[i]):
			open = true
		case like.Type.Dims[i-lead] == graph.Known(1) && g.Type.Dims[i] != graph.Known(1):
			summed = append(summed, int64(i))
		}
	}
	switch {
	case open:
		return c.foldSum(g, like, lead)
	case len(summed) == 0:
		return g
	case lead == 0:
		return c.SumKeep(g, summed...)
	case len(summed) == lead:
		return c.Sum(g, summed...)
	}
	return c.ReshapeTo(c.Sum(g, summed...), c.ShapeOf(like))
}

// mayBeOne reports whether it is open if a dimension d was broadcast to the dimension to.
func mayBeOne(d, to graph.Dim) bool {
	_, known := d.Size()
	return !known && to != graph.Known(1) && (d != to || d.IsUnknown())
}

// foldSum is unbroadcast by run-time shapes.
func (c *Call) foldSum(g, like *graph.Value, lead int) *graph.Value {
	var shape []piece
	var summed []int64
	for i, to := range g.Type.Dims {
		dim := c.dimPiece(g, i)
		if i >= lead && mayBeOne(like.Type.Dims[i-lead], to) {
			d := c.dimPiece(like, i-lead)
			atLeastOne := c.Op("Max", []*graph.Value{c.tensor(d), c.Ints(1)})
			summed = append(summed, int64(len(shape)))
			shape = append(shape, piece{v: c.Div(c.tensor(dim), atLeastOne)}, d)
			continue
		}
		if i < lead || like.Type.Dims[i-lead] == graph.Known(1) && to != graph.Known(1) {
			summed = append(summed, int64(len(shape)))
			shape = append(shape, dim)
			if i >= lead {
				shape = append(shape, num(1))
			}
			continue
		}
		shape = append(shape, dim)
	}
	return c.Sum(c.reshapeZero(g, c.shape(shape...)), summed...)
}

// reshapeZero reshapes to a shape tensor in which 0 means 0.
func (c *Call) reshapeZero(x, shape *graph.Value) *graph.Value {
	return c.Op("Reshape", []*graph.Value{x, shape}, graph.I("allowzero", 1))
}
