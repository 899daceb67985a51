package autodiff

import (
	"math"

	"github.com/asdlc/asdlc/graph"
)

// attentionRules are the rows of attention, which is differentiated as the products and the softmax that it stands for.
func attentionRules() []Rule {
	return []Rule{
		{Op: "Attention", Kind: Smooth, Diff: 1<<6 - 1, VJP: pullOf(attention), JVP: pushOf(attention)},
	}
}

// Optional inputs of Attention.
const attnMask, attnPastKey, attnPastValue, attnFilled = 3, 4, 5, 6

// attention is softmax(scale q k^T + mask) v for each head (Vaswani et al. 2017). With fewer heads of keys and values
// than of queries, groups of queries share them (Ainslie et al. 2023). Queries without a key to attend to give zeros.
func attention(c *Call) []*graph.Value {
	outs := make([]*graph.Value, len(c.N.Outputs()))
	q, k, v := c.heads(c.In(0), "q_num_heads"), c.heads(c.In(1), "kv_num_heads"), c.heads(c.In(2), "kv_num_heads")
	if q == nil || k == nil || v == nil {
		return outs
	}
	if past := c.In(attnPastKey); past != nil {
		k, v = c.Concat(2, past, k), c.Concat(2, c.In(attnPastValue), v)
	}
	raw := c.perGroup(c.scaledQuery(q), c.Swap(k))
	capped := raw
	if limit := c.attr("softcap", 0); limit > 0 {
		capped = c.Scale(c.Unary("Tanh", c.Scale(raw, 1/limit)), limit)
	}
	bias, keep := c.attentionMask(q, k)
	masked := capped
	if bias != nil {
		masked = c.Add(masked, bias)
	}
	bounded := masked
	if keep != nil {
		bounded = c.Where(keep, masked, c.FloatLike(q, -math.MaxFloat32/2))
	}
	p := c.Op("Softmax", []*graph.Value{bounded}, graph.I("axis", -1))
	if keep != nil {
		p = c.selectIf(keep, p)
	}
	for i, o := range []*graph.Value{nil, k, v, []*graph.Value{raw, capped, masked, p}[c.N.Int("qk_matmul_output_mode", 0)&3]} {
		if c.Out(i) != nil {
			outs[i] = o
		}
	}
	outs[0] = c.perGroup(p, v)
	if c.In(0).Type.Rank() == 3 {
		outs[0] = c.Reshape(c.Transpose(outs[0], 0, 2, 1, 3), 0, 0, -1)
	}
	return outs
}

// heads is x as [batch, heads, length, size]; nil means that the node was reported.
func (c *Call) heads(x *graph.Value, attr string) *graph.Value {
	switch x.Type.Rank() {
	case 4:
		return x
	case 3:
		return c.Transpose(c.Reshape(x, 0, 0, c.N.Int(attr, 1), -1), 0, 2, 1, 3)
	}
	c.unsupported("the rank of %s is not known; fix the input shapes of the model", x)
	return nil
}

// scaledQuery is the query times the attribute scale, else over the root of the size of a head.
func (c *Call) scaledQuery(q *graph.Value) *graph.Value {
	if _, ok := c.N.Attr("scale"); ok {
		return c.Scale(q, c.attr("scale", 1))
	}
	if n, ok := q.Type.Dims[3].Size(); ok {
		return c.Scale(q, 1/math.Sqrt(float64(max(n, 1))))
	}
	return c.Div(q, c.Sqrt(c.CountOf(q, q.Type.Elem, 3)))
}

// perGroup is the product of x [batch, heads, n, k] and y [batch, shared heads, k, m], where each head of y serves a
// group of consecutive heads of x.
func (c *Call) perGroup(x, y *graph.Value) *graph.Value {
	if d := x.Type.Dims[1]; !d.IsUnknown() && d == y.Type.Dims[1] {
		return c.MatMul(x, y)
	}
	grouped := c.shape(num(0), c.dimPiece(y, 1), num(-1), c.dimPiece(x, 2), c.dimPiece(x, 3))
	product := c.MatMul(c.ReshapeTo(x, grouped), c.Unsqueeze(y, 2))
	return c.ReshapeTo(product, c.shape(num(0), c.dimPiece(x, 1), c.dimPiece(x, 2), c.dimPiece(y, 3)))
}

// attentionMask is what is added to the scores, and which of them count, for queries q and all keys k; nil adds nothing
// and counts all.
func (c *Call) attentionMask(q, k *graph.Value) (bias, keep *graph.Value) {
	and := func(cond *graph.Value) {
		if keep != nil {
			cond = c.Op("And", []*graph.Value{keep, cond})
		}
		keep = cond
	}
	if mask := c.In(attnMask); mask != nil {
		mask = c.padMask(mask, k, and)
		if mask.Type.Elem == graph.Bool {
			and(mask)
		} else {
			finite := c.Compare("Greater", mask, c.FloatLike(mask, math.Inf(-1)))
			and(finite)
			bias = c.selectIf(finite, mask)
		}
	}
	keys := c.positions(k, 2)
	if filled := c.In(attnFilled); filled != nil {
		and(c.Compare("Less", keys, c.Reshape(filled, -1, 1, 1, 1)))
	}
	left, right := c.N.Int("left_window_size", -1), c.N.Int("right_window_size", -1)
	causal := c.N.Int("is_causal", 0) != 0
	if !causal && left < 0 && right < 0 {
		return bias, keep
	}
	ahead := c.Sub(keys, c.queryPositions(q)) // how far a key lies after the query
	if causal {
		and(c.Compare("LessOrEqual", ahead, c.Int(0)))
	}
	if right >= 0 {
		and(c.Compare("LessOrEqual", ahead, c.Int(right)))
	}
	if left >= 0 {
		and(c.Compare("GreaterOrEqual", ahead, c.Int(-left)))
	}
	return bias, keep
}

// queryPositions is the position of each query among the keys, [..., queries, 1]: after the past, or the last of those
// that are filled.
func (c *Call) queryPositions(q *graph.Value) *graph.Value {
	at := c.Reshape(c.positions(q, 2), -1, 1)
	switch past, filled := c.In(attnPastKey), c.In(attnFilled); {
	case past != nil:
		return c.Add(at, c.DimOf(past, 2))
	case filled != nil:
		return c.Add(at, c.Sub(c.Reshape(filled, -1, 1, 1, 1), c.DimOf(q, 2)))
	}
	return at
}

// padMask fills a mask that has fewer columns than there are keys; those keys do not count.
func (c *Call) padMask(mask, k *graph.Value, and func(*graph.Value)) *graph.Value {
	rank := mask.Type.Rank()
	if rank < 1 {
		c.unsupported("the rank of %s is not known; fix the input shapes of the model", mask)
		return mask
	}
	columns, keys := mask.Type.Dims[rank-1], k.Type.Dims[2]
	if columns == keys && !keys.IsUnknown() || columns == graph.Known(1) && c.Opset() < 24 {
		return mask
	}
	missing := c.Sub(c.DimOf(k, 2), c.DimOf(mask, rank-1))
	pads := c.shape(append(make([]piece, 2*rank-1), piece{v: missing})...)
	padded := c.Op("Pad", []*graph.Value{mask, pads})
	if mask.Type.Elem != graph.Bool { // a mask of truth values is padded with false
		and(c.Compare("Less", c.positions(k, 2), c.DimOf(mask, rank-1)))
	}
	return padded
}
