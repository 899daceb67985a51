package precondition

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// residualBlock is kronBlock with what the Kronecker product misses of the newest gradients: C = K + U^T U / m for the damped
// K = S (x) A and m rows U, and by Sherman, Morrison and Woodbury
//
//	C^-1 g = K^-1 g - K^-1 U^T (m I + U K^-1 U^T)^-1 U K^-1 g.
//
// A row is the training gradient of a step times the root of the data size, so that under sampled labels the mean of its outer
// product is the Fisher matrix, less the part that K explains: of c^T C c in the metric of K^-1, q = u^T K^-1 u, vectors of
// covariance S (x) A have the mean e = tr(A A^-1) tr(S S^-1), and u is shortened by the root of 1 - e/q (to nothing where q <= e).
func (e *engine) residualBlock(bl *block, cap *captured, v view) *block {
	m := int64(e.rec.Representation.Rank)
	bl.guard, bl.side = true, m
	bl.note.Treatment += fmt.Sprintf(", and the residuals of %d gradients", m)
	inverses := bl.solve
	bl.solve = nil
	bl.sols = append(bl.sols, curvature("explained", nil, "ones"), curvature("U", append([]int64{m}, v.shape(v.out, v.in)...), "zeros"))
	bl.renew = func(b *op.Builder, stats, sols []*graph.Value) []*graph.Value {
		next, _ := inverses(b, stats)
		explained := b.Mul(traces(b, b.MatMul(stats[0], next[0])), traces(b, b.MatMul(stats[1], next[1])))
		if v.groups > 1 {
			explained = b.Sum(explained)
		}
		return []*graph.Value{next[0], next[1], explained, sols[3]}
	}
	bl.play = func(b *op.Builder, lv *live, grads []*graph.Value) []*graph.Value {
		g := v.gradient(b, grads)
		row := b.Mul(g, b.Sqrt(e.dataSize()))
		if s := e.rec.Apply.Scale; s != 0 {
			row = b.Scale(row, 1/s) // of the gradient itself
		}
		rows := e.pushedRow(b, lv, 3, row)
		apply := func(x *graph.Value) *graph.Value { return b.MatMul(b.MatMul(lv.sols[1], x), lv.sols[0]) }
		return v.parameters(b, e.withResiduals(b, rows, lv.sols[2], g, apply), nil, grads)
	}
	return bl
}

// pushedRow puts a row at the end of the rows that sols[at] keeps, whose oldest makes way. A row that is not finite leaves them
// as they are.
func (e *engine) pushedRow(b *op.Builder, lv *live, at int, row *graph.Value) *graph.Value {
	rows := shifted(b, lv.sols[at], row)
	if e.rec.Guards.Finite {
		rows = b.Where(e.finite(b, row), rows, lv.sols[at])
	}
	lv.sols = append([]*graph.Value{}, lv.sols...)
	lv.sols[at] = rows
	return rows
}

// shifted are rows without the first and with another at the end.
func shifted(b *op.Builder, rows, row *graph.Value) *graph.Value {
	row = b.Unsqueeze(row, 0)
	if m := side(rows, 0); m > 1 {
		return b.Concat(0, b.Slice(rows, []int64{1}, []int64{m}, []int64{0}), row)
	}
	return row
}

// withResiduals is C^-1 g; apply multiplies by K^-1.
func (e *engine) withResiduals(b *op.Builder, rows, explained, g *graph.Value, apply func(x *graph.Value) *graph.Value) *graph.Value {
	m := side(rows, 0)
	flat := func(x *graph.Value) *graph.Value { return b.Reshape(x, m, -1) }
	zero := b.Float(e.elem, 0)
	d, z := apply(g), apply(rows)
	k := b.Gemm(flat(rows), flat(z), false, true) // U K^-1 U^T of whole gradients
	q := b.Sum(b.Mul(k, eye(b, k)), 1)
	share := b.Where(b.Compare("Greater", q, explained), b.Sub(b.Float(e.elem, 1), b.Div(explained, q)), zero)
	w := b.Unsqueeze(b.Sqrt(share), 1)
	k = b.Mul(b.Mul(k, w), b.Swap(w))
	inverse := call(b, inverseFunction(m), b.Add(k, b.Scale(eye(b, k), float64(m))))
	along := b.Mul(b.MatMul(flat(rows), b.Reshape(d, -1, 1)), w)
	c := b.Mul(b.MatMul(inverse, along), w)
	return b.Sub(d, b.ReshapeLike(b.Gemm(flat(z), c, true, false), d))
}
