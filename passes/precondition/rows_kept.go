package precondition

import (
	"fmt"

	"github.com/asdlc/asdlc/graph"
	"github.com/asdlc/asdlc/graph/op"
	"github.com/asdlc/asdlc/passes/pass"
)

// rowMethod is a method on the gradients of single examples of one layer.
type rowMethod interface {
	describe() string
	// rows are those of this step's batch, as they are kept; spread makes examples of them.
	rows(b *op.Builder) examples
	spread(b *op.Builder, x examples) examples
	// shapes are those of one kept row of a and of d, and of what is in front of the two sides of the inverse; not ok: the number
	// of positions is not known.
	shapes() (a, d, inverse rowShape, ok bool)
	sketches() []sketch
	draw(b *op.Builder, s sketch) *graph.Value
	// solve makes the inverse of the rows' damped Gram matrix, apply the directions by it; columns are those of each sketch, nil
	// for all.
	solve(b *op.Builder, x examples, columns []*graph.Value) *graph.Value
	apply(b *op.Builder, x examples, columns []*graph.Value, inverse *graph.Value, grads []*graph.Value) []*graph.Value
	// sum makes U^T v in the layout of the parameters, for v of [N, 1], one such a group or a unit; whole reports whether U is what
	// the rows of solve are.
	sum(b *op.Builder, x examples, v *graph.Value, grads []*graph.Value) []*graph.Value
	whole() bool
}

// rowShape is the shape of a row of each of several groups.
type rowShape struct {
	groups int64
	row    []int64
}

// of is the shape of n rows.
func (s rowShape) of(n int64) []int64 {
	shape := append([]int64{n}, s.row...)
	if s.groups > 1 {
		return append([]int64{s.groups}, shape...)
	}
	return shape
}

// rowsBlock makes bl a block of the method: of this step's rows alone, which nothing outlives, or under accumulate.kind window
// of the newest accumulate.size ones. Nil, with the reason in e.left, where these cannot be kept.
func (e *engine) rowsBlock(bl *block, cap *captured, m rowMethod) *block {
	bl.guard, bl.inverts = true, true
	bl.texts = append(bl.texts, section("batch inverse"), section("batch eigen"))
	bl.note.Treatment = m.describe()
	if e.rec.Accumulate.Kind == "window" {
		return e.keptRowsBlock(bl, m)
	}
	bl.always = true
	if e.gradientIsSum() && m.whole() {
		bl.note.Treatment += ", of which the direction is a sum"
		bl.apply = func(b *op.Builder, grads, _, _ []*graph.Value) []*graph.Value {
			x := m.spread(b, m.rows(b))
			return e.summed(b, m, cap, x, m.solve(b, x, drawn(b, m)), grads)
		}
		return bl
	}
	bl.apply = func(b *op.Builder, grads, _, _ []*graph.Value) []*graph.Value {
		x, columns := m.spread(b, m.rows(b)), drawn(b, m)
		return m.apply(b, x, columns, m.solve(b, x, columns), grads)
	}
	return bl
}

// gradientIsSum reports whether the training gradient is the sum of the rows: those of this step, for the true labels, each as it is.
func (e *engine) gradientIsSum() bool {
	return e.rec.Curvature.Source == "emp" && e.rec.Curvature.Sharing != "reduce" && e.rec.Apply.Product != "implicit" && e.rec.Preset != "asdl"
}

// summed is the direction where the gradient is U^T 1 / rows: (U^T U / n + lambda I)^-1 U^T = U^T (U U^T / n + lambda I)^-1, so that
// neither the gradient nor U g is needed.
func (e *engine) summed(b *op.Builder, m rowMethod, cap *captured, x examples, inverse *graph.Value, grads []*graph.Value) []*graph.Value {
	v := b.SumKeep(inverse, int64(inverse.Type.Rank()-1))
	if cap.factor != nil {
		v = b.Div(v, cap.factor)
	}
	if s := e.rec.Apply.Scale; s != 0 {
		v = b.Scale(v, s)
	}
	return m.sum(b, x, v, grads)
}

func drawn(b *op.Builder, m rowMethod) []*graph.Value {
	var columns []*graph.Value
	for _, s := range m.sketches() {
		columns = append(columns, m.draw(b, s))
	}
	return columns
}

// keptRowsBlock keeps rows on the clock of the statistics and inverts on that of the solve. A state tensor has one shape for
// batches of all sizes: there are accumulate.size rows, of which fill have been filled; the others are zero, which adds nothing
// to U^T U. The rows of a step come before those of the steps before, and the oldest make way.
func (e *engine) keptRowsBlock(bl *block, m rowMethod) *block {
	a, d, inverse, ok := m.shapes()
	if !ok {
		for _, p := range bl.params {
			e.left[p.Value] = "its number of positions is not known, so that no rows can be kept: curvature.sharing reduce or expand needs none"
		}
		return nil
	}
	size := int64(e.rec.Accumulate.Size)
	bl.note.Treatment += fmt.Sprintf(", of the newest %d rows", size)
	bl.stats = []slot{curvature("a", a.of(size), "zeros"), curvature("d", d.of(size), "zeros"), curvature("fill", nil, "zeros")}
	square := rowShape{inverse.groups, []int64{size}}
	bl.sols = []slot{curvature("inverse", square.of(size), "zeros")}
	for _, s := range m.sketches() {
		if s.take > 0 {
			bl.sols = append(bl.sols, curvature("sketch_"+s.name, []int64{s.take}, "zeros"))
		}
	}
	copies := len(bl.sols)
	if e.solvesApart() {
		bl.sols = append(bl.sols, curvature("a_solved", a.of(size), "zeros"), curvature("d_solved", d.of(size), "zeros"), curvature("fill_solved", nil, "zeros"))
	}
	axis := 0
	if a.groups > 1 {
		axis = 1
	}
	bl.next = func(b *op.Builder, stats []*graph.Value) []*graph.Value {
		x := m.rows(b)
		count := b.CountOf(x.a, e.elem, axis)
		fresh := b.Mul(x.d, b.Sqrt(b.Div(count, x.n))) // so that F is the mean over rows
		return []*graph.Value{
			pushed(b, stats[0], x.a, axis), pushed(b, stats[1], fresh, axis),
			b.Op("Min", []*graph.Value{b.Add(stats[2], count), b.Float(e.elem, float64(size))}),
		}
	}
	bl.solve = func(b *op.Builder, stats []*graph.Value) ([]*graph.Value, []*graph.Value) {
		columns := drawn(b, m)
		sols := []*graph.Value{m.solve(b, m.spread(b, e.filled(b, stats)), columns)}
		for _, c := range columns {
			if c != nil {
				sols = append(sols, b.Cast(c, e.elem)) // state is of the model's type
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
		columns, at := make([]*graph.Value, len(m.sketches())), 1
		for i, s := range m.sketches() {
			if s.take > 0 {
				columns[i] = b.Cast(sols[at], graph.Int64)
				at++
			}
		}
		return m.apply(b, m.spread(b, e.filled(b, stats)), columns, sols[0], grads)
	}
	return bl
}

// solvesApart reports whether the solve has a clock of its own: what it has seen must then be kept beside newer statistics.
func (e *engine) solvesApart() bool {
	acc, sol := e.rec.Accumulate, e.rec.Solve
	return acc.Schedule == "" && (max(1, acc.Every) != max(1, sol.Every) || acc.Warmup != sol.Warmup || sol.Stagger || sol.Delay > 0)
}

// filled are kept rows as examples.
func (e *engine) filled(b *op.Builder, stats []*graph.Value) examples {
	return examples{a: stats[0], d: stats[1], n: b.Op("Max", []*graph.Value{stats[2], b.Float(e.elem, 1)}), scale: 1}
}

// pushed puts fresh rows before the old ones and forgets the oldest.
func pushed(b *op.Builder, old, fresh *graph.Value, axis int) *graph.Value {
	shape, _ := old.Type.Static()
	joined := b.Concat(int64(axis), fresh, old)
	return b.Reshape(b.Slice(joined, []int64{0}, []int64{shape[axis]}, []int64{int64(axis)}), shape...)
}

// keptPositions is the number of positions of each of a layer's examples, once cut.
func (e *engine) keptPositions(cap *captured, v view) (int64, bool) {
	if e.cutting(cap, v) {
		return e.cut(v), true
	}
	return e.positions(cap)
}

// cutting reports whether examples are cut to a rank.
func (e *engine) cutting(cap *captured, v view) bool {
	n, ok := e.positions(cap)
	return e.cut(v) > 0 && (!ok || n > e.cut(v))
}

func (e *engine) positions(cap *captured) (int64, bool) {
	if e.rec.Curvature.Sharing == "expand" {
		return 1, true
	}
	total := int64(0)
	for _, l := range cap.layers {
		n, ok := int64(1), true
		if !e.reduces() {
			n, ok = positionsOf(l)
		}
		if !ok || !e.together(cap) && total != 0 && n != total {
			return 0, false
		}
		if e.together(cap) {
			total += n
		} else {
			total = n
		}
	}
	return total, true
}

// examplesOf are the examples of a layer with a view, as they are kept: those of a convolution that keepsImages are its inputs and output
// gradients, of which spreadOut makes patches.
func (e *engine) examplesOf(b *op.Builder, cap *captured, v view) examples {
	if e.keepsImages(cap, v) {
		g := cap.g[0][0]
		if cap.factor != nil {
			g = b.Mul(g, cap.factor)
		}
		return examples{a: cap.layers[0].X, d: g, n: e.dataSize(), scale: 1, fresh: true}
	}
	x := e.examples(b, cap, func(l pass.Layer, g *graph.Value) (*graph.Value, *graph.Value) {
		return v.examples(b, v.inputs(b, l, e.reduces()), v.plain()), v.examples(b, v.outputs(b, l, g, e.reduces()), v.out)
	})
	x.a = v.withOnes(b, x.a)
	if rank := e.cut(v); rank > 0 {
		return x.cut(b, rank)
	}
	return x
}

// keepsImages reports whether the examples of a convolution are kept as its images, of which patches are many times as large: where
// there is one use and one draw, and positions of an example are neither averaged, nor examples, nor cut to a rank.
func (e *engine) keepsImages(cap *captured, v view) bool {
	return v.Kind != graph.LayerLinear && len(cap.layers) == 1 && len(cap.g) == 1 && !e.reduces() && e.rec.Curvature.Sharing != "expand" && !e.cutting(cap, v)
}

// spreadOut makes patches of kept images.
func (e *engine) spreadOut(b *op.Builder, cap *captured, v view, x examples) examples {
	if !e.keepsImages(cap, v) {
		return x
	}
	l, g := cap.layers[0], x.d
	l.X = x.a
	x.a, x.d = v.withOnes(b, v.examples(b, v.inputs(b, l, false), v.plain())), v.examples(b, v.outputs(b, l, g, false), v.out)
	x.planes = true
	if v.groups == 1 {
		x.sums = func(b *op.Builder, w, q *graph.Value) (*graph.Value, *graph.Value) { return v.weighted(b, l, g, w, q) }
	}
	return x
}

// keptShapes are those of a kept row of a and of d; not ok: they are not known.
func (e *engine) keptShapes(cap *captured, v view) (a, d rowShape, ok bool) {
	if e.keepsImages(cap, v) {
		x, ok1 := staticFrom(v.l.X, 1)
		y, ok2 := staticFrom(v.l.Out, 1)
		return rowShape{1, x}, rowShape{1, y}, ok1 && ok2
	}
	positions, ok := e.keptPositions(cap, v)
	return rowShape{v.groups, []int64{positions, v.in}}, rowShape{v.groups, []int64{positions, v.out}}, ok
}

// staticFrom is the shape of x from a dimension on, if it is known.
func staticFrom(x *graph.Value, dim int) ([]int64, bool) {
	var shape []int64
	for _, d := range x.Type.Dims[dim:] {
		n, ok := d.Size()
		if !ok {
			return nil, false
		}
		shape = append(shape, n)
	}
	return shape, true
}

// weighted are the sums over examples of inputs of a convolution, weighed with w, and of its output gradients g, weighed with q,
// both [N, 1]: those of patches are the patches of a sum of images.
func (v view) weighted(b *op.Builder, l pass.Layer, g, w, q *graph.Value) (a, d *graph.Value) {
	l.X = b.Unsqueeze(weighted(b, l.X, w), 0)
	a, d = v.inputs(b, l, false), v.outputs(b, l, b.Unsqueeze(weighted(b, g, q), 0), false)
	if v.joint {
		a = b.Concat(2, a, b.ExpandLike(b.SumKeep(w, 0), b.Slice(a, []int64{0}, []int64{1}, []int64{2})))
	}
	return a, d
}

// cut is the rank to which each example's output gradients are cut, or 0: they have no more than outputs.
func (e *engine) cut(v view) int64 {
	if rank := int64(e.rec.Representation.Rank); rank < v.out {
		return rank
	}
	return 0
}
