package precondition

import (
	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// firstMoment is the EMA of a parameter's gradient, debiased if the record's accumulation is.
func (e *engine) firstMoment(p pass.Param, g *graph.Value, beta float64) *graph.Value {
	b := e.b
	shape, _ := p.Value.Type.Static()
	old := pass.State(b, pass.StateSpec{Name: "asdl/" + p.Name() + "/m", Kind: "optimizer", Of: p.Name(), Elem: e.elem, Shape: shape, Init: "zeros", Held: e.rec.Guards.Finite})
	m := b.Add(e.decayed(b, old, beta), b.Scale(e.orZero(b, g), 1-beta))
	pass.Next(b, old, m)
	if e.rec.Accumulate.Debias {
		return b.Div(m, e.bias(beta))
	}
	return m
}

// orZero is the gradient g, or zero on a step whose gradients are not finite. With decayed, a moving average is then held
// exactly, at the price of scalars.
func (e *engine) orZero(b *op.Builder, g *graph.Value) *graph.Value {
	if !e.rec.Guards.Finite {
		return g
	}
	return b.Where(pass.Finite(e.b), g, b.Float(e.elem, 0))
}

// decayed is beta x, or x itself on a step whose gradients are not finite.
func (e *engine) decayed(b *op.Builder, x *graph.Value, beta float64) *graph.Value {
	if !e.rec.Guards.Finite {
		return b.Scale(x, beta)
	}
	factor := e.decays[beta]
	if factor == nil {
		factor = e.b.Where(pass.Finite(e.b), e.b.Float(e.elem, beta), e.b.Float(e.elem, 1))
		e.decays[beta] = factor
	}
	return b.Mul(x, factor)
}
