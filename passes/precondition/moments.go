package precondition

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// momentsBlock preconditions a Linear or convolution layer by the diagonal of its Fisher block (diagonal natural gradient): D is the
// sum over examples of G_n^2, entry by entry, over the number of loss rows, the direction G / (D + lambda).
func momentsBlock(e *engine, cap *captured) *block {
	v := e.viewOf(cap.layers[0])
	bl := v.block()
	bl.debiased, bl.guard = true, true
	bl.stats = []slot{curvature("D", v.shape(v.out, v.in), "zeros")}
	bl.note.Treatment = fmt.Sprintf("second moments %dx%d", v.out, v.in) + v.each()
	bl.fresh = func(b *op.Builder) []*graph.Value { return []*graph.Value{e.exampleMoments(b, cap, v)} }
	bl.apply = func(b *op.Builder, grads, stats, _ []*graph.Value) []*graph.Value {
		return v.parameters(b, b.Div(v.gradient(b, grads), b.Add(stats[0], e.isoDamping(b))), nil, grads)
	}
	return bl
}

// exampleMoments is this step's D.
func (e *engine) exampleMoments(b *op.Builder, cap *captured, v view) *graph.Value {
	if len(cap.layers) == 1 && v.groups == 1 && (v.l.X.Type.Rank() <= 2 || e.reduces()) {
		// (d a^T)^2 is d^2 (a^2)^T: no example's gradient is formed.
		a := b.Square(v.withOnes(b, v.rowsIn(e, b, v.l)))
		return e.overDraws(b, cap, func(l pass.Layer, g *graph.Value) *graph.Value {
			return b.Gemm(b.Square(v.rowsOut(e, b, l, g)), a, true, false)
		})
	}
	return e.overExamples(b, cap, v, func(g *graph.Value) *graph.Value {
		return b.Sum(b.Square(g), int64(g.Type.Rank()-3)) // [..., N, o, i]
	})
}

// normMoments is the same for scale and shift of a normalisation layer: D is [c, 2], or [c, 1] where it has only one of them.
func normMoments(e *engine, cap *captured) *block {
	l := cap.layers[0]
	bl := &block{name: l.Name, params: l.Params(), debiased: true, guard: true}
	channels, k := elements(bl.params[0].Value), int64(len(bl.params))
	bl.stats = []slot{curvature("D", []int64{channels, k}, "zeros")}
	bl.note = pass.LayerNote{Layer: l.Name, Kind: l.Kind, Params: names(bl.params), Treatment: fmt.Sprintf("second moments %dx%d", channels, k)}
	bl.fresh = func(b *op.Builder) []*graph.Value {
		return []*graph.Value{e.overDraws(b, cap, func(l pass.Layer, g *graph.Value) *graph.Value {
			var parts []*graph.Value
			if l.W != nil {
				parts = append(parts, b.Unsqueeze(b.Sum(b.Square(channelRows(b, l, b.Mul(g, normalised(b, l)), channels)), 0), 1))
			}
			if l.B != nil {
				parts = append(parts, b.Unsqueeze(b.Sum(b.Square(channelRows(b, l, g, channels)), 0), 1))
			}
			return b.Concat(1, parts...)
		})}
	}
	bl.apply = func(b *op.Builder, grads, stats, _ []*graph.Value) []*graph.Value {
		dirs := make([]*graph.Value, k)
		for i, d := range b.Split(stats[0], 1, ones(int(k))...) {
			dirs[i] = b.Div(grads[i], b.Add(b.ReshapeLike(d, grads[i]), e.isoDamping(b)))
		}
		return dirs
	}
	return bl
}
