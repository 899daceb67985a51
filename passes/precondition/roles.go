package precondition

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// role is what the layers that use a weight say about it.
type role struct {
	embedding, head bool
	exempt          string // why it is no hidden matrix: it is an embedding's or the head's; else ""
	swapped         bool   // its first dimension runs over inputs
}

// rolesOf finds the roles of weights.
func rolesOf(g *graph.Graph) map[*graph.Value]role {
	roles, head := map[*graph.Value]role{}, heads(g)
	for _, l := range pass.LayersOf(g) {
		if l.W == nil {
			continue
		}
		r := roles[l.W]
		switch {
		case l.Kind == graph.LayerEmbedding:
			r.embedding, r.exempt = true, "an embedding"
		case head[l.W] && r.exempt == "":
			r.head, r.exempt = true, "the head: "+l.Name+" makes the logits"
		}
		r.swapped = l.Kind == graph.LayerConvT || l.Kind == graph.LayerLinear && l.Node.Str("layout", "oi") == "io"
		roles[l.W] = r
	}
	return roles
}

// heads are the weights and biases of the layers that make the logits: those from whose output the loss is reached
// without another layer that has a matrix.
func heads(g *graph.Graph) map[*graph.Value]bool {
	found, seen := map[*graph.Value]bool{}, map[*graph.Value]bool{}
	var walk func(v *graph.Value)
	walk = func(v *graph.Value) {
		if v == nil || seen[v] || v.Def() == nil {
			return
		}
		seen[v] = true
		n := v.Def()
		if !n.Is(graph.Asdl, graph.TagLayer) {
			for _, in := range n.Inputs() {
				walk(in)
			}
			return
		}
		switch l := pass.LayerOf(n); l.Kind {
		case graph.LayerLinear, graph.LayerConv, graph.LayerConvT, graph.LayerEmbedding:
			found[l.W] = true
			if l.B != nil {
				found[l.B] = true
			}
		default:
			walk(n.In(0))
		}
	}
	for _, n := range pass.Tags(g, graph.TagLoss) {
		walk(n.In(1))
	}
	return found
}
