package precondition

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// limitedBFGS is H x for the BFGS approximation H of an inverse Hessian by m pairs, the rows of s and y [m, n], the oldest
// first, from an H_0; hy are the rows H_0 y, x and hx = H_0 x are [n, k]. In the compact form (Byrd, Nocedal & Schnabel 1994,
// theorem 2.2) with the upper triangle R and the diagonal D of s y^T, u = R^-1 s x:
//
//	H x = H_0 x + s^T R^-T ((D + y H_0 y^T) u - y H_0 x) - H_0 y^T u
//
// Rows that are not filled yet are zero, for which R gets a one on its diagonal.
func limitedBFGS(b *op.Builder, s, y, hy, x, hx *graph.Value) *graph.Value {
	sy := b.Gemm(s, y, false, true)
	unit := eye(b, sy)
	d := b.Sum(b.Mul(sy, unit), 1)
	empty := b.Cast(b.Compare("Equal", d, b.FloatLike(d, 0)), d.Type.Elem)
	r := b.Add(b.Op("Trilu", []*graph.Value{sy}, graph.I("upper", 1)), b.Mul(unit, empty))
	inverse := call(b, "UpperInverse", r)
	u := b.MatMul(inverse, b.MatMul(s, x))
	inner := b.Add(b.Mul(u, b.Unsqueeze(d, 1)), b.MatMul(b.Gemm(y, hy, false, true), u))
	w := b.Gemm(inverse, b.Sub(inner, b.MatMul(hy, x)), true, false)
	return b.Sub(b.Add(hx, b.Gemm(s, w, true, false)), b.Gemm(hy, u, true, false))
}

// newestScale is s.y/y.y of the newest pair, the usual multiple of the identity for H_0 (Nocedal & Wright 2006, equation 7.20);
// 1 where there is none.
func newestScale(b *op.Builder, s, y *graph.Value) *graph.Value {
	m := side(s, 0)
	last := func(x *graph.Value) *graph.Value { return b.Slice(x, []int64{m - 1}, []int64{m}, []int64{0}) }
	sy, yy := dot(b, last(s), last(y)), dot(b, last(y), last(y))
	one := b.FloatLike(sy, 1)
	filled := b.Compare("Greater", yy, b.FloatLike(sy, 0))
	return b.Where(filled, b.Div(sy, b.Where(filled, yy, one)), one)
}

// seededBlock preconditions a layer by L-BFGS in its own parameters from K-FAC's inverse: H_0 = S^-1 (x) A^-1 of the damped
// factors of the training gradients, corrected by the newest representation.rank secant pairs. A pair is the change of the
// parameters in a step, and of their gradient on the same batch, damped as K-BFGS's are. One without positive curvature is
// left out.
func seededBlock(e *engine, cap *captured) *block {
	v := e.viewOf(cap.layers[0])
	bl := v.block()
	m := int64(e.rec.Representation.Rank)
	bl.guard, bl.moment, bl.texts = true, e.rec.Apply.Beta, []string{section("upper inverse")}
	bl.stats = []slot{curvature("A", []int64{v.in, v.in}, "zeros"), curvature("S", []int64{v.out, v.out}, "zeros")}
	bl.sols = []slot{
		curvature("A_inv", []int64{v.in, v.in}, "eye"), curvature("S_inv", []int64{v.out, v.out}, "eye"),
		curvature("s_kept", []int64{m, v.out, v.in}, "zeros"), curvature("y_kept", []int64{m, v.out, v.in}, "zeros"),
	}
	bl.note.Treatment = fmt.Sprintf("Kronecker factors A %dx%d, S %dx%d, and %d secant pairs", v.in, v.in, v.out, v.out, m)
	seed := func(b *op.Builder, sols []*graph.Value, x *graph.Value) *graph.Value {
		return b.MatMul(b.MatMul(sols[1], x), sols[0])
	}
	bl.fresh = func(b *op.Builder) []*graph.Value {
		return []*graph.Value{e.inputFactor(b, cap, v), e.outputFactor(b, cap, v)}
	}
	bl.renew = func(b *op.Builder, stats, sols []*graph.Value) []*graph.Value {
		dampA, dampS := e.factorDamping(b, trace(b, stats[0]), float64(v.in), trace(b, stats[1]), float64(v.out))
		return []*graph.Value{e.inverse(b, stats[0], dampA), e.inverse(b, stats[1], dampS), sols[2], sols[3]}
	}
	bl.after = func(b *op.Builder, _, sols []*graph.Value) []*graph.Value {
		var steps, changes []*graph.Value
		for _, p := range bl.params {
			after := e.quantities[quantity{p.Name(), graph.CaptureNext}][0] // gradient, value
			steps, changes = append(steps, b.Sub(after[1], p.Value)), append(changes, b.Sub(after[0], e.grads[p.Value]))
		}
		s, y := v.gradient(b, steps), v.gradient(b, changes)
		mu := e.damping()
		s, y = e.dampedPair(b, seed(b, sols, y), s, y, mu)
		ok := b.Compare("Greater", dot(b, s, y), b.Scale(b.Mul(b.Reduce("ReduceL2", s, false), b.Reduce("ReduceL2", y, false)), seededSkip))
		kept := func(rows, row *graph.Value) *graph.Value { return b.Where(ok, shifted(b, rows, row), rows) }
		return []*graph.Value{sols[0], sols[1], kept(sols[2], s), kept(sols[3], y)}
	}
	bl.apply = func(b *op.Builder, grads, _, sols []*graph.Value) []*graph.Value {
		g := v.gradient(b, grads)
		flat := func(x *graph.Value) *graph.Value { return b.Reshape(x, m, v.out*v.in) }
		column := func(x *graph.Value) *graph.Value { return b.Reshape(x, v.out*v.in, 1) }
		d := limitedBFGS(b, flat(sols[2]), flat(sols[3]), flat(seed(b, sols, sols[3])), column(g), column(seed(b, sols, g)))
		return v.parameters(b, b.Reshape(d, v.out, v.in), nil, grads)
	}
	return bl
}

// seededSkip is the least cosine of a pair's s and y.
const seededSkip = 1e-8
