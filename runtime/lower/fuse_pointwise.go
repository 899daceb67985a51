package lower

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// matchReluGrad recognises Where(Greater(y, 0), g, 0) for y and g of one shape.
func matchReluGrad(n *graph.Node) ([]*graph.Value, []graph.Attr) {
	positive, g := made(n.In(0), "Greater"), n.In(1)
	if positive == nil || !isZero(n.In(2)) || !isZero(positive.In(1)) {
		return nil, nil
	}
	y := positive.In(0)
	if !g.Type.Elem.IsFloat() || y.Type.Elem != g.Type.Elem || !sameDims(y.Type, g.Type) {
		return nil, nil
	}
	return []*graph.Value{g, y}, nil
}

// sameDims reports whether two types certainly have one shape.
func sameDims(a, b graph.Type) bool {
	return a.Ranked && b.Ranked && slices.Equal(a.Dims, b.Dims) && !slices.ContainsFunc(a.Dims, graph.Dim.IsUnknown)
}

// isZero reports whether v is a constant of one element, 0.
func isZero(v *graph.Value) bool {
	if v == nil || !v.IsInitializer() {
		return false
	}
	return v.Type.Rank() == 0 && !slices.ContainsFunc(v.Const().Raw, func(b byte) bool { return b != 0 })
}
