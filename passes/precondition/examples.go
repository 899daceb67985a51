package precondition

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// examples brings what a layer's inputs or outputs are, [N, n] or [N, P, n] of all groups, to [N, P, n], or [groups, N, P, n].
func (v view) examples(b *op.Builder, x *graph.Value, n int64) *graph.Value {
	if x.Type.Rank() == 2 {
		x = b.Unsqueeze(x, 1)
	}
	if v.groups == 1 {
		return x
	}
	return b.Transpose(b.Reshape(x, 0, 0, v.groups, n), 2, 0, 1, 3)
}

// overExamples sums a quadratic statistic of each example's gradient G_n in Ŵ over draws, and weighs it as overDraws does.
// quad gets [N, o, i+], or [groups, N, o, i+]: G_n is the sum over positions and uses of the layer, so that what they have in
// common counts. (N o i+ numbers are in memory at once.) Preset asdl takes each position of a linear layer for an example.
func (e *engine) overExamples(b *op.Builder, cap *captured, v view, quad func(g *graph.Value) *graph.Value) *graph.Value {
	rows := e.rec.Preset == "asdl" && v.Kind == graph.LayerLinear
	inputs := make([]*graph.Value, len(cap.layers))
	for use, l := range cap.layers {
		x := v.withOnes(b, v.examples(b, v.inputs(b, l, e.reduces()), v.plain()))
		if rows {
			x = b.Reshape(x, -1, 1, v.in)
		}
		inputs[use] = x
	}
	var sum *graph.Value
	for draw := range len(cap.g) {
		var each *graph.Value
		for use, l := range cap.layers {
			d := v.examples(b, v.outputs(b, l, cap.g[draw][use], e.reduces()), v.out)
			if rows {
				d = b.Reshape(d, -1, 1, v.out)
			}
			each = plus(b, each, b.MatMul(b.Swap(d), inputs[use]))
		}
		sum = plus(b, sum, quad(each))
	}
	return e.weigh(b, cap, sum)
}
