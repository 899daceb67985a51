package cleanup

import (
	"slices"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// branches replaces each If whose condition is constant by the branch that it takes.
func branches(m *graph.Model) bool {
	changed := false
	for n := range m.Graph.All() {
		if !n.Is("", "If") || !n.In(0).IsInitializer() {
			continue
		}
		cond, ok := n.In(0).Const().Int64s()
		if !ok || len(cond) != 1 {
			continue
		}
		name := "else_branch"
		if cond[0] != 0 {
			name = "then_branch"
		}
		a, _ := n.Attr(name)
		expand(m, n, a.G)
		changed = true
	}
	return changed
}

// expand puts the nodes of branch g in place of n.
func expand(m *graph.Model, n *graph.Node, g *graph.Graph) {
	copied := map[*graph.Value]*graph.Value{}
	b := &graph.Builder{Graph: n.Graph(), Model: m, At: n, Scope: n.Scope}
	graph.CopyNodes(b, g, copied)
	for i, v := range n.Outputs() {
		if v == nil {
			continue
		}
		w, ok := copied[g.Outputs()[i]]
		if !ok { // of a graph around the branch
			w = g.Outputs()[i]
		}
		pass.Replace(v, w)
	}
	n.Remove()
}

// trimBranches drops outputs of If nodes that nothing uses, so that branches need not compute them.
func trimBranches(g *graph.Graph) bool {
	changed := false
	for n := range g.All() {
		if !n.Is("", "If") {
			continue
		}
		var kept []int
		for i, v := range n.Outputs() {
			if v != nil && (len(v.Uses()) > 0 || v.IsOutput()) {
				kept = append(kept, i)
			}
		}
		then, _ := n.Attr("then_branch")
		if len(kept) > 0 && len(kept) < len(then.G.Outputs()) {
			trim(n, kept)
			changed = true
		}
	}
	return changed
}

// trim replaces n by an If with the outputs kept.
func trim(n *graph.Node, kept []int) {
	attrs := slices.Clone(n.Attrs())
	for _, a := range attrs {
		if a.G == nil {
			continue
		}
		var outs []*graph.Value
		for _, i := range kept {
			outs = append(outs, a.G.Outputs()[i])
		}
		a.G.SetOutputs(outs...)
	}
	names := make([]string, len(kept))
	for k, i := range kept {
		names[k] = n.Out(i).Name
	}
	// The branches belong to w from now on.
	w := n.Graph().InsertNode(n, n.Domain, n.Op, slices.Clone(n.Inputs()), names, attrs...)
	w.Name, w.Scope, w.Doc = n.Name, n.Scope, n.Doc
	for k, i := range kept {
		v := n.Out(i)
		w.Out(k).Type, w.Out(k).Content = v.Type, v.Content
		v.ReplaceUses(w.Out(k))
		pass.TakeName(v, w.Out(k))
	}
	n.Remove()
}
