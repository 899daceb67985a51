package precondition

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// oneSidedBlock preconditions a Linear or convolution layer by its input factor alone: direction G (A + lambda I)^-1 (FOOF,
// Benzing 2022). A is the mean over examples and positions of a a^T.
func oneSidedBlock(e *engine, cap *captured) *block {
	v := e.viewOf(cap.layers[0])
	if e.rec.Solve.Kind == "polar" {
		return e.whitenedPolarBlock(cap, v)
	}
	bl := v.block()
	bl.stats = []slot{curvature("A", v.shape(v.in, v.in), "zeros")}
	bl.sols = []slot{curvature("A_inv", v.shape(v.in, v.in), "eye")}
	bl.note.Treatment = fmt.Sprintf("input factor A %dx%d", v.in, v.in) + v.each()
	bl.fresh = func(b *op.Builder) []*graph.Value { return []*graph.Value{e.inputFactor(b, cap, v)} }
	bl.solve = func(b *op.Builder, stats []*graph.Value) ([]*graph.Value, []*graph.Value) {
		return []*graph.Value{e.inverse(b, stats[0], e.isoDamping(b))}, nil
	}
	e.applyOneSided(bl, cap, v)
	return bl
}

// frequencyBlock is oneSidedBlock for an embedding, of which A is diagonal: the frequency of each token.
func frequencyBlock(e *engine, cap *captured) *block {
	l := cap.layers[0]
	tokens := side(l.W, 0)
	bl := &block{name: l.Name, params: l.Params()}
	bl.stats = []slot{curvature("A", []int64{tokens}, "zeros")}
	bl.sols = []slot{curvature("A_inv", []int64{tokens}, "ones")}
	bl.note = pass.LayerNote{Layer: l.Name, Kind: l.Kind, Params: names(bl.params), Treatment: fmt.Sprintf("token frequencies %d", tokens)}
	bl.fresh = func(b *op.Builder) []*graph.Value { return []*graph.Value{e.frequencies(b, cap, tokens)} }
	bl.solve = func(b *op.Builder, stats []*graph.Value) ([]*graph.Value, []*graph.Value) {
		return []*graph.Value{b.Unary("Reciprocal", b.Add(stats[0], e.isoDamping(b)))}, nil
	}
	bl.apply = func(b *op.Builder, grads, _, sols []*graph.Value) []*graph.Value {
		return []*graph.Value{b.Mul(grads[0], b.Unsqueeze(sols[0], 1))}
	}
	return bl
}
