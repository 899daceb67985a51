package normalize

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// defaults turns graph inputs with a default value into plain initializers: exporters that list every initializer as
// an input mean no more by it.
func defaults(c *pass.Ctx, m *graph.Model) error {
	for _, v := range slices.Clone(m.Graph.Inputs()) {
		if v.Const() == nil {
			continue
		}
		w := m.Graph.AddInitializer(v.Name, v.Const())
		v.ReplaceUses(w)
		pass.TakeName(v, w)
		m.Graph.RemoveValue(v)
	}
	return nil
}

// constants turns Constant nodes, in nested graphs too, into initializers of the same name.
func constants(_ *pass.Ctx, m *graph.Model) error {
	for n := range m.Graph.All() {
		if !n.Is("", "Constant") {
			continue
		}
		t, err := constantTensor(n)
		if err != nil {
			return err
		}
		v := n.Out(0)
		if v.IsOutput() {
			pass.Replace(v, n.Graph().AddInitializer(v.Name, t))
		} else {
			w := constant(n.Graph(), n, v.Name, t)
			v.ReplaceUses(w)
			pass.TakeName(v, graph.Untagged(w))
			if w.Def() != nil {
				m.Opsets[graph.Asdl] = 1
			}
		}
		n.Remove()
	}
	return nil
}

// constantTensor is the value of a Constant node, in any of its attribute forms.
func constantTensor(n *graph.Node) (*graph.Tensor, error) {
	for _, a := range n.Attrs() {
		switch a.Name {
		case "value":
			if a.T != nil {
				return a.T, nil
			}
		case "value_float":
			return graph.Scalar(a.F), nil
		case "value_floats":
			return graph.TensorOf(a.Floats, int64(len(a.Floats))), nil
		case "value_int":
			return graph.Scalar(a.I), nil
		case "value_ints":
			return graph.Ints(a.Ints...), nil
		}
	}
	return nil, n.Errorf(graph.ErrUnsupported, "a Constant without a dense numeric value; re-export the model without strings and sparse tensors")
}

// hoist moves initializers of nested graphs to the main graph, where parameters are looked for.
func hoist(_ *pass.Ctx, m *graph.Model) error {
	for n := range m.Graph.All() {
		for _, sub := range n.Graphs() {
			for _, v := range slices.Clone(sub.Initializers()) {
				if !v.IsInitializer() {
					continue
				}
				w := m.Graph.AddInitializer(v.Name, v.Const())
				v.ReplaceUses(w)
				pass.TakeName(v, w)
				sub.RemoveValue(v)
			}
		}
	}
	return nil
}

// constant adds an initializer that is constant in the file. One of several floating-point elements is marked as no
// parameter, which the pass layers could not tell from its use; that pass removes the mark.
func constant(g *graph.Graph, at *graph.Node, name string, t *graph.Tensor) *graph.Value {
	v := g.AddInitializer(name, t)
	if !t.Elem.IsFloat() || t.Len() <= 1 {
		return v
	}
	mark := g.InsertNode(at, graph.Asdl, graph.TagParam, []*graph.Value{v}, []string{name + "/constant"}, graph.S("kind", "constant"))
	mark.Out(0).Type = v.Type
	return mark.Out(0)
}
