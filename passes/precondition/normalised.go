package precondition

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// normalised is a normalisation layer's input normalised, before scale and shift, of the input's shape.
func normalised(b *op.Builder, l pass.Layer) *graph.Value {
	switch l.Kind {
	case graph.LayerLayerNorm:
		return b.Op("LayerNormalization", []*graph.Value{l.X, b.OnesLike(l.W), b.ZerosLike(l.W)},
			graph.F("epsilon", l.Node.Float("epsilon", 1e-5)), graph.I("axis", l.Node.Int("axis", -1)))
	case graph.LayerRMSNorm:
		var axes []int64
		for i := l.Node.Int("axis", -1); i < 0 || i < int64(l.X.Type.Rank()); i++ {
			axes = append(axes, i)
			if i == -1 {
				break
			}
		}
		return scaled(b, l, l.X, axes)
	case graph.LayerGroupNorm:
		return groupNormalised(b, l)
	}
	if mean, variance := l.Node.In(4), l.Node.In(5); mean != nil {
		return b.Op("BatchNormalization", []*graph.Value{l.X, b.OnesLike(l.W), b.ZerosLike(l.W), mean, variance}, graph.F("epsilon", l.Node.Float("epsilon", 1e-5)))
	}
	// Batch statistics in primitives: the gradient of the layer has computed them already, in this form. (onnxruntime's
	// BatchNormalization in training mode is wrong where its running statistics are not used.)
	return centredScaled(b, l, l.X, append([]int64{0}, spatial(l.X)...))
}

// groupNormalised normalises each example's groups of channels.
func groupNormalised(b *op.Builder, l pass.Layer) *graph.Value {
	groups := l.Node.Int("num_groups", 0)
	if groups == 0 {
		return centredScaled(b, l, l.X, spatial(l.X))
	}
	x := b.Reshape(l.X, 0, groups, -1)
	return b.ReshapeLike(centredScaled(b, l, x, []int64{2}), l.X)
}

// centredScaled is x minus its mean, over its standard deviation, along axes.
func centredScaled(b *op.Builder, l pass.Layer, x *graph.Value, axes []int64) *graph.Value {
	return scaled(b, l, b.Sub(x, b.Reduce("ReduceMean", x, true, axes...)), axes)
}

// scaled is x over the root of its mean square along axes.
func scaled(b *op.Builder, l pass.Layer, x *graph.Value, axes []int64) *graph.Value {
	square := b.Reduce("ReduceMean", b.Square(x), true, axes...)
	inv := b.Unary("Reciprocal", b.Sqrt(b.Add(square, b.FloatLike(x, float64(l.Node.Float("epsilon", 1e-5))))))
	return b.Mul(x, inv)
}

// channelRows sums x, of the shape of the layer's input, over the positions that an example has for each element of scale
// and shift: [rows, channels].
func channelRows(b *op.Builder, l pass.Layer, x *graph.Value, channels int64) *graph.Value {
	if slices.Contains([]string{graph.LayerLayerNorm, graph.LayerRMSNorm}, l.Kind) {
		if x.Type.Rank() == 2 && l.Params()[0].Value.Type.Rank() == 1 {
			return x
		}
		return b.Reshape(x, -1, channels)
	}
	if c, ok := x.Type.Dims[1].Size(); ok && c != channels { // an element a group
		return b.Sum(b.Reshape(x, 0, channels, -1), 2)
	}
	if axes := spatial(x); len(axes) > 0 {
		return b.Sum(x, axes...)
	}
	return x
}
