package precondition

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// rowFactor is a factor C = X^T X that is not formed: X are rows [R, n], or [groups, R, n]. By Sherman, Morrison and Woodbury
//
//	(C + d I)^-1 m = (m - X^T (X X^T + d I)^-1 X m) / d
//
// takes the inverse of an R x R matrix.
type rowFactor struct {
	e *engine
	x *graph.Value
}

// inner is (X X^T + d I)^-1.
func (f rowFactor) inner(b *op.Builder, d *graph.Value) *graph.Value {
	return f.e.inverseOf(b, products(b, f.x), d)
}

// times is (C + d I)^-1 m.
func (f rowFactor) times(b *op.Builder, m, inner, d *graph.Value) *graph.Value {
	through := b.MatMul(inner, b.MatMul(f.x, m))
	return b.Div(b.Sub(m, b.MatMul(b.Swap(f.x), through)), d)
}

// of is y (C + d I)^-1, for rows y.
func (f rowFactor) of(b *op.Builder, y, d *graph.Value) *graph.Value {
	return b.Swap(f.times(b, b.Swap(y), f.inner(b, d), d))
}

// ofItself is X (C + d I)^-1 = (X X^T + d I)^-1 X.
func (f rowFactor) ofItself(b *op.Builder, d *graph.Value) *graph.Value {
	return b.MatMul(f.inner(b, d), f.x)
}

// inverseOf is (m + d I)^-1 where the side of m need not be known.
func (e *engine) inverseOf(b *op.Builder, m, d *graph.Value) *graph.Value {
	if _, ok := m.Type.Dims[m.Type.Rank()-1].Size(); ok {
		return e.inverse(b, m, d)
	}
	first, function := m, inverseFunction(1)
	if m.Type.Rank() == 3 {
		first, function = b.Squeeze(b.Slice(m, []int64{0}, []int64{1}, []int64{0}), 0), batchInverseFunction
	}
	return call(b, function, b.Add(m, b.Mul(eye(b, first), d)))
}
