package autodiff

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// det is the product of the pivots of Gaussian elimination with complete pivoting, with the sign of the permutation.
// Zero pivots come last, so that the derivative is that of the product also where the matrix is singular by one rank.
func det(c *Call) []*graph.Value {
	x := c.In(0)
	rank := x.Type.Rank()
	if rank < 2 {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	}
	size := c.dimPiece(x, rank-1)
	a := c.ReshapeTo(x, c.shape(num(-1), size, size)) // [B, n, n]
	none := c.Full(c.ShapeOf(a), x.Type.Elem, 0)
	outs := c.emitLoop("pivots", c.Squeeze(c.tensor(size), 0), nil, []*graph.Value{a, none}, nil, pivot, 1)
	sign := c.Unary("Det", c.Unary("Round", outs[1])) // Round has no derivative: else this one would ask for itself
	product := c.Mul(sign, c.Reduce("ReduceProd", outs[2], false, 0))
	return []*graph.Value{c.ReshapeTo(product, c.ShapeOf(c.Out(0)))}
}

// pivot eliminates the row and the column of the largest element that is in none of those before. States are the
// matrices and the permutation so far, [B, n, n]; the pivots [B] are scanned.
func pivot(b *op.Builder, _ *graph.Value, in []*graph.Value) []*graph.Value {
	a, taken := in[0], in[1]
	used := b.Op("Max", []*graph.Value{b.SumKeep(taken, 2), b.SumKeep(taken, 1)})
	free := b.Sub(b.FloatLike(a, 1), used)
	candidates := b.Sub(b.Mul(b.Unary("Abs", a), free), used) // -1 where used
	hot := b.Op("Hardmax", []*graph.Value{b.Reshape(candidates, 0, -1)}, graph.I("axis", -1))
	hot = b.ReshapeTo(hot, b.ShapeOf(a))
	top := b.SumKeep(b.Mul(a, hot), 1, 2)
	column, row := b.SumKeep(b.Mul(a, b.SumKeep(hot, 1)), 2), b.SumKeep(b.Mul(a, b.SumKeep(hot, 2)), 1)
	zero := b.Compare("Equal", top, b.FloatLike(top, 0))
	rest := b.Sub(a, b.Mul(column, b.Div(row, b.Where(zero, b.FloatLike(top, 1), top))))
	return []*graph.Value{rest, b.Add(taken, hot), b.Squeeze(top, 1, 2)}
}
