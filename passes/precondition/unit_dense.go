package precondition

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// unitsBlock preconditions a Linear or convolution layer by the Fisher block of each output's incoming weights, bias
// included (unit-wise natural gradient, Ollivier 2015): F_k is the sum over examples of G_n[k,:]^T G_n[k,:] over the number
// of loss rows, the direction of row k (F_k + lambda I)^-1 G[k,:]. State: o blocks of i+ x i+, and their inverses.
func unitsBlock(e *engine, cap *captured) *block {
	v := e.viewOf(cap.layers[0])
	bl := v.block()
	bl.texts = append(bl.texts, section("batch inverse"))
	units := v.groups * v.out
	shape := []int64{units, v.in, v.in}
	bl.stats = []slot{curvature("F", shape, "zeros")}
	bl.sols = []slot{curvature("F_inv", shape, "eye")}
	bl.note.Treatment = fmt.Sprintf("%d units of %dx%d", units, v.in, v.in)
	bl.fresh = func(b *op.Builder) []*graph.Value {
		return []*graph.Value{e.overExamples(b, cap, v, func(g *graph.Value) *graph.Value {
			if v.groups > 1 {
				g = b.Reshape(b.Transpose(g, 0, 2, 1, 3), units, -1, v.in)
			} else {
				g = b.Transpose(g, 1, 0, 2)
			}
			return gram(b, g)
		})}
	}
	bl.solve = func(b *op.Builder, stats []*graph.Value) ([]*graph.Value, []*graph.Value) {
		return []*graph.Value{e.inverse(b, stats[0], e.isoDamping(b))}, nil
	}
	bl.apply = func(b *op.Builder, grads, _, sols []*graph.Value) []*graph.Value {
		g := v.gradient(b, grads)
		d := b.MatMul(sols[0], b.Reshape(g, units, v.in, 1))
		return v.parameters(b, b.Reshape(d, v.shape(v.out, v.in)...), nil, grads)
	}
	return bl
}

// isoDamping is what is added to the diagonal of a whole block.
func (e *engine) isoDamping(b *op.Builder) *graph.Value {
	if e.rec.Solve.Damping.Kind == "none" {
		return b.Float(e.elem, 0)
	}
	return e.damping()
}
