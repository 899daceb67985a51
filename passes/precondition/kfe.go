package precondition

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// eigenBlock preconditions a Linear or convolution layer in the eigenbasis of its Kronecker factors (EKFAC, George et al.
// 2018): with eigenvectors QA of A and QS of S, and s the moving average of the second moments of each example's gradient
// there, the direction is QS [(QS^T G QA) / (s + lambda)] QA^T. A refresh tracks the bases and sets s to the products of the
// factors' eigenvalues, which is what s is where the block is S (x) A; with solve.warm only the first one does, for tracking keeps
// the order of the eigenvectors.
//
// Scale. As for Kronecker factors: s is the sum over examples of (QS^T G_n QA)^2, G_n being summed over positions and uses
// first, over the number of loss rows. With moments mean, it is that number times (QS^T G QA)^2 for the mean gradient G.
func eigenBlock(e *engine, cap *captured) *block {
	v := e.viewOf(cap.layers[0])
	if v.groups > 1 {
		return e.groupedEigenBlock(cap, v)
	}
	bl := v.block()
	bl.texts = append(bl.texts, basisFunctions())
	bl.stats = []slot{curvature("A", v.shape(v.in, v.in), "zeros"), curvature("S", v.shape(v.out, v.out), "zeros")}
	bl.sols = []slot{curvature("QA", v.shape(v.in, v.in), "eye"), curvature("QS", v.shape(v.out, v.out), "eye"), curvature("s", v.shape(v.out, v.in), "ones")}
	bl.note.Treatment = fmt.Sprintf("second moments %dx%d in the eigenbasis of A %dx%d, S %dx%d", v.out, v.in, v.in, v.in, v.out, v.out)
	bl.fresh = func(b *op.Builder) []*graph.Value {
		return []*graph.Value{e.inputFactor(b, cap, v), e.outputFactor(b, cap, v)}
	}
	bl.renew = func(b *op.Builder, stats, sols []*graph.Value) []*graph.Value {
		qa, wa := e.trackBasis(b, stats[0], sols[0])
		qs, ws := e.trackBasis(b, stats[1], sols[1])
		return []*graph.Value{qa, qs, e.refreshed(b, b.Mul(b.Unsqueeze(ws, 1), b.Unsqueeze(wa, 0)), sols[2])}
	}
	bl.follow = func(b *op.Builder, sols []*graph.Value) []*graph.Value {
		beta := e.rec.Accumulate.MomentBeta
		s := b.Scale(e.rotatedMoments(b, cap, v, sols[0], sols[1]), 1-beta)
		return []*graph.Value{sols[0], sols[1], b.Add(b.Scale(sols[2], beta), s)}
	}
	e.applyBasis(bl, cap, v, func(_ *op.Builder, sols []*graph.Value) (qa, qs, s *graph.Value) { return sols[0], sols[1], sols[2] })
	return bl
}

// groupedEigenBlock is the block of a convolution of several groups. EigenBasis is for one matrix, so that each group has
// states of its own, A.0, A.1, ....
func (e *engine) groupedEigenBlock(cap *captured, v view) *block {
	bl := v.block()
	bl.texts = append(bl.texts, basisFunctions())
	bl.note.Treatment = fmt.Sprintf("second moments %dx%d in the eigenbasis of A %dx%d, S %dx%d", v.out, v.in, v.in, v.in, v.out, v.out) + v.each()
	one := v
	one.groups = 1
	for i := range v.groups {
		bl.stats = append(bl.stats, curvature(fmt.Sprintf("A.%d", i), one.shape(v.in, v.in), "zeros"), curvature(fmt.Sprintf("S.%d", i), one.shape(v.out, v.out), "zeros"))
		bl.sols = append(bl.sols, curvature(fmt.Sprintf("QA.%d", i), one.shape(v.in, v.in), "eye"), curvature(fmt.Sprintf("QS.%d", i), one.shape(v.out, v.out), "eye"))
	}
	bl.sols = append(bl.sols, curvature("s", v.shape(v.out, v.in), "ones"))
	bl.fresh = func(b *op.Builder) []*graph.Value {
		as, ss := v.apartByGroup(b, e.inputFactor(b, cap, v)), v.apartByGroup(b, e.outputFactor(b, cap, v))
		var stats []*graph.Value
		for i := range as {
			stats = append(stats, as[i], ss[i])
		}
		return stats
	}
	bl.renew = func(b *op.Builder, stats, sols []*graph.Value) []*graph.Value {
		var next, moments []*graph.Value
		for i := 0; i < len(stats); i += 2 {
			qa, wa := e.trackBasis(b, stats[i], sols[i])
			qs, ws := e.trackBasis(b, stats[i+1], sols[i+1])
			next, moments = append(next, qa, qs), append(moments, b.Unsqueeze(b.Mul(b.Unsqueeze(ws, 1), b.Unsqueeze(wa, 0)), 0))
		}
		return append(next, e.refreshed(b, b.Concat(0, moments...), sols[len(sols)-1]))
	}
	together := func(b *op.Builder, sols []*graph.Value) (qa, qs *graph.Value) {
		var as, ss []*graph.Value
		for i := 0; i+1 < len(sols); i += 2 {
			as, ss = append(as, b.Unsqueeze(sols[i], 0)), append(ss, b.Unsqueeze(sols[i+1], 0))
		}
		return b.Concat(0, as...), b.Concat(0, ss...)
	}
	last := len(bl.sols) - 1
	bl.follow = func(b *op.Builder, sols []*graph.Value) []*graph.Value {
		qa, qs := together(b, sols)
		beta := e.rec.Accumulate.MomentBeta
		s := b.Scale(e.rotatedMoments(b, cap, v, qa, qs), 1-beta)
		return append(append([]*graph.Value{}, sols[:last]...), b.Add(b.Scale(sols[last], beta), s))
	}
	e.applyBasis(bl, cap, v, func(b *op.Builder, sols []*graph.Value) (qa, qs, s *graph.Value) {
		qa, qs = together(b, sols)
		return qa, qs, sols[last]
	})
	return bl
}

// refreshed are the second moments after a refresh: fresh, or with solve.warm the old ones, except on the first step.
func (e *engine) refreshed(b *op.Builder, fresh, old *graph.Value) *graph.Value {
	if !e.rec.Solve.Warm {
		return fresh
	}
	return b.Where(e.b.Compare("Equal", e.stepValue(), e.b.Int(0)), fresh, old)
}

// apartByGroup splits [groups, n, m] into matrices.
func (v view) apartByGroup(b *op.Builder, m *graph.Value) []*graph.Value {
	sizes := make([]int64, v.groups)
	for i := range sizes {
		sizes[i] = 1
	}
	var parts []*graph.Value
	for _, p := range b.Split(m, 0, sizes...) {
		parts = append(parts, b.Squeeze(p, 0))
	}
	return parts
}

// turnedBack is QS [m / (s + lambda)] QA^T for a gradient m in the bases.
func (e *engine) turnedBack(b *op.Builder, m, qa, qs, s *graph.Value) *graph.Value {
	return b.MatMul(b.MatMul(qs, b.Div(m, b.Add(s, e.damping()))), b.Swap(qa))
}

// rotatedMoments is this step's s.
func (e *engine) rotatedMoments(b *op.Builder, cap *captured, v view, qa, qs *graph.Value) *graph.Value {
	if e.rec.Representation.Moments == "mean" {
		grads := make([]*graph.Value, 0, 2)
		for _, p := range v.l.Params() {
			grads = append(grads, e.grads[p.Value])
		}
		return b.Mul(b.Square(b.MatMul(b.MatMul(b.Swap(qs), v.gradient(b, grads)), qa)), e.dataSize())
	}
	if len(cap.layers) == 1 && v.groups == 1 && (v.l.X.Type.Rank() <= 2 || e.reduces()) {
		// (d a^T)^2 is d^2 (a^2)^T: no example's gradient is formed.
		a := b.MatMul(v.withOnes(b, v.rowsIn(e, b, v.l)), qa)
		return e.overDraws(b, cap, func(l pass.Layer, g *graph.Value) *graph.Value {
			return b.Gemm(b.Square(b.MatMul(v.rowsOut(e, b, l, g), qs)), b.Square(a), true, false)
		})
	}
	return e.overExamples(b, cap, v, func(g *graph.Value) *graph.Value {
		axis := int64(g.Type.Rank() - 3) // [..., N, o, i]
		if v.groups > 1 {
			qa, qs := b.Unsqueeze(qa, 1), b.Unsqueeze(qs, 1)
			return b.Sum(b.Square(b.MatMul(b.MatMul(b.Swap(qs), g), qa)), axis)
		}
		return b.Sum(b.Square(b.MatMul(b.MatMul(b.Swap(qs), g), qa)), axis)
	})
}
