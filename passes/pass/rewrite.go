package pass

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// Declares reports whether n is a tag that declares something under the name of its output: a parameter, state, a
// hyper-parameter, the step, a clock or noise. Two of them are never the same, and all are in the main graph.
func Declares(n *graph.Node) bool {
	if n.Domain != graph.Asdl {
		return false
	}
	switch n.Op {
	case graph.TagParam, graph.TagState, graph.TagHyper, graph.TagStep, graph.TagFinite, graph.TagEvery, graph.TagNoise:
		return true
	}
	return false
}

// TakesName reports whether w can take the place of v in output lists too, with v's name where v is an output: w must
// be the result of an ordinary node of the same graph, and no output itself.
func TakesName(v, w *graph.Value) bool {
	if !v.IsOutput() {
		return true
	}
	d := w.Def()
	return d != nil && w.Graph() == v.Graph() && !w.IsOutput() && !d.IsTag() && !Declares(d)
}

// Replace makes whoever uses v use w. A graph output keeps its name: w takes it where it can, else an Identity of w
// does. The node that defines v stays; it is dead unless it has other outputs.
func Replace(v, w *graph.Value) {
	if !v.IsOutput() {
		v.ReplaceUses(w)
		return
	}
	if !TakesName(v, w) {
		for _, u := range slices.Clone(v.Uses()) {
			u.Node.SetInput(u.Index, w)
		}
		id := v.Graph().InsertNode(v.Def(), "", "Identity", []*graph.Value{w}, []string{v.Name})
		id.Scope = v.Def().Scope
		w = id.Out(0)
	}
	if !w.Type.Ranked {
		w.Type = v.Type
	}
	v.ReplaceUses(w)
	TakeName(v, w)
}

// TakeName gives w the name of v, which goes.
func TakeName(v, w *graph.Value) {
	name := v.Name
	v.Rename(name + "/replaced")
	w.Rename(name)
}

// Instead makes w, the result of an ordinary node that v may be an operand of, a graph output in the place of v, with v's name.
func Instead(v, w *graph.Value) {
	g := v.Graph()
	outs := slices.Clone(g.Outputs())
	outs[slices.Index(outs, v)] = w
	g.SetOutputs(outs...)
	TakeName(v, w)
}

// Sweep removes the nodes and initializers of g, and of graphs nested in it, that nothing uses; keep protects nodes
// without uses and may be nil. It reports whether there were any.
func Sweep(g *graph.Graph, keep func(*graph.Node) bool) bool {
	swept := false
	for n := range g.Backward() {
		if !isUsed(n) && (keep == nil || !keep(n)) {
			n.Remove()
			swept = true
			continue
		}
		for _, sub := range n.Graphs() {
			swept = Sweep(sub, keep) || swept
		}
	}
	for _, v := range slices.Clone(g.Initializers()) {
		if v.IsInitializer() && len(v.Uses()) == 0 && !v.IsOutput() {
			g.RemoveValue(v)
			swept = true
		}
	}
	return swept
}

func isUsed(n *graph.Node) bool {
	return slices.ContainsFunc(n.Outputs(), func(v *graph.Value) bool {
		return v != nil && (len(v.Uses()) > 0 || v.IsOutput())
	})
}

// Fold replaces values of integers and bools whose content inference knows by initializers of the main graph:
// arithmetic on known dimensions. Floating-point values are folded where they are casts of integers only, so that nothing
// that depends on a parameter is. It reports whether there were any; the nodes are left for Sweep.
func Fold(m *graph.Model) bool {
	folded := false
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
			TakeName(v, w)
			folded = true
		}
	}
	return folded
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
	if n, err := graph.CountOf(shape, 1); err != nil || n != int64(len(data)) {
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

// Source is what an Identity, or several, make v of; v itself where there is none.
func Source(v *graph.Value) *graph.Value {
	for v.Def() != nil && v.Def().Is("", "Identity") {
		v = v.Def().In(0)
	}
	return v
}
