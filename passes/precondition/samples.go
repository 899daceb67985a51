package precondition

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// samplesBlock is kronBlock with factors that are not formed (SKFAC, Tang et al. 2021): A and S are a rowFactor of the rows of
// inputs and of output gradients. Where there are no fewer rows than the side of a factor, the factor itself is inverted. The rows are those of the step's batch, and nothing is kept; or under accumulate.kind
// window the newest of several.
func samplesBlock(e *engine, cap *captured) *block {
	v := e.viewOf(cap.layers[0])
	bl := v.block()
	bl.guard, bl.side = true, max(v.in, v.out)
	bl.note.Treatment = fmt.Sprintf("samples of sides %d and %d, inverted through their products", v.in, v.out) + v.each()
	if e.rec.Accumulate.Kind == "window" {
		return e.keptSamplesBlock(bl, cap, v)
	}
	bl.stats = []slot{curvature("rows_in", v.shape(v.in), "zeros"), curvature("rows_out", v.shape(v.out), "zeros")} // shapes of a row: never kept
	bl.fresh = func(b *op.Builder) []*graph.Value {
		x, count, d, scale := e.samples(b, cap, v)
		return []*graph.Value{b.Div(x, b.Sqrt(count)), b.Mul(d, b.Sqrt(scale))}
	}
	bl.apply = func(b *op.Builder, grads, stats, _ []*graph.Value) []*graph.Value {
		x, d := stats[0], stats[1]
		dampA, dampS := e.factorDamping(b, v.squares(b, x), float64(v.in), v.squares(b, d), float64(v.out))
		return v.between(b, grads,
			func(m *graph.Value) *graph.Value { return e.throughSamples(b, m, x, dampA, v.in) },
			func(m *graph.Value) *graph.Value { return e.throughSamples(b, m, d, dampS, v.out) })
	}
	return bl
}

// samples are the rows of inputs, with what their squares are to be divided by, and of output gradients, with what theirs are to
// be multiplied by.
func (e *engine) samples(b *op.Builder, cap *captured, v view) (x, count, d, scale *graph.Value) {
	var xs, ds []*graph.Value
	axis := int64(len(v.shape()))
	for _, l := range cap.layers {
		x := v.withOnes(b, v.rowsIn(e, b, l))
		xs, count = append(xs, x), plus(b, count, b.CountOf(x, e.elem, int(axis)))
	}
	for draw := range len(cap.g) {
		for use, l := range cap.layers {
			ds = append(ds, v.rowsOut(e, b, l, cap.g[draw][use]))
		}
	}
	if e.rec.Preset == "asdl" && !v.perPosition {
		count = e.dataSize()
	}
	return joinedAt(b, axis, xs), count, joinedAt(b, axis, ds), e.weigh(b, cap, b.Float(e.elem, 1))
}

// between is S^-1 G A^-1 in the layout of the parameters: left multiplies a matrix by A^-1, right by S^-1.
func (v view) between(b *op.Builder, grads []*graph.Value, left, right func(m *graph.Value) *graph.Value) []*graph.Value {
	m := right(v.gradient(b, grads))
	m = b.Swap(left(b.Swap(m)))
	var bias *graph.Value
	if !v.joint && len(grads) > 1 {
		bias = b.ReshapeLike(right(b.Reshape(grads[1], v.shape(v.out, 1)...)), grads[1])
	}
	return v.parameters(b, m, bias, grads)
}

// squares is the sum of squares of a matrix, or of each group's.
func (v view) squares(b *op.Builder, x *graph.Value) *graph.Value {
	if v.groups > 1 {
		return b.SumKeep(b.Square(x), 1, 2)
	}
	return b.Sum(b.Square(x))
}

// throughSamples is (x^T x + d I)^-1 m for rows x of n numbers, by whichever of x x^T and x^T x is the smaller.
func (e *engine) throughSamples(b *op.Builder, m, x, d *graph.Value, n int64) *graph.Value {
	axis := x.Type.Rank() - 2
	direct := func(b *op.Builder) []*graph.Value {
		return []*graph.Value{b.MatMul(e.inverse(b, gram(b, x), d), m)}
	}
	through := func(b *op.Builder) []*graph.Value {
		f := rowFactor{e, x}
		return []*graph.Value{f.times(b, m, f.inner(b, d), d)}
	}
	if rows, ok := x.Type.Dims[axis].Size(); ok {
		if rows < n {
			return through(b)[0]
		}
		return direct(b)[0]
	}
	few := b.Compare("Less", b.Squeeze(b.DimOf(x, axis), 0), b.Int(n))
	return b.If(few, through, direct)[0]
}

// overUses sums a statistic that is linear in output gradients over the uses of a layer, for the first draw.
func (e *engine) overUses(b *op.Builder, cap *captured, linear func(l pass.Layer, g *graph.Value) *graph.Value) *graph.Value {
	var sum *graph.Value
	for use, l := range cap.layers {
		sum = plus(b, sum, linear(l, cap.g[0][use]))
	}
	return sum
}
