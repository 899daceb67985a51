package models

import (
	"math"

	"github.com/asdlc/asdlc/graph"
)

// attention is softmax(Q K^T / sqrt d) V with heads of d features each (Vaswani et al. 2017, arXiv:1706.03762, section
// 3.2): q, k, v float[N,T,heads d]. Where mask, bool and broadcast to [N,heads,T,T], is false, the softmax is zero; it may
// be nil.
func (n *net) attention(path string, q, k, v, mask *graph.Value, heads int) *graph.Value {
	width := size(q, -1)
	d := width / heads
	dims := q.Type.Dims
	split := func(x *graph.Value) *graph.Value {
		t := floats(dims[0], dims[1], known(heads), known(d))
		return n.reshape(path, x, t, 0, 0, int64(heads), int64(d))
	}
	q = n.transpose(path, split(q), 0, 2, 1, 3)
	k = n.transpose(path, split(k), 0, 2, 3, 1)
	v = n.transpose(path, split(v), 0, 2, 1, 3)
	q = n.binary(path, "Mul", q, n.number(path, 1/math.Sqrt(float64(d))))
	scores := n.op(path, "MatMul", floats(dims[0], known(heads), dims[1], dims[1]), []*graph.Value{q, k})
	if mask != nil {
		scores = n.op(path, "Where", scores.Type, []*graph.Value{mask, scores, n.lowest(path)})
	}
	p := n.op(path, "Softmax", scores.Type, []*graph.Value{scores}, graph.I("axis", -1))
	y := n.transpose(path, n.op(path, "MatMul", v.Type, []*graph.Value{p, v}), 0, 2, 1, 3)
	return n.reshape(path, y, floats(dims[0], dims[1], known(width)), 0, 0, int64(width))
}

// fusedAttention makes queries, keys and values by one layer PATH.IN, attends, and projects by PATH.OUT.
func (n *net) fusedAttention(path, in, out string, x, mask *graph.Value, heads int) *graph.Value {
	width := size(x, -1)
	t := x.Type
	qkv := n.ops(path, "Split", []graph.Type{t, t, t}, []*graph.Value{n.linear(path+"."+in, x, 3*width)}, graph.I("axis", -1))
	return n.linear(path+"."+out, n.attention(path, qkv[0], qkv[1], qkv[2], mask, heads), width)
}

// ids declares an input of integers, int64[N,T].
func (n *net) ids(name string) *graph.Value {
	return n.g.AddInput(name, graph.TensorType(graph.Int64, graph.Sym("N"), graph.Sym("T")))
}

// positions is 0, 1, ... T-1 for ids int64[N,T].
func (n *net) positions(path string, ids *graph.Value) *graph.Value {
	scalar := graph.StaticType(graph.Int64)
	shape := n.op(path, "Shape", graph.StaticType(graph.Int64, 2), []*graph.Value{ids})
	length := n.op(path, "Gather", scalar, []*graph.Value{shape, n.constant(path, graph.Scalar(int64(1)))}, graph.I("axis", 0))
	zero, one := n.constant(path, graph.Scalar(int64(0))), n.constant(path, graph.Scalar(int64(1)))
	return n.op(path, "Range", graph.TensorType(graph.Int64, ids.Type.Dims[1]), []*graph.Value{zero, length, one})
}
