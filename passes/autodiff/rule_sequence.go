package autodiff

import (
	"math"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// sequenceRules are the rows of operators on sequences of vectors other than attention.
func sequenceRules() []Rule {
	return []Rule{
		{Op: "RotaryEmbedding", Kind: Smooth, Diff: first3, VJP: pullOf(rotary), JVP: pushOf(rotary)},
		{Op: "LinearAttention", Kind: Smooth, Diff: 1<<6 - 1, VJP: pullOf(linearAttention), JVP: pushOf(linearAttention)},
		{Op: "CausalConvWithState", Kind: Smooth, Diff: 1<<4 - 1, VJP: pullOf(causalConv), JVP: pushOf(causalConv)},
	}
}

// rotary turns pairs of features by the angles of their position (Su et al. 2021, arXiv:2104.09864).
func rotary(c *Call) []*graph.Value {
	x, cos, sin := c.In(0), c.In(1), c.In(2)
	heads := int64(1) // axis
	if x.Type.Rank() == 3 {
		x, heads = c.Reshape(x, 0, 0, c.N.Int("num_heads", 1), -1), 2
	}
	if x.Type.Rank() != 4 {
		return c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	}
	if at := c.In(3); at != nil {
		cos, sin = c.Gather(cos, at, 0), c.Gather(sin, at, 0)
	}
	turned := c.N.Int("rotary_embedding_dim", 0)
	part, rest := x, (*graph.Value)(nil)
	if size, ok := x.Type.Dims[3].Size(); turned != 0 && (!ok || size != turned) {
		part = c.Slice(x, []int64{0}, []int64{turned}, []int64{3})
		rest = c.Slice(x, []int64{turned}, []int64{op.ToEnd}, []int64{3})
	}
	cos, sin = c.Unsqueeze(cos, heads), c.Unsqueeze(sin, heads)
	if turned != 0 { // the caches may be wider
		cos, sin = c.Slice(cos, []int64{0}, []int64{turned / 2}, []int64{3}), c.Slice(sin, []int64{0}, []int64{turned / 2}, []int64{3})
	}
	interleaved := c.N.Int("interleaved", 0) != 0
	first, second := c.pairs(part, interleaved)
	y := []*graph.Value{c.Sub(c.Mul(cos, first), c.Mul(sin, second)), c.Add(c.Mul(sin, first), c.Mul(cos, second))}
	if interleaved {
		y = []*graph.Value{c.ReshapeTo(c.Concat(4, c.Unsqueeze(y[0], 4), c.Unsqueeze(y[1], 4)), c.ShapeOf(part))}
	}
	if rest != nil {
		y = append(y, rest)
	}
	return []*graph.Value{c.ReshapeTo(c.Concat(3, y...), c.ShapeOf(c.In(0)))}
}

// pairs is the first and the second of each pair of features: neighbours, or the two halves.
func (c *Call) pairs(x *graph.Value, interleaved bool) (first, second *graph.Value) {
	if !interleaved {
		halves := c.Node("", "Split", []*graph.Value{x}, 2, graph.I("axis", 3), graph.I("num_outputs", 2)).Outputs()
		return halves[0], halves[1]
	}
	both := c.Reshape(x, 0, 0, 0, -1, 2)
	return c.Gather(both, c.Int(0), 4), c.Gather(both, c.Int(1), 4)
}

// linearAttention keeps a matrix S for each head: S is decayed, k outer v is added to it (for the delta rules, of what v
// differs from S^T k), and the output is scale q^T S. Yang et al. 2024, arXiv:2412.06464.
func linearAttention(c *Call) []*graph.Value {
	outs := make([]*graph.Value, len(c.N.Outputs()))
	q, k, v := c.In(0), c.In(1), c.In(2)
	shared, groups := c.N.Int("kv_num_heads", 1), int64(1)
	if shared > 0 {
		groups = c.N.Int("q_num_heads", 1) / shared
	}
	if q.Type.Rank() != 3 || k.Type.Rank() != 3 || v.Type.Rank() != 3 || shared < 1 || groups < 1 {
		c.unsupported("the ranks of %s, %s and %s are not known; fix the input shapes of the model", q, k, v)
		return outs
	}
	split := func(x *graph.Value, dims ...int64) *graph.Value {
		return c.Reshape(x, append([]int64{0, 0}, dims...)...)
	}
	q, k, v = split(q, shared, groups, -1), split(k, shared, -1, 1), split(v, shared, 1, -1)
	if scale := c.attr("scale", 0); scale != 0 {
		q = c.Scale(q, scale)
	} else {
		q = c.Div(q, c.Sqrt(c.CountOf(q, q.Type.Elem, 4)))
	}
	rule := c.N.Str("update_rule", "gated_delta")
	var decay, beta *graph.Value
	if rule == "gated" || rule == "gated_delta" {
		decay = c.Unary("Exp", split(c.In(4), shared, -1, 1))
	}
	if rule == "delta" || rule == "gated_delta" {
		beta = split(c.In(5), -1, 1, 1)
	}
	state := c.In(3)
	if state == nil {
		state = c.Full(c.shape(c.dimPiece(k, 0), num(shared), c.dimPiece(k, 3), c.dimPiece(v, 4)), q.Type.Elem, 0)
	}
	trips := c.Squeeze(c.DimOf(q, 1), 0)
	results := c.emitLoop("steps", trips, nil, []*graph.Value{c.Cast(state, q.Type.Elem)}, nil, func(b *op.Builder, i *graph.Value, now []*graph.Value) []*graph.Value {
		s, key, value := now[0], b.Gather(k, i, 1), b.Gather(v, i, 1)
		if decay != nil {
			s = b.Mul(s, b.Gather(decay, i, 1))
		}
		if beta != nil {
			known := b.MatMul(b.Transpose(key, 0, 1, 3, 2), s)
			value = b.Mul(b.Gather(beta, i, 1), b.Sub(value, known))
		}
		s = b.Add(s, b.Mul(key, value))
		return []*graph.Value{s, b.MatMul(b.Gather(q, i, 1), s)}
	}, 1)
	outs[0] = c.Reshape(c.Transpose(results[1], 1, 0, 2, 3, 4), 0, 0, -1)
	if o := c.Out(1); o != nil {
		outs[1] = c.Cast(results[0], o.Type.Elem)
	}
	return outs
}

// causalConv is a convolution of each channel over its past: the state, or zeros, and the sequence.
func causalConv(c *Call) []*graph.Value {
	outs := make([]*graph.Value, len(c.N.Outputs()))
	x, w := c.In(0), c.In(1)
	kernel := c.kernelSize(w)
	if kernel == nil {
		return outs
	}
	channels, ok := w.Type.Dims[0].Size()
	if !ok || x.Type.Rank() != 3 {
		c.unsupported("the shape of %s or %s is not known; fix the shapes of the model", x, w)
		return outs
	}
	past := kernel[0] - 1
	all := c.Op("Pad", []*graph.Value{x, c.Ints(0, 0, past, 0, 0, 0)})
	if state := c.In(3); state != nil {
		all = c.Concat(2, state, x)
	}
	in := []*graph.Value{all, w}
	if bias := c.In(2); bias != nil {
		in = append(in, bias)
	}
	outs[0] = c.Op("Conv", in, graph.I("group", channels))
	if c.N.Str("activation", "none") != "none" {
		outs[0] = c.Mul(outs[0], c.Unary("Sigmoid", outs[0]))
	}
	if c.Out(1) != nil {
		from := -past
		if past == 0 {
			from = math.MaxInt64
		}
		outs[1] = c.Slice(all, []int64{from}, []int64{op.ToEnd}, []int64{2})
	}
	return outs
}
