package precondition

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// unitBlock preconditions scale and shift of a normalisation layer by a 2x2 Fisher block a channel:
// F = sum over examples of [dw, db]^T [dw, db] / data size, direction (F + lambda I)^-1 [dw, db]. An example's gradient is
// summed over the positions of a batch normalisation; every position of a layer normalisation is an example.
func unitBlock(e *engine, cap *captured) *block {
	l := cap.layers[0]
	channels := side(l.W, 0)
	shape := []int64{channels, 2, 2}
	bl := &block{
		name: l.Name, params: l.Params(),
		stats: []slot{{name: "F", shape: shape, init: "zeros", kind: "curvature"}},
		sols:  []slot{{name: "F_inv", shape: shape, init: "eye", kind: "curvature"}},
	}
	bl.note = pass.LayerNote{Layer: l.Name, Kind: l.Kind, Params: names(bl.params), Treatment: fmt.Sprintf("%d units of 2x2", channels)}
	bl.fresh = func(b *op.Builder) []*graph.Value {
		units := map[*graph.Value]*graph.Value{}
		f := e.overDraws(b, cap, func(l pass.Layer, g *graph.Value) *graph.Value {
			if units[l.Out] == nil {
				units[l.Out] = normalised(b, l)
			}
			w, s := unitGradients(b, l, units[l.Out], g)
			pair := b.Concat(2, b.Unsqueeze(w, 2), b.Unsqueeze(s, 2)) // [rows, c, 2]
			pair = b.Transpose(pair, 1, 2, 0)                         // [c, 2, rows]
			return b.MatMul(pair, b.Transpose(pair, 0, 2, 1))
		})
		return []*graph.Value{f}
	}
	bl.solve = func(b *op.Builder, stats []*graph.Value) ([]*graph.Value, []*graph.Value) {
		return []*graph.Value{e.inverse2(b, stats[0])}, nil
	}
	bl.apply = func(b *op.Builder, grads, _, sols []*graph.Value) []*graph.Value {
		pair := b.Concat(1, b.Unsqueeze(grads[0], 1), b.Unsqueeze(grads[1], 1)) // [c, 2]
		d := b.Squeeze(b.MatMul(sols[0], b.Unsqueeze(pair, 2)), 2)
		parts := b.Split(d, 1, 1, 1)
		return []*graph.Value{b.Squeeze(parts[0], 1), b.Squeeze(parts[1], 1)}
	}
	return bl
}

// inverse2 is (f + lambda I)^-1 for 2x2 blocks [c, 2, 2], in closed form. A lambda below the rounding of a block's
// trace is raised to it: a block of few examples has rank one, and rounding would make its inverse indefinite.
func (e *engine) inverse2(b *op.Builder, f *graph.Value) *graph.Value {
	rounding := 64 * 0x1p-23
	if e.elem == graph.Float64 {
		rounding = 64 * 0x1p-52
	}
	flat := b.Split(b.Reshape(f, -1, 4), 1, 1, 1, 1, 1) // ww, wb, bw, bb, each [c, 1]
	lambda := b.Op("Max", []*graph.Value{e.damping(), b.Scale(b.Add(flat[0], flat[3]), rounding)})
	ww, wb, bb := b.Add(flat[0], lambda), flat[1], b.Add(flat[3], lambda)
	det := b.Sub(b.Mul(ww, bb), b.Square(wb))
	inv := b.Concat(1, b.Div(bb, det), b.Neg(b.Div(wb, det)), b.Neg(b.Div(wb, det)), b.Div(ww, det))
	return b.Reshape(inv, -1, 2, 2)
}

// normalised is the layer's input normalised, before scale and shift.
func normalised(b *op.Builder, l pass.Layer) *graph.Value {
	epsilon := l.Node.Float("epsilon", 1e-5)
	if l.Kind == graph.LayerLayerNorm {
		ones, zeros := b.OnesLike(l.W), b.ZerosLike(l.W)
		return b.Op("LayerNormalization", []*graph.Value{l.X, ones, zeros}, graph.F("epsilon", epsilon), graph.I("axis", l.Node.Int("axis", -1)))
	}
	if mean, variance := l.Node.In(4), l.Node.In(5); mean != nil {
		ones, zeros := b.OnesLike(l.W), b.ZerosLike(l.W)
		return b.Op("BatchNormalization", []*graph.Value{l.X, ones, zeros, mean, variance}, graph.F("epsilon", epsilon))
	}
	// Batch statistics in primitives: the gradient of the layer has computed them already, in this form. (onnxruntime's
	// BatchNormalization in training mode is wrong where its running statistics are not used.)
	axes := append([]int64{0}, spatial(l.X)...)
	centred := b.Sub(l.X, b.Reduce("ReduceMean", l.X, true, axes...))
	variance := b.Reduce("ReduceMean", b.Square(centred), true, axes...)
	inv := b.Unary("Reciprocal", b.Sqrt(b.Add(variance, b.FloatLike(l.X, float64(epsilon)))))
	return b.Mul(centred, inv)
}

// unitGradients are the gradients of each example in scale and shift, [rows, c].
func unitGradients(b *op.Builder, l pass.Layer, x, g *graph.Value) (scale, shift *graph.Value) {
	scale, shift = b.Mul(g, x), g
	if l.Kind == graph.LayerLayerNorm {
		if g.Type.Rank() != 2 {
			c := side(l.W, 0)
			scale, shift = b.Reshape(scale, -1, c), b.Reshape(shift, -1, c)
		}
		return scale, shift
	}
	if axes := spatial(g); len(axes) > 0 {
		scale, shift = b.Sum(scale, axes...), b.Sum(shift, axes...)
	}
	return scale, shift
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
		var freq, count *graph.Value
		for _, l := range cap.layers {
			ids := b.Reshape(l.X, -1)
			n := b.CountOf(ids, e.elem, 0)
			ones := b.Full(b.ShapeOf(ids), e.elem, 1)
			zeros := b.Full(b.Ints(v), e.elem, 0)
			f := b.Op("ScatterElements", []*graph.Value{zeros, ids, ones}, graph.I("axis", 0), graph.S("reduction", "add"))
			freq, count = plus(b, freq, f), plus(b, count, n)
		}
		s := e.overDraws(b, cap, func(_ pass.Layer, g *graph.Value) *graph.Value {
			rows := b.Reshape(g, -1, d)
			return b.Gemm(rows, rows, true, false)
		})
		return []*graph.Value{b.Div(freq, count), s}
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
