package normalize

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// fold replaces values whose content inference knows by constants: arithmetic on known dimensions. Floating-point values
// are folded where they are casts of integers only, so that nothing that depends on a parameter is.
func fold(_ *pass.Ctx, m *graph.Model) error {
	for n := range m.Graph.All() {
		if n.Domain != "" {
			continue
		}
		for _, v := range n.Outputs() {
			if v == nil || v.IsOutput() || len(v.Uses()) == 0 || !foldable(n, v) {
				continue
			}
			t := contentTensor(v)
			if t == nil {
				continue
			}
			w := m.Graph.AddInitializer(v.Name, t)
			w.Content = v.Content
			v.ReplaceUses(w)
			rename(v, w)
		}
	}
	return sweep(nil, m)
}

func foldable(n *graph.Node, v *graph.Value) bool {
	if v.Type.Elem.IsFloat() {
		return n.Op == "Cast" && (n.In(0).Type.Elem.IsInt() || n.In(0).Type.Elem == graph.Bool)
	}
	return v.Type.Elem.IsInt() || v.Type.Elem == graph.Bool
}

// contentTensor is the value of v if inference knows all of it, or nil.
func contentTensor(v *graph.Value) *graph.Tensor {
	shape, ok := v.Type.Static()
	if !ok || len(shape) > 1 || v.Content == nil {
		return nil
	}
	data := make([]int64, len(v.Content))
	for i, d := range v.Content {
		if data[i], ok = d.Int(); !ok {
			return nil
		}
	}
	if len(shape) == 1 && shape[0] != int64(len(data)) {
		return nil
	}
	switch v.Type.Elem {
	case graph.Int64:
		return graph.TensorOf(data, shape...)
	case graph.Int32:
		return graph.TensorOf(convert[int32](data), shape...)
	case graph.Float32:
		return graph.TensorOf(convert[float32](data), shape...)
	case graph.Float64:
		return graph.TensorOf(convert[float64](data), shape...)
	case graph.Bool:
		bits := make([]bool, len(data))
		for i, d := range data {
			bits[i] = d != 0
		}
		return graph.TensorOf(bits, shape...)
	}
	return nil
}

func convert[T int32 | float32 | float64](data []int64) []T {
	out := make([]T, len(data))
	for i, d := range data {
		out[i] = T(d)
	}
	return out
}
