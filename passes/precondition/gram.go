package precondition

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// examples are gradients of single examples in a layer's Ŵ, in factors: U_n = sum over positions t of d_nt a_nt^T, o x i+.
type examples struct {
	a, d *graph.Value // [N, P, i+] and [N, P, o]; of a layer with groups, [groups, N, P, ...]
	n    *graph.Value // what the sum over examples of U_n U_n^T is divided by, a scalar

	scale  float64 // what U_n is to be multiplied with beside that
	fresh  bool    // the Gram matrix is made on this step
	planes bool    // a and d are transposes of planes of channels
	// sums, if there is one, makes the sums over examples of v_n a_n, [1, P, i+], and of q_n d_n, [1, P, o], for v and q of [N, 1],
	// without a and d.
	sums func(b *op.Builder, v, q *graph.Value) (a, d *graph.Value)
}

// examples collects a and d of all uses of a layer, from what of makes of one: of the gradient g of the un-averaged loss in
// its output. Uses with the same examples are positions of these; other uses, and other draws of labels, are more examples.
func (e *engine) examples(b *op.Builder, cap *captured, of func(l pass.Layer, g *graph.Value) (a, d *graph.Value)) examples {
	expand, shared := e.rec.Curvature.Sharing == "expand", e.together(cap)
	var as, ds []*graph.Value
	for draw := range len(cap.g) {
		var positionsA, positionsD []*graph.Value
		for use, l := range cap.layers {
			g := cap.g[draw][use]
			if cap.factor != nil {
				g = b.Mul(g, cap.factor)
			}
			a, d := of(l, g)
			if expand {
				a, d = apart(b, a), apart(b, d)
			}
			if shared {
				positionsA, positionsD = append(positionsA, a), append(positionsD, d)
			} else {
				as, ds = append(as, a), append(ds, d)
			}
		}
		if shared {
			axis := int64(positionsA[0].Type.Rank() - 2)
			as, ds = append(as, joinedAt(b, axis, positionsA)), append(ds, joinedAt(b, axis, positionsD))
		}
	}
	x := examples{n: e.dataSize(), scale: 1, fresh: true}
	axis := int64(as[0].Type.Rank() - 3)
	x.a, x.d = joinedAt(b, axis, as), joinedAt(b, axis, ds)
	if s := e.rec.Curvature.Samples; e.rec.Curvature.Source == "mc" && s > 1 {
		x.n = b.Scale(x.n, float64(s))
	}
	return x
}

// together reports whether the uses of a layer are positions of the same examples.
func (e *engine) together(cap *captured) bool {
	for _, l := range cap.layers {
		if l.Out.Type.Dims[0] != cap.layers[0].Out.Type.Dims[0] {
			return false
		}
	}
	return e.rec.Curvature.Sharing != "expand"
}

// apart makes every position an example.
func apart(b *op.Builder, x *graph.Value) *graph.Value {
	return b.Unsqueeze(flatRows(b, x), int64(x.Type.Rank()-2))
}

// flatRows is [N P, k] for [N, P, k], or [groups, N P, k] for [groups, N, P, k].
func flatRows(b *op.Builder, x *graph.Value) *graph.Value {
	r := x.Type.Rank()
	k := side(x, r-1)
	if r == 3 {
		return b.Reshape(x, -1, k)
	}
	return b.Reshape(x, 0, -1, k)
}

func joinedAt(b *op.Builder, axis int64, xs []*graph.Value) *graph.Value {
	if len(xs) == 1 {
		return xs[0]
	}
	return b.Concat(axis, xs...)
}

// cut replaces each example's output gradients D_n [P, o] by the nearest matrix of a lower rank, in rank positions (Yang et al.
// 2022, section 3.3): with the first right singular vectors E [o, rank] of D_n, U_n becomes E E^T U_n = E ((D_n E)^T A_n). Where there
// are fewer positions than outputs, the left ones are as good. Examples of no more positions stay.
func (x examples) cut(b *op.Builder, rank int64) examples {
	r := x.a.Type.Rank()
	positions, known := x.a.Type.Dims[r-2].Size()
	o := side(x.d, r-1)
	if known && positions <= rank {
		return x
	}
	if known && positions < o {
		v := b.Swap(leading(b, b.MatMul(x.d, b.Swap(x.d)), positions, rank))
		x.a, x.d, x.sums = b.MatMul(v, x.a), b.MatMul(v, x.d), nil
		return x
	}
	e := leading(b, b.MatMul(b.Swap(x.d), x.d), o, rank)
	x.a, x.d, x.sums = b.MatMul(b.Swap(b.MatMul(x.d, e)), x.a), b.Swap(e), nil
	return x
}

// leading are the eigenvectors of the largest eigenvalues of symmetric matrices m of a side: [..., side, rank].
func leading(b *op.Builder, m *graph.Value, side, rank int64) *graph.Value {
	flat := b.Reshape(m, -1, side, side)
	size := b.Op("Max", []*graph.Value{b.Reduce("ReduceMax", b.Unary("Abs", flat), true, 1, 2), b.FloatLike(m, 1e-30)}) // squares of tiny entries would vanish
	ws := b.Call("BatchEigen", 2, []*graph.Value{b.Div(flat, size)})
	order := b.Node("", "TopK", []*graph.Value{ws[0], b.Ints(rank)}, 2).Outputs()[1]
	order = b.Expand(b.Unsqueeze(order, 1), b.Ints(1, side, 1))
	v := b.Op("GatherElements", []*graph.Value{ws[1], order}, graph.I("axis", 2))
	if m.Type.Rank() == 3 {
		return v
	}
	groups, _ := m.Type.Dims[0].Size()
	return b.Reshape(v, groups, -1, side, rank)
}

// gram is U U^T, [N, N] or [groups, N, N]: sum over t and s of (a_nt.a_ms) (d_nt.d_ms). With one position this is a product of two Gram
// matrices; with more, the sum is taken as it is, or through the gradients U_n themselves, whichever is less work
// for many examples.
func (x examples) gram(b *op.Builder) *graph.Value {
	return b.Scale(x.gramAsStored(b), x.scale*x.scale)
}

func (x examples) gramAsStored(b *op.Builder) *graph.Value {
	r := x.a.Type.Rank()
	switch {
	case x.single():
		return b.Mul(products(b, b.Squeeze(x.a, int64(r-2))), products(b, b.Squeeze(x.d, int64(r-2))))
	case !x.formed():
		pair := func(y *graph.Value) *graph.Value { // [N, N, P, P]
			return b.MatMul(b.Unsqueeze(y, int64(r-2)), b.Swap(b.Unsqueeze(y, int64(r-3))))
		}
		return b.Sum(b.Mul(pair(x.a), pair(x.d)), int64(r-1), int64(r))
	}
	return products(b, x.gradients(b))
}

// single reports whether examples have one position each.
func (x examples) single() bool {
	n, known := x.a.Type.Dims[x.a.Type.Rank()-2].Size()
	return known && n == 1
}

// formed reports whether the gradients U_n are made for the Gram matrix.
func (x examples) formed() bool {
	r := x.a.Type.Rank()
	i, o := side(x.a, r-1), side(x.d, r-1)
	positions, known := x.a.Type.Dims[r-2].Size()
	return !x.single() && !(known && positions*positions*(i+o) < i*o)
}

// gradients are the U_n, [N, o i+] or [groups, N, o i+].
func (x examples) gradients(b *op.Builder) *graph.Value {
	r := x.a.Type.Rank()
	size := side(x.a, r-1) * side(x.d, r-1)
	u := b.MatMul(b.Swap(x.d), x.a)
	if r == 3 {
		return b.Reshape(u, 0, size)
	}
	return b.Reshape(u, 0, 0, size)
}

// products is x x^T over the rows of [..., N, k].
func products(b *op.Builder, x *graph.Value) *graph.Value {
	if x.Type.Rank() == 2 {
		return b.Gemm(x, x, false, true)
	}
	return b.MatMul(x, b.Swap(x))
}

// times is U g, [N, 1] or [groups, N, 1], for a matrix g in the shape of Ŵ.
func (x examples) times(b *op.Builder, g *graph.Value) *graph.Value {
	r := x.a.Type.Rank()
	if x.fresh && x.formed() {
		shape := []int64{-1, 1}
		if r > 3 {
			shape = []int64{0, -1, 1}
		}
		return b.Scale(b.MatMul(x.gradients(b), b.Reshape(g, shape...)), x.scale)
	}
	if r > 3 {
		g = b.Unsqueeze(g, 1)
	}
	var along *graph.Value
	if x.planes {
		along = b.Mul(b.MatMul(g, b.Swap(x.a)), b.Swap(x.d))
	} else {
		along = b.Mul(b.MatMul(x.a, b.Swap(g)), x.d)
	}
	return b.Scale(b.Unsqueeze(b.Sum(along, int64(r-2), int64(r-1)), int64(r-2)), x.scale)
}

// back is U^T v, in the shape of Ŵ, for v of [N, 1] or [groups, N, 1].
func (x examples) back(b *op.Builder, v *graph.Value) *graph.Value {
	r := x.a.Type.Rank()
	d, a := flatRows(b, b.Mul(x.d, b.Unsqueeze(v, int64(r-1)))), flatRows(b, x.a)
	if r == 3 {
		return b.Gemm(d, a, true, false)
	}
	return b.MatMul(b.Swap(d), a)
}

// implicit is an estimate of U^T v of rank P (Yang et al. 2022, section 3.4): the sum over positions t of
// (sum over n of q_n d_nt) (sum over n of v_n a_nt)^T / (sum over n of q_n), q being the root of |v|.
func (x examples) implicit(b *op.Builder, v *graph.Value) *graph.Value {
	n := int64(x.a.Type.Rank() - 3)
	q := b.Sqrt(b.Unary("Abs", v))
	total := b.Op("Max", []*graph.Value{b.SumKeep(q, n), b.FloatLike(q, 1e-30)})
	var a, d *graph.Value
	switch {
	case x.sums != nil:
		a, d = x.sums(b, v, q)
	case n == 0:
		a, d = weighted(b, x.a, v), weighted(b, x.d, q)
	default:
		a, d = b.Sum(b.Mul(x.a, b.Unsqueeze(v, n+2)), n), b.Sum(b.Mul(x.d, b.Unsqueeze(q, n+2)), n)
	}
	u := b.MatMul(b.Swap(d), a)
	if x.sums != nil {
		u = b.Squeeze(u, 0)
	}
	return b.Div(u, total)
}

// weighted is the sum over the first dimension of x [N, ...], weighed with w [N, 1].
func weighted(b *op.Builder, x, w *graph.Value) *graph.Value {
	rows := b.MatMul(b.Swap(w), b.Reshape(x, 0, -1))
	return b.Squeeze(b.ReshapeLike(rows, b.Slice(x, []int64{0}, []int64{1}, []int64{0})), 0)
}

// dampedInverse is (U U^T / n + lambda I)^-1, of as many rows and columns as there are examples.
func (e *engine) dampedInverse(b *op.Builder, x examples) *graph.Value {
	return e.inverseOf(b, b.Div(x.gram(b), x.n), e.damping())
}

// woodbury is (U^T U / n + lambda I)^-1 g by the inverse of U U^T / n + lambda I; y and h are what is known of U and g in
// that and in U g.
func (e *engine) woodbury(b *op.Builder, x, y examples, inverse, g, h *graph.Value) *graph.Value {
	lambda := e.damping()
	v := b.MatMul(inverse, y.times(b, h))
	back := x.back
	if e.rec.Apply.Product == "implicit" {
		back = x.implicit
	}
	n := x.n
	if e.rec.Preset == "asdl" {
		n = b.Square(n)
	}
	return b.Div(b.Sub(g, b.Div(back(b, v), n)), lambda)
}
