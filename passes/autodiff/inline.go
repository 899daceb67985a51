package autodiff

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// inline emits the nodes of a nested graph once more, with args in the place of its inputs, and returns its outputs.
// Values that the graph takes from around it stay the same.
func inline(b *op.Builder, g *graph.Graph, args []*graph.Value) []*graph.Value {
	outs, _ := inlineValues(b, g, args)
	return outs
}

// inlineValues is inline, and the copy of each value that the graph defines.
func inlineValues(b *op.Builder, g *graph.Graph, args []*graph.Value) (outs []*graph.Value, vals map[*graph.Value]*graph.Value) {
	vals = map[*graph.Value]*graph.Value{}
	for i, v := range g.Inputs() {
		vals[v] = args[i]
	}
	graph.CopyNodes(b.Builder, g, vals)
	outs = make([]*graph.Value, len(g.Outputs()))
	for i, o := range g.Outputs() {
		if outs[i] = o; vals[o] != nil {
			outs[i] = vals[o]
		}
	}
	return outs, vals
}

// functionRule differentiates calls of model-local functions through their bodies.
func functionRule() *Rule {
	return &Rule{Kind: Smooth, Diff: all, VJP: pullOf(functionBody), JVP: pushOf(functionBody)}
}

func functionBody(c *Call) []*graph.Value {
	outs, err := graph.Inline(c.Builder.Builder, c.Model.Function(c.N.Domain, c.N.Op), c.N)
	if err != nil {
		c.Fail(err)
	}
	return outs
}
