package precondition

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// rankOneBlock preconditions a Linear or convolution layer by the mean input a (over examples and positions) and the mean
// output gradient d (summed over positions), direction (d d^T (x) a a^T + lambda I)^-1 G, by Sherman and Morrison
//
//	[G - (d^T G a) / (lambda + |a|^2 |d|^2) d a^T] / lambda
//
// (Eva, Zhang et al. 2023, equation 13). State: a of i+ and d of o numbers.
func rankOneBlock(e *engine, cap *captured) *block {
	v := e.viewOf(cap.layers[0])
	bl := v.block()
	bl.guard, bl.debiased = true, true
	bl.stats = []slot{curvature("a", v.shape(v.in, 1), "zeros"), curvature("d", v.shape(v.out, 1), "zeros")}
	bl.note.Treatment = fmt.Sprintf("mean input %d, mean output gradient %d", v.in, v.out) + v.each()
	bl.fresh = func(b *op.Builder) []*graph.Value {
		a := v.meanIn(e, b, cap.layers)
		d := e.overUses(b, cap, func(l pass.Layer, g *graph.Value) *graph.Value { return v.sumOut(b, l, g) })
		if cap.factor != nil {
			d = b.Mul(d, cap.factor)
		}
		return []*graph.Value{b.Swap(a), b.Swap(b.Div(d, e.dataSize()))}
	}
	bl.apply = func(b *op.Builder, grads, stats, _ []*graph.Value) []*graph.Value {
		g, a, d, lambda := v.gradient(b, grads), stats[0], stats[1], e.damping()
		at, dt := b.Swap(a), b.Swap(d)
		along := b.MatMul(dt, b.MatMul(g, a))
		size := b.Mul(b.MatMul(at, a), b.MatMul(dt, d))
		part := b.MatMul(b.Mul(d, b.Div(along, b.Add(size, lambda))), at)
		return v.parameters(b, b.Div(b.Sub(g, part), lambda), nil, grads)
	}
	return bl
}
