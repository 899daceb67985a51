package precondition

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/passes/pass"
)

// firstMoment is the EMA of a parameter's gradient, debiased if the record's accumulation is. A gradient that is not finite
// leaves it as it is.
func (e *engine) firstMoment(p pass.Param, g *graph.Value, beta float64) *graph.Value {
	b := e.b
	shape, _ := p.Value.Type.Static()
	old := pass.State(b, pass.StateSpec{Name: "asdl/" + p.Name() + "/m", Kind: "optimizer", Of: p.Name(), Elem: e.elem, Shape: shape, Init: "zeros"})
	m := b.Add(b.Scale(old, beta), b.Scale(g, 1-beta))
	if e.rec.Guards.Finite {
		m = b.Where(e.finite(b, g), m, old)
	}
	pass.Next(b, old, m)
	if e.rec.Accumulate.Debias {
		return b.Div(m, e.bias(beta))
	}
	return m
}
