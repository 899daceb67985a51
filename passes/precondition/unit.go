package precondition

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// unitBlock preconditions scale and shift of a normalisation layer by a 2x2 Fisher block a channel (1x1 where it has only
// one of them): F = sum over examples of [dw, db]^T [dw, db] / data size, direction (F + lambda I)^-1 [dw, db]. An
// example's gradient is summed over the positions of a batch, group or instance normalisation; every position of a layer
// or root-mean-square normalisation is an example.
func unitBlock(e *engine, cap *captured) *block {
	l := cap.layers[0]
	bl := &block{name: l.Name, params: l.Params()}
	channels, k := elements(bl.params[0].Value), int64(len(bl.params))
	bl.stats = []slot{curvature("F", []int64{channels, k, k}, "zeros")}
	bl.sols = []slot{curvature("F_inv", []int64{channels, k, k}, "eye")}
	bl.note = pass.LayerNote{Layer: l.Name, Kind: l.Kind, Params: names(bl.params), Treatment: fmt.Sprintf("%d units of %dx%d", channels, k, k)}
	bl.fresh = func(b *op.Builder) []*graph.Value {
		units := map[*graph.Value]*graph.Value{}
		f := e.overDraws(b, cap, func(l pass.Layer, g *graph.Value) *graph.Value {
			if l.W != nil && units[l.Out] == nil {
				units[l.Out] = normalised(b, l)
			}
			var parts []*graph.Value // [rows, c, 1]
			if l.W != nil {
				parts = append(parts, b.Unsqueeze(channelRows(b, l, b.Mul(g, units[l.Out]), channels), 2))
			}
			if l.B != nil {
				parts = append(parts, b.Unsqueeze(channelRows(b, l, g, channels), 2))
			}
			pair := b.Transpose(b.Concat(2, parts...), 1, 2, 0) // [c, 2, rows]
			return b.MatMul(pair, b.Transpose(pair, 0, 2, 1))
		})
		return []*graph.Value{f}
	}
	bl.solve = func(b *op.Builder, stats []*graph.Value) ([]*graph.Value, []*graph.Value) {
		if k == 1 {
			return []*graph.Value{b.Unary("Reciprocal", b.Add(stats[0], e.damping()))}, nil
		}
		return []*graph.Value{e.inverse2(b, stats[0])}, nil
	}
	bl.apply = func(b *op.Builder, grads, _, sols []*graph.Value) []*graph.Value {
		parts := make([]*graph.Value, k)
		for i, g := range grads {
			parts[i] = b.Reshape(g, channels, 1)
		}
		d := b.Squeeze(b.MatMul(sols[0], b.Unsqueeze(b.Concat(1, parts...), 2)), 2)
		if k == 1 {
			return []*graph.Value{b.ReshapeLike(d, grads[0])}
		}
		dirs := b.Split(d, 1, 1, 1)
		return []*graph.Value{b.ReshapeLike(dirs[0], grads[0]), b.ReshapeLike(dirs[1], grads[1])}
	}
	return bl
}

// elements is the number of elements of a parameter.
func elements(v *graph.Value) int64 {
	n := int64(1)
	for i := range v.Type.Rank() {
		n *= side(v, i)
	}
	return n
}

// inverse2 is (f + lambda I)^-1 for 2x2 blocks [c, 2, 2], in closed form. A lambda below the rounding of a block's
// trace is raised to it: a block of few examples has rank one, and rounding would make its inverse indefinite.
func (e *engine) inverse2(b *op.Builder, f *graph.Value) *graph.Value {
	flat := b.Split(b.Reshape(f, -1, 4), 1, 1, 1, 1, 1) // ww, wb, bw, bb, each [c, 1]
	lambda := b.Op("Max", []*graph.Value{e.damping(), b.Scale(b.Add(flat[0], flat[3]), e.rounding())})
	ww, wb, bb := b.Add(flat[0], lambda), flat[1], b.Add(flat[3], lambda)
	det := b.Sub(b.Mul(ww, bb), b.Square(wb))
	inv := b.Concat(1, b.Div(bb, det), b.Neg(b.Div(wb, det)), b.Neg(b.Div(wb, det)), b.Div(ww, det))
	return b.Reshape(inv, -1, 2, 2)
}

// rounding is that of the inverse of a small matrix, relative to its trace.
func (e *engine) rounding() float64 {
	if e.elem == graph.Float64 {
		return 64 * 0x1p-52
	}
	return 64 * 0x1p-23
}

// embeddingBlock preconditions an embedding table [V, d]: A is diagonal, the frequency of each token, S as for a linear
// layer whose inputs are one-hot.
func embeddingBlock(e *engine, cap *captured) *block {
	l := cap.layers[0]
	v, d := side(l.W, 0), side(l.W, 1)
	bl := &block{
		name: l.Name, params: l.Params(),
		stats: []slot{{name: "A", shape: []int64{v}, init: "zeros", kind: "curvature"}, {name: "S", shape: []int64{d, d}, init: "zeros", kind: "curvature"}},
		sols:  []slot{{name: "A_inv", shape: []int64{v}, init: "ones", kind: "curvature"}, {name: "S_inv", shape: []int64{d, d}, init: "eye", kind: "curvature"}},
	}
	bl.note = pass.LayerNote{Layer: l.Name, Kind: l.Kind, Params: names(bl.params), Treatment: fmt.Sprintf("token frequencies %d, S %dx%d", v, d, d)}
	bl.fresh = func(b *op.Builder) []*graph.Value {
		s := e.overDraws(b, cap, func(_ pass.Layer, g *graph.Value) *graph.Value {
			rows := b.Reshape(g, -1, d)
			return b.Gemm(rows, rows, true, false)
		})
		return []*graph.Value{e.frequencies(b, cap, v), s}
	}
	bl.solve = func(b *op.Builder, stats []*graph.Value) ([]*graph.Value, []*graph.Value) {
		dampA, dampS := e.factorDamping(b, b.Sum(stats[0]), float64(v), trace(b, stats[1]), float64(d))
		return []*graph.Value{b.Unary("Reciprocal", b.Add(stats[0], dampA)), e.inverse(b, stats[1], dampS)}, nil
	}
	bl.apply = func(b *op.Builder, grads, _, sols []*graph.Value) []*graph.Value {
		return []*graph.Value{b.MatMul(b.Mul(grads[0], b.Unsqueeze(sols[0], 1)), sols[1])}
	}
	return bl
}

// frequencies is the frequency of each token in this batch, [tokens].
func (e *engine) frequencies(b *op.Builder, cap *captured, tokens int64) *graph.Value {
	var freq, count *graph.Value
	for _, l := range cap.layers {
		ids := b.Reshape(l.X, -1)
		n := b.CountOf(ids, e.elem, 0)
		ones := b.Full(b.ShapeOf(ids), e.elem, 1)
		zeros := b.Full(b.Ints(tokens), e.elem, 0)
		f := b.Op("ScatterElements", []*graph.Value{zeros, ids, ones}, graph.I("axis", 0), graph.S("reduction", "add"))
		freq, count = plus(b, freq, f), plus(b, count, n)
	}
	return b.Div(freq, count)
}
