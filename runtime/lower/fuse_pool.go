package lower

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// matchMaxPoolGrad recognises a gradient that is added to zeros at the indices that a MaxPool gives, all of them flattened.
func matchMaxPoolGrad(n *graph.Node) ([]*graph.Value, []graph.Attr) {
	zeros, indices, g := made(n.In(0), "ConstantOfShape"), made(n.In(1), "Reshape"), made(n.In(2), "Reshape")
	if zeros == nil || indices == nil || g == nil || n.Str("reduction", "none") != "add" || n.Out(0).Type.Rank() != 1 {
		return nil, nil
	}
	if a, ok := zeros.Attr("value"); ok && slices.ContainsFunc(a.T.Raw, func(b byte) bool { return b != 0 }) {
		return nil, nil
	}
	pool := made(indices.In(0), "MaxPool")
	if pool == nil || indices.In(0).DefIndex() != 1 || pool.Int("storage_order", 0) != 0 {
		return nil, nil
	}
	if indices.Out(0).Type.Rank() != 1 || g.Out(0).Type.Rank() != 1 {
		return nil, nil
	}
	return []*graph.Value{g.In(0), indices.In(0), zeros.In(0)}, nil
}
