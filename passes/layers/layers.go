// Package layers finds what is to be trained, and how: it tags the parameters of a model, and the layers that they
// belong to. Both are decided by tables of rows: roles.go says which inputs of operators hold parameters, rows.go which
// nodes are layers.
package layers

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// Pass tags parameters, buffers and layers.
var Pass = pass.Pass{
	Name: "layers",
	Doc: "find parameters, buffers and layers\n\n" +
		"Each parameter gets one Param tag, each layer a Layer tag with all of its settings made explicit. The running\n" +
		"statistics of BatchNormalization in training mode become buffers with next values.",
	Needs: []pass.Prop{pass.Normal}, Gives: []pass.Prop{pass.Layers}, Run: Run,
}

// Run tags the main graph of m.
func Run(c *pass.Ctx, m *graph.Model) error {
	fixed := unmark(m.Graph)
	m.Opsets[graph.Asdl] = 1
	tagParams(c, m.Graph, discover(m, fixed))
	if err := nextStatistics(m); err != nil {
		return err
	}
	f := newFinder(c, m)
	if err := f.find(); err != nil {
		return err
	}
	f.reportRest()
	dropUnused(m.Graph)
	return nil
}

// unmark removes the marks that normalize put on constants of the file, and lists these.
func unmark(g *graph.Graph) map[*graph.Value]bool {
	fixed := map[*graph.Value]bool{}
	for n := range g.All() {
		if n.Is(graph.Asdl, graph.TagParam) && n.Str("kind", "") == "constant" {
			fixed[n.In(0)] = true
			n.Out(0).ReplaceUses(n.In(0))
			n.Remove()
		}
	}
	return fixed
}

// dropUnused removes Param tags that nothing uses any more: of addends that a factor of 0 cancels.
func dropUnused(g *graph.Graph) {
	for _, p := range pass.Params(g, "") {
		if len(p.Value.Uses()) == 0 && !p.Value.IsOutput() {
			p.Node.Remove()
		}
	}
}
