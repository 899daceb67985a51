package normalize

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// padOrder rewrites how PyTorch's older exporter turns pairs of pads, last axis first, into ONNX's order: Reshape to [n, 2],
// reverse, transpose, flatten. It is a permutation of a list, and as a Gather its elements are known one by one.
func padOrder(_ *pass.Ctx, m *graph.Model) error {
	found := false
	for n := range m.Graph.Nodes() {
		pairs := pairsOf(n)
		if pairs == nil || !pairs.Type.Ranked || len(pairs.Type.Dims) != 1 {
			continue
		}
		size, ok := pairs.Type.Dims[0].Size()
		if !ok || size%2 != 0 || size == 0 {
			continue
		}
		order := make([]int64, 0, size)
		for _, side := range []int64{0, 1} {
			for i := size - 2; i >= 0; i -= 2 {
				order = append(order, i+side)
			}
		}
		b := op.NewBuilder(m, m.Graph)
		b.At, b.Scope, b.Prefix = n, n.Scope, n.Out(0).Name+"/"
		y := b.Gather(pairs, b.Ints(order...), 0)
		if err := b.Err(); err != nil {
			return err
		}
		pass.Replace(n.Out(0), y)
		found = true
	}
	if !found {
		return nil
	}
	pass.Sweep(m.Graph, nil)
	return op.InferGraph(m)
}

// pairsOf is the list of pairs that n, the last node of the form, puts into order, or nil.
func pairsOf(n *graph.Node) *graph.Value {
	if !n.Is("", "Reshape") || !n.Out(0).Type.Elem.IsInt() || !isInts(n.In(1), -1) {
		return nil
	}
	t := n.In(0).Def()
	if t == nil || !t.Is("", "Transpose") || !slices.Equal(t.IntList("perm"), []int64{1, 0}) {
		return nil
	}
	s := t.In(0).Def()
	if s == nil || !s.Is("", "Slice") || !isInts(s.In(1), -1) || !isInts(s.In(3), 0) || !isInts(s.In(4), -1) || s.In(2) == nil || s.In(2).Const() == nil {
		return nil
	}
	if end, ok := s.In(2).Const().Int64s(); !ok || len(end) != 1 || end[0] > -1<<31 {
		return nil
	}
	r := s.In(0).Def()
	if r == nil || !r.Is("", "Reshape") || !isInts(r.In(1), -1, 2) {
		return nil
	}
	return r.In(0)
}

// isInts reports whether v is a constant list of these integers.
func isInts(v *graph.Value, want ...int64) bool {
	if v == nil || v.Const() == nil {
		return false
	}
	got, ok := v.Const().Int64s()
	return ok && slices.Equal(got, want)
}
