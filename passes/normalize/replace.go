package normalize

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
)

// replace makes whoever uses v use w. A graph output keeps its name: w takes it where it can, else an Identity of w
// does. The node that defines v stays; it is dead unless it has other outputs.
func replace(v, w *graph.Value) {
	if !v.IsOutput() {
		v.ReplaceUses(w)
		return
	}
	if keepsOutput(v, w) {
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
	name := v.Name
	v.ReplaceUses(w)
	v.Rename(name + "/replaced")
	w.Rename(name)
}

// keepsOutput reports whether w cannot take the name of the graph output v: it is no result of a node of the graph, or
// it is an output itself.
func keepsOutput(v, w *graph.Value) bool {
	return v.IsOutput() && (w.Def() == nil || w.Graph() != v.Graph() || w.IsOutput())
}

// rename gives w the name of v, which goes.
func rename(v, w *graph.Value) {
	name := v.Name
	v.Rename(name + "/replaced")
	w.Rename(name)
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
