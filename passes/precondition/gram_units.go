package precondition

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// gramUnits preconditions each output's incoming weights by their own Fisher matrix F_k (unit-wise natural gradient, Ollivier
// 2015) through the Gram matrix of the examples' gradients U_k, N x i+:
//
//	(F_k + lambda I)^-1 g_k = (g_k - U_k^T v_k / n) / lambda,  v_k = (lambda I + U_k U_k^T / n)^-1 U_k g_k
//
// so that no matrix of i+ rows is made. With one position, U_k is the rows a_n times d_nk: all units share one A A^T, and
// U_k U_k^T = (d_k d_k^T) o A A^T.
type gramUnits struct {
	*engine
	cap *captured
	v   view
}

func (t *gramUnits) describe() string {
	return fmt.Sprintf("%d units of %d, Gram matrices of gradients", t.v.groups*t.v.out, t.v.in) + positionNotes[t.rec.Curvature.Sharing]
}

func (t *gramUnits) rows(b *op.Builder) examples { return t.examplesOf(b, t.cap, t.v) }

func (t *gramUnits) spread(b *op.Builder, x examples) examples { return t.spreadOut(b, t.cap, t.v, x) }

func (t *gramUnits) shapes() (a, d, inverse rowShape, ok bool) {
	a, d, ok = t.keptShapes(t.cap, t.v)
	return a, d, rowShape{t.v.groups * t.v.out, nil}, ok
}

func (t *gramUnits) sketches() []sketch { return nil }

func (t *gramUnits) draw(*op.Builder, sketch) *graph.Value { return nil }

// shared reports whether all units' rows are multiples of the same.
func (t *gramUnits) shared(x examples) bool {
	positions, known := x.a.Type.Dims[x.a.Type.Rank()-2].Size()
	return known && positions == 1 && t.v.groups == 1
}

// unitRows are U_k, [units, N, i+].
func (t *gramUnits) unitRows(b *op.Builder, x examples) *graph.Value {
	u := b.MatMul(b.Swap(x.d), x.a)
	if t.v.groups > 1 {
		return b.Reshape(b.Transpose(u, 0, 2, 1, 3), t.v.groups*t.v.out, -1, t.v.in)
	}
	return b.Transpose(u, 1, 0, 2)
}

func (t *gramUnits) solve(b *op.Builder, x examples, _ []*graph.Value) *graph.Value {
	var k *graph.Value
	if t.shared(x) {
		d := b.Swap(b.Squeeze(x.d, 1)) // [o, N]
		k = b.Mul(b.Mul(b.Unsqueeze(d, 2), b.Unsqueeze(d, 1)), products(b, b.Squeeze(x.a, 1)))
	} else {
		k = products(b, t.unitRows(b, x))
	}
	return t.inverseOf(b, b.Div(k, x.n), t.damping())
}

func (t *gramUnits) apply(b *op.Builder, x examples, _ []*graph.Value, inverse *graph.Value, grads []*graph.Value) []*graph.Value {
	g := t.v.gradient(b, grads)
	var along *graph.Value // U_k g_k, [units, N, 1]
	if t.shared(x) {
		along = b.Unsqueeze(b.Mul(b.Gemm(g, b.Squeeze(x.a, 1), false, true), b.Swap(b.Squeeze(x.d, 1))), 2)
	} else {
		along = b.MatMul(t.unitRows(b, x), b.Reshape(g, t.v.groups*t.v.out, t.v.in, 1))
	}
	d := b.Div(b.Sub(g, b.Div(t.back(b, x, b.MatMul(inverse, along)), x.n)), t.damping())
	return t.v.parameters(b, d, nil, grads)
}

// back is U_k^T v_k in the shape of Ŵ, for v of [units, N, 1].
func (t *gramUnits) back(b *op.Builder, x examples, v *graph.Value) *graph.Value {
	if t.shared(x) {
		return b.MatMul(b.Mul(b.Squeeze(v, 2), b.Swap(b.Squeeze(x.d, 1))), b.Squeeze(x.a, 1))
	}
	return b.Reshape(b.MatMul(b.Swap(t.unitRows(b, x)), v), t.v.shape(t.v.out, t.v.in)...)
}

func (t *gramUnits) sum(b *op.Builder, x examples, v *graph.Value, grads []*graph.Value) []*graph.Value {
	return t.v.parameters(b, t.back(b, x, v), nil, grads)
}

func (t *gramUnits) whole() bool { return !t.cutting(t.cap, t.v) }
