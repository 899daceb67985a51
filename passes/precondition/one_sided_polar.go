package precondition

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// whitenedPolarBlock is the block of a Linear or convolution layer with the direction polar(G A^-1/2) A^-1/2, A being the damped
// mean of a a^T over examples and positions: of all D with |D A^1/2| <= 1 in the spectral norm, by which the layer's outputs
// change on the data, it is the one along which the loss falls most. (Muon, Jordan et al. 2024, is that for A = I; FOOF, Benzing
// 2022, for the Frobenius norm.) G is the first moment of the gradient, if the record keeps one.
func (e *engine) whitenedPolarBlock(cap *captured, v view) *block {
	_, steps := polarTable(e.rec.Solve.Kernel, e.rec.Solve.Iterations)
	bl := v.block()
	bl.guard, bl.moment, bl.roots, bl.side = true, e.rec.Apply.Beta, []int{2}, v.in
	bl.texts = append(bl.texts, polarText(steps))
	bl.stats = []slot{curvature("A", v.shape(v.in, v.in), "zeros")}
	bl.sols = []slot{curvature("A_root", v.shape(v.in, v.in), "eye")}
	bl.note.Treatment = fmt.Sprintf("polar factor of %dx%d between roots of the input factor, %d steps of %s", v.out, v.in, steps, e.rec.Solve.Kernel) + v.each()
	bl.fresh = func(b *op.Builder) []*graph.Value { return []*graph.Value{e.inputFactor(b, cap, v)} }
	bl.solve = func(b *op.Builder, stats []*graph.Value) ([]*graph.Value, []*graph.Value) {
		return []*graph.Value{v.eachGroup(b, func(ms ...*graph.Value) *graph.Value { return e.inverseSquareRoot(b, ms[0]) }, stats[0])}, nil
	}
	bl.apply = func(b *op.Builder, grads, _, sols []*graph.Value) []*graph.Value {
		d := v.eachGroup(b, func(ms ...*graph.Value) *graph.Value {
			g, root := ms[0], ms[1]
			return b.MatMul(polar(b, b.MatMul(g, root), e.rec.Solve.Kernel, e.rec.Solve.Iterations), root)
		}, v.gradient(b, grads), sols[0])
		return v.parameters(b, d, nil, grads)
	}
	return bl
}

// The bounds of the Newton iteration for A^-1/2.
const (
	rootTrips     = 40
	rootTolerance = 1e-6
)

// inverseSquareRoot is (m + damping)^-1/2.
func (e *engine) inverseSquareRoot(b *op.Builder, m *graph.Value) *graph.Value {
	m = b.Add(m, b.Mul(eye(b, m), e.isoDamping(b)))
	if side(m, 0) <= eigenSide {
		return call(b, eigenRootFunction(2), m)
	}
	return call(b, newtonRootFunction(2), m, newtonRootAttrs(2, rootTrips, rootTolerance)...)
}

// eachGroup applies of to the matrices of each group of a layer.
func (v view) eachGroup(b *op.Builder, of func(ms ...*graph.Value) *graph.Value, ms ...*graph.Value) *graph.Value {
	if v.groups == 1 {
		return of(ms...)
	}
	split := make([][]*graph.Value, len(ms))
	for i, m := range ms {
		split[i] = v.apartByGroup(b, m)
	}
	var out []*graph.Value
	for g := range v.groups {
		args := make([]*graph.Value, len(ms))
		for i := range ms {
			args[i] = split[i][g]
		}
		out = append(out, b.Unsqueeze(of(args...), 0))
	}
	return b.Concat(0, out...)
}
