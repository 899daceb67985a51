// Package cleanup removes what a model does not need, and moves work into the branches that need it. It changes neither
// inputs nor outputs, and runs on tagged training graphs as well as on finished step graphs.
package cleanup

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// Pass is the whole of the cleanup.
var Pass = pass.Pass{
	Name: "cleanup",
	Doc: "remove dead, equal and trivial code; move work into the If branch that alone uses it\n\n" +
		"Sinking makes a step that refreshes nothing cheap: an If is lazy, so what only its branch needs is computed only\n" +
		"when the branch is taken.",
	Gives: []pass.Prop{pass.Clean}, Run: Run,
}

// maxRounds bounds how often rewrites that enable each other are repeated.
const maxRounds = 16

// Run cleans m.
func Run(_ *pass.Ctx, m *graph.Model) error {
	keep := keeper(m.Graph)
	pass.Sweep(m.Graph, keep)
	simplify(m, keep)
	for range maxRounds {
		if !sink(m.Graph) || !simplify(m, keep) {
			break
		}
	}
	dropFunctions(m)
	return nil
}

// simplify applies the rewrites that make the model smaller until none applies. It reports whether any did.
func simplify(m *graph.Model, keep func(*graph.Node) bool) bool {
	for round := range maxRounds {
		changed := hoistConstants(m.Graph)
		changed = pass.Fold(m) || changed
		changed = branches(m) || changed
		changed = algebra(m) || changed
		changed = mergeConstants(m.Graph) || changed
		changed = common(m.Graph) || changed
		changed = trimBranches(m.Graph) || changed
		changed = pass.Sweep(m.Graph, keep) || changed
		if !changed {
			return round > 0
		}
	}
	return true
}

// keeper protects declarations whose next value is an output: a state that a step writes but does not read is still
// an input.
func keeper(g *graph.Graph) func(*graph.Node) bool {
	outputs := map[string]bool{}
	for _, v := range g.Outputs() {
		outputs[v.Name] = true
	}
	return func(n *graph.Node) bool {
		switch {
		case n.Is(graph.Asdl, graph.TagParam):
			return outputs[n.In(0).Name+"/next"]
		case n.Is(graph.Asdl, graph.TagState):
			return outputs[n.Str("name", "")+"/next"]
		case n.Is(graph.Asdl, graph.TagStep):
			return outputs["asdl/step/next"]
		}
		return false
	}
}

// dropFunctions removes functions that nothing calls, directly or through other functions.
func dropFunctions(m *graph.Model) {
	called := map[*graph.Function]bool{}
	var visit func(g *graph.Graph)
	visit = func(g *graph.Graph) {
		for n := range g.All() {
			if f := m.Function(n.Domain, n.Op); f != nil && !called[f] {
				called[f] = true
				visit(f.Body)
			}
		}
	}
	visit(m.Graph)
	var kept []*graph.Function
	for _, f := range m.Functions {
		if called[f] {
			kept = append(kept, f)
		}
	}
	m.Functions = kept
}
