package precondition

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
)

// keptSamplesBlock keeps the newest accumulate.size rows of inputs and of output gradients on the clock of the statistics, as
// keptRowsBlock does, and inverts on that of the solve.
func (e *engine) keptSamplesBlock(bl *block, cap *captured, v view) *block {
	size := int64(e.rec.Accumulate.Size)
	bl.note.Treatment += fmt.Sprintf(", of the newest %d rows", size)
	bl.side = max(bl.side, size)
	in, out := keptSide{e, v.in, size}, keptSide{e, v.out, size}
	var damp []int64 // shape of what factorDamping makes: a number for each group
	if v.groups > 1 {
		damp = []int64{v.groups, 1, 1}
	}
	bl.stats = []slot{
		curvature("rows_in", v.shape(size, v.in), "zeros"), curvature("rows_out", v.shape(size, v.out), "zeros"),
		curvature("fill_in", nil, "zeros"), curvature("fill_out", nil, "zeros"),
	}
	bl.sols = []slot{
		curvature("inverse_in", v.shape(in.inverted(), in.inverted()), "zeros"), curvature("inverse_out", v.shape(out.inverted(), out.inverted()), "zeros"),
		curvature("damping_in", damp, "ones"), curvature("damping_out", damp, "ones"),
	}
	copies := len(bl.sols)
	if e.solvesApart() {
		for _, s := range bl.stats {
			bl.sols = append(bl.sols, curvature(s.name+"_solved", s.shape, s.init))
		}
	}
	axis := len(v.shape())
	bl.next = func(b *op.Builder, stats []*graph.Value) []*graph.Value {
		x, _, d, scale := e.samples(b, cap, v)
		rows := b.CountOf(d, e.elem, axis)
		d = b.Mul(d, b.Sqrt(b.Mul(scale, rows))) // so that S is the mean over rows
		filled := func(fill, x *graph.Value) *graph.Value {
			return b.Op("Min", []*graph.Value{b.Add(fill, b.CountOf(x, e.elem, axis)), b.Float(e.elem, float64(size))})
		}
		return []*graph.Value{pushed(b, stats[0], x, axis), pushed(b, stats[1], d, axis), filled(stats[2], x), filled(stats[3], d)}
	}
	bl.solve = func(b *op.Builder, stats []*graph.Value) ([]*graph.Value, []*graph.Value) {
		x, d := in.mean(b, stats[0], stats[2]), out.mean(b, stats[1], stats[3])
		dampA, dampS := e.factorDamping(b, v.squares(b, x), float64(v.in), v.squares(b, d), float64(v.out))
		sols := []*graph.Value{in.solve(b, x, dampA), out.solve(b, d, dampS), dampA, dampS}
		if v.groups > 1 { // of kind iso it is one number
			for i := 2; i < len(sols); i++ {
				sols[i] = b.Expand(sols[i], b.Ints(damp...))
			}
		}
		if e.solvesApart() {
			sols = append(sols, stats...)
		}
		return sols, nil
	}
	bl.apply = func(b *op.Builder, grads, stats, sols []*graph.Value) []*graph.Value {
		if e.solvesApart() {
			stats = sols[copies:]
		}
		x, d := in.mean(b, stats[0], stats[2]), out.mean(b, stats[1], stats[3])
		return v.between(b, grads,
			func(m *graph.Value) *graph.Value { return in.apply(b, m, x, sols[0], sols[2]) },
			func(m *graph.Value) *graph.Value { return out.apply(b, m, d, sols[1], sols[3]) })
	}
	return bl
}

// keptSide is one side of a layer, of n numbers a row, with size rows kept.
type keptSide struct {
	e       *engine
	n, size int64
}

// inverted is the side of the matrix that is inverted.
func (s keptSide) inverted() int64 { return min(s.n, s.size) }

// mean are rows x whose products x^T x are the mean over those filled.
func (s keptSide) mean(b *op.Builder, rows, fill *graph.Value) *graph.Value {
	return b.Div(rows, b.Sqrt(b.Op("Max", []*graph.Value{fill, b.Float(s.e.elem, 1)})))
}

// solve is (x x^T + d I)^-1, or (x^T x + d I)^-1 where there are no fewer rows than numbers in one.
func (s keptSide) solve(b *op.Builder, x, d *graph.Value) *graph.Value {
	if s.size < s.n {
		return rowFactor{s.e, x}.inner(b, d)
	}
	return s.e.inverse(b, gram(b, x), d)
}

// apply is (x^T x + d I)^-1 m.
func (s keptSide) apply(b *op.Builder, m, x, inverse, d *graph.Value) *graph.Value {
	if s.size >= s.n {
		return b.MatMul(inverse, m)
	}
	return rowFactor{s.e, x}.times(b, m, inverse, d)
}
